//! A daemon that is killed at some moment of an upgrade: before the exec, behind it, in between.
//! The next one adopts; every line is there once, and every exit code is right.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::{Node, PROGRAM, command};
use crate::injected::read_fifo;
use crate::load::{WRITER, check, rotated};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ostler::control::Client;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How often, unless `OSTLER_ROUNDS` says so.
fn rounds(usual: u32) -> u32 {
    std::env::var("OSTLER_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// A moment of the time that an upgrade takes, and another one each time.
fn moments(whole: Duration) -> impl FnMut() -> Duration {
    let mut seed = u64::from(std::process::id()) ^ 0x9e37_79b9_7f4a_7c15;
    println!("seed {seed}");
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        whole.mul_f64((seed >> 40) as f64 / f64::from(1 << 24))
    }
}

fn launch_writers(node: &Node) {
    let env = json!([format!("DIR={}", node.directory.path().display()), "PATH=/usr/bin:/bin"]);
    let file = json!({
        "kind": "file", "path": node.text_path("file"), "max_size_bytes": 20_000,
        "max_files": 10_000, "numbering": "count",
    });
    let fifo = json!({"kind": "fifo", "path": node.text_path("fifo")});
    for (name, sink) in [("file", file), ("fifo", fifo)] {
        node.launch(name, WRITER, json!({"stdout": sink, "env": env}));
    }
}

/// Tells the daemon to upgrade, and kills it a while after that. Its pid.
fn kill_in_an_upgrade(node: &Node, moment: Duration) -> u32 {
    let pid = node.pid();
    let process = Pid::from_raw(pid as i32);
    kill(process, Signal::SIGUSR2).expect("it lives");
    std::thread::sleep(moment);
    kill(process, Signal::SIGKILL).expect("it lives");
    wait_for("its end", || !lives(u64::from(pid)));
    pid
}

/// How long an upgrade takes here.
fn upgrade_time(node: &Node) -> Duration {
    let begun = Instant::now();
    node.upgrade();
    begun.elapsed()
}

fn finish(node: &Node, fifo: std::thread::JoinHandle<String>) {
    std::fs::write(node.path("stop"), "").expect("written");
    for name in ["file", "fifo"] {
        let exit = node.wait(name)["exit"].take();
        assert_eq!((&exit["exit_code"], &exit["status_known"]), (&json!(7), &json!(true)));
    }
    assert!(check("fifo", &fifo.join().expect("read")) > 0);
    wait_for("the last line", || rotated(&node.path("file")).contains(" end "));
    check("file", &rotated(&node.path("file")));
}

#[test]
fn the_next_daemon_adopts() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state").to_str().expect("text").to_owned();
    let flags = ["--state", &state];
    let mut node = Node::start_in(directory, Path::new(PROGRAM), &flags);
    launch_writers(&node);
    let fifo = read_fifo(node.path("fifo"));
    let sleeper = node.launch("sleeper", "exec sleep 600", json!({}));
    let mut moment = moments(upgrade_time(&node).mul_f64(1.3));
    for _ in 0..rounds(8) {
        kill_in_an_upgrade(&node, moment());
        node.restart(&flags);
        let status = node.inspect("sleeper");
        assert_eq!((&status["pid"], &status["state"]), (&sleeper["pid"], &json!("running")));
    }
    node.upgrade();
    finish(&node, fifo);
}

#[test]
fn under_a_keeper_every_end_is_known() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state").to_str().expect("text").to_owned();
    let daemon = command(Path::new(PROGRAM), directory.path(), &["--state", &state]);
    let mut keeper = Command::new(PROGRAM);
    keeper.args(["keeper", "--"]).arg(daemon.get_program()).args(daemon.get_args());
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "FDSTORE", "OSTLER_LOG"] {
        keeper.env_remove(name);
    }
    keeper.stderr(std::fs::File::create(directory.path().join("log")).expect("a log"));
    let node = Node::run(directory, keeper);
    launch_writers(&node);
    let fifo = read_fifo(node.path("fifo"));
    let mut moment = moments(upgrade_time(&node).mul_f64(1.3));
    let mut short: Vec<(String, u32)> = Vec::new();
    for round in 0..rounds(4) {
        // They end before, in and after the upgrade, and while nobody is there.
        for number in 0..12 {
            let (name, code) = (format!("short-{round}-{number}"), (round * 12 + number) % 200);
            let sink =
                json!({"kind": "file", "path": node.text_path(&name), "max_size_bytes": 999});
            let script = format!("sleep 0.{:02}; echo {code}; exit {code}", number * 4);
            node.launch(&name, &script, json!({"stdout": sink, "env": ["PATH=/usr/bin:/bin"]}));
            short.push((name, code));
        }
        let killed = kill_in_an_upgrade(&node, moment());
        wait_for("the next daemon", || pid_of(&node).is_some_and(|pid| pid != killed));
    }
    node.upgrade();
    for (name, code) in short {
        let exit = node.wait(&name)["exit"].take();
        let known = (&exit["exit_code"], &exit["status_known"]);
        assert_eq!(known, (&json!(code), &json!(true)), "{name}: {exit} {}", node.log());
        let text = format!("{code}\n");
        wait_for("its output", || written(&node, &name) == text);
    }
    finish(&node, fifo);
}

/// Of the daemon, if there is one.
fn pid_of(node: &Node) -> Option<u32> {
    let mut client = Client::connect(node.socket()).ok()?;
    let stats: Value = client.call("org.ostler.DaemonStats", json!({})).ok()?;
    stats["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
}

fn written(node: &Node, name: &str) -> String {
    std::fs::read_to_string(node.path(name)).unwrap_or_default()
}
