//! Clients of a daemon that goes on as another program: none of their calls fails.

use crate::calls::{Calls, PATIENCE, wait_for};
use crate::fixture::{Node, PROGRAM};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A call that is waited for elsewhere, and has reached the daemon.
fn pending(node: &Node, method: &str, parameters: Value) -> JoinHandle<Result<Value, String>> {
    let mut client = node.client();
    client.call("org.ostler.Version", json!({})).expect("connected");
    let method = format!("org.ostler.{method}");
    let call =
        thread::spawn(move || client.call(&method, parameters).map_err(|error| error.to_string()));
    // Whatever else is asked after it comes after it.
    thread::sleep(Duration::from_millis(50));
    node.call("Version", json!({}));
    call
}

fn answer(call: JoinHandle<Result<Value, String>>) -> Result<Value, String> {
    call.join().expect("joined")
}

#[test]
fn whoever_waits_is_answered_by_the_next_program() {
    let node = Node::start(&[]);
    let go = node.text_path("go");
    let until_told = format!("until [ -e {go} ]; do sleep 0.1; done; exit 5");
    node.launch("waited", &until_told, json!({}));
    node.launch(
        "stopped",
        "trap 'sleep 1; exit 4' TERM; while :; do sleep 0.1; done",
        json!({
            "kill_signal": "TERM", "kill_timeout_ms": 30_000,
        }),
    );
    node.launch(
        "restarted",
        "trap 'sleep 1; exit 4' TERM; while :; do sleep 0.1; done",
        json!({
            "kill_signal": "TERM", "kill_timeout_ms": 30_000,
        }),
    );
    node.launch("other", "sleep 600", json!({}));
    let wait = pending(&node, "Wait", json!({"name": "waited"}));
    let stop = pending(&node, "Stop", json!({"name": "stopped"}));
    let restart = pending(&node, "Restart", json!({"name": "restarted"}));
    let timed = pending(&node, "Wait", json!({"name": "other", "timeout_ms": 1500}));
    let removed = pending(&node, "Remove", json!({"name": "other", "force": true}));
    for _ in 0..3 {
        node.upgrade();
    }
    std::fs::write(&go, "").expect("written");
    assert_eq!(answer(wait).expect("ended")["status"]["exit"]["exit_code"], 5);
    assert_eq!(answer(stop).expect("stopped")["status"]["exit"]["exit_code"], 4);
    let status = answer(restart).expect("restarted")["status"].take();
    assert_eq!(status["state"], "running");
    answer(removed).expect("removed");
    // It was removed meanwhile, or its time was over.
    let timed = answer(timed);
    assert!(
        timed.as_ref().is_err_and(|why| why.contains("TimedOut")) || timed.is_ok(),
        "{timed:?}"
    );
}

#[test]
fn a_time_that_is_over_is_over_for_the_next_program() {
    let node = Node::start(&[]);
    node.launch("sleeper", "sleep 600", json!({}));
    let begun = Instant::now();
    let timed = pending(&node, "Wait", json!({"name": "sleeper", "timeout_ms": 2000}));
    node.upgrade();
    let why = answer(timed).expect_err("timed out");
    assert!(why.contains("TimedOut"), "{why}");
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[test]
fn calls_behind_each_other_are_answered_in_order() {
    let node = Node::start(&[]);
    node.launch("sleeper", "sleep 600", json!({}));
    let mut socket = UnixStream::connect(node.path("sock")).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let mut calls = Vec::new();
    for method in ["Version", "Upgrade", "DaemonStats", "Upgrade"] {
        let call = json!({"method": format!("org.ostler.{method}"), "parameters": {}});
        calls.extend_from_slice(call.to_string().as_bytes());
        calls.push(0);
    }
    // Half of one more, whose rest comes later.
    let inspect = json!({"method": "org.ostler.Inspect", "parameters": {"name": "sleeper"}});
    let inspect = format!("{inspect}\0");
    let (begun, rest) = inspect.split_at(30);
    calls.extend_from_slice(begun.as_bytes());
    socket.write_all(&calls).expect("sent");
    let mut replies = BufReader::new(socket.try_clone().expect("a socket")).split(0);
    let mut next = || -> Value {
        let reply = replies.next().expect("a reply").expect("read");
        let mut reply: Value = serde_json::from_slice(&reply).expect("JSON");
        assert!(reply.get("error").is_none(), "{reply}");
        reply["parameters"].take()
    };
    let version = next()["version"].take();
    assert_eq!(next()["version"], version);
    assert_eq!(next()["pid"], node.pid());
    assert_eq!(next()["version"], version);
    socket.write_all(rest.as_bytes()).expect("sent");
    assert_eq!(next()["status"]["name"], "sleeper");
}

#[test]
fn events_go_on_and_those_from_before_are_remembered() {
    let node = Node::start(&[]);
    let (sender, seen) = std::sync::mpsc::channel();
    let mut client = node.client();
    let follower = thread::spawn(move || {
        let replies = client.stream("org.ostler.Events", json!({"after": 0})).expect("sent");
        for reply in replies {
            let Ok(mut reply) = reply else { break };
            for event in serde_json::from_value::<Vec<Value>>(reply["events"].take()).expect("all")
            {
                let line = (
                    event["sequence"].as_u64(),
                    event["name"].take_text(),
                    event["kind"].take_text(),
                );
                if sender.send(line).is_err() {
                    return;
                }
            }
        }
    });
    for round in 0..3 {
        let name = format!("t{round}");
        node.launch(&name, "exit 0", json!({}));
        node.wait(&name);
        node.upgrade();
    }
    let mut expected = Vec::new();
    for round in 0..3 {
        for kind in ["launched", "started", "exited", "finished"] {
            expected.push((format!("t{round}"), kind.to_owned()));
        }
    }
    let mut got = Vec::new();
    let mut last = 0;
    while got.len() < expected.len() {
        let (sequence, name, kind) = seen.recv_timeout(PATIENCE).expect("an event");
        assert_eq!(sequence, Some(last + 1), "none is missing, none comes twice");
        last += 1;
        got.push((name, kind));
    }
    assert_eq!(got, expected);
    // Whoever comes now finds all of them.
    let mut late = node.client();
    let mut replies = late.stream("org.ostler.Events", json!({"after": 0})).expect("sent");
    let reply = replies.next().expect("a reply").expect("events");
    assert_eq!(reply["events"].as_array().expect("a list").len(), expected.len());
    assert!(seen.try_recv().is_err(), "an upgrade is no event");
    drop(node);
    follower.join().expect("joined");
}

trait TakeText {
    fn take_text(&self) -> String;
}

impl TakeText for Value {
    fn take_text(&self) -> String {
        self.as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn logs_are_followed_and_figures_go_on() {
    let node = Node::start(&[]);
    let log = node.text_path("out");
    let script = "i=0; while [ ! -e \"$DIR/stop\" ]; do i=$((i+1)); echo line $i; sleep 0.01; done";
    node.launch(
        "writer",
        script,
        json!({
            "env": [format!("DIR={}", node.directory.path().display()), "PATH=/usr/bin:/bin"],
            "stdout": {"kind": "file", "path": log, "max_size_bytes": 2000, "max_files": 1000},
        }),
    );
    let mut client = node.client();
    let follower = thread::spawn(move || {
        let parameters = json!({"name": "writer", "stream": "stdout", "lines": 1_000_000});
        let mut all = Vec::new();
        for reply in client.stream("org.ostler.Logs", parameters).expect("sent") {
            let reply = reply.expect("a piece");
            all.extend(
                STANDARD.decode(reply["data_base64"].as_str().expect("text")).expect("data"),
            );
        }
        String::from_utf8(all).expect("text")
    });
    let mut client = node.client();
    let figures = thread::spawn(move || {
        let parameters = json!({"names": ["writer"], "interval_ms": 100});
        client.stream("org.ostler.Stats", parameters).expect("sent").map(Result::unwrap).count()
    });
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(200));
        node.upgrade();
    }
    std::fs::write(node.path("stop"), "").expect("written");
    node.wait("writer");
    let text = follower.join().expect("joined");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 30, "{}", lines.len());
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("line {}", index + 1));
    }
    assert!(figures.join().expect("joined") >= 5);
}

#[test]
fn commands_in_tasks_go_on() {
    let node = Node::start(&[]);
    node.launch("home", "sleep 600", json!({"env": ["PATH=/usr/bin:/bin"]}));
    let go = node.text_path("go");
    let script = format!("echo before; until [ -e {go} ]; do sleep 0.1; done; echo after; exit 9");
    let collected =
        pending(&node, "Exec", json!({"name": "home", "command": "sh", "args": ["-c", script]}));
    let mut live = Command::new(PROGRAM)
        .arg("--socket")
        .arg(node.path("sock"))
        .args(["exec", "-i", "home", "--", "sh", "-c"])
        .arg("while read line; do echo \"got $line\"; done; exit 6")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut input = live.stdin.take().expect("a pipe");
    let mut output = BufReader::new(live.stdout.take().expect("a pipe"));
    let mut line = String::new();
    for round in 0..3 {
        writeln!(input, "{round}").expect("written");
        line.clear();
        output.read_line(&mut line).expect("read");
        assert_eq!(line, format!("got {round}\n"));
        node.upgrade();
    }
    std::fs::write(&go, "").expect("written");
    let reply = answer(collected).expect("executed");
    assert_eq!(reply["exit_code"], 9);
    assert_eq!(
        STANDARD.decode(reply["stdout_base64"].as_str().unwrap()).unwrap(),
        b"before\nafter\n"
    );
    writeln!(input, "last").expect("written");
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("read");
    assert_eq!(rest, "got last\n");
    assert_eq!(live.wait().expect("ended").code(), Some(6));
    // What is killed with its client is so still.
    let mut live = Command::new(PROGRAM)
        .arg("--socket")
        .arg(node.path("sock"))
        .args(["exec", "-i", "home", "--", "sh", "-c", "echo $$; exec sleep 600"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut pid = String::new();
    BufReader::new(live.stdout.take().expect("a pipe")).read_line(&mut pid).expect("read");
    node.upgrade();
    let pid: u64 = pid.trim().parse().expect("a pid");
    assert!(crate::calls::lives(pid));
    live.kill().expect("killed");
    live.wait().expect("reaped");
    wait_for("its end", || !crate::calls::lives(pid));
}

#[test]
fn the_connection_over_standard_streams_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = crate::fixture::command(
        std::path::Path::new(PROGRAM),
        directory.path(),
        &["--control", "stdio"],
    );
    let mut daemon = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let mut input = daemon.stdin.take().expect("a pipe");
    let mut replies = BufReader::new(daemon.stdout.take().expect("a pipe")).split(0);
    let mut ask = |method: &str, parameters: Value| -> Value {
        let call = json!({"method": format!("org.ostler.{method}"), "parameters": parameters});
        input.write_all(format!("{call}\0").as_bytes()).expect("sent");
        let reply = replies.next().expect("a reply").expect("read");
        serde_json::from_slice::<Value>(&reply).expect("JSON")["parameters"].take()
    };
    let task = json!({"name": "t", "command": "/bin/sleep", "args": ["600"]});
    let pid = ask("Launch", json!({"task": task}))["status"]["pid"].take();
    for _ in 0..2 {
        assert_eq!(ask("Upgrade", json!({}))["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(ask("Inspect", json!({"name": "t"}))["status"]["pid"], pid);
    }
    // Its end is the end of the daemon, as before.
    drop(input);
    assert!(daemon.wait().expect("ended").success());
    let pid = pid.as_u64().expect("a pid");
    wait_for("the end of the task", || !crate::calls::lives(pid));
}

#[test]
fn usr2_upgrades_as_well() {
    let node = Node::start(&[]);
    node.launch("sleeper", "sleep 600", json!({}));
    for upgrades in 1..=2 {
        let pid = nix::unistd::Pid::from_raw(node.pid() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR2).expect("sent");
        wait_for("the upgrade", || node.log().matches("has taken over").count() == upgrades);
    }
    assert_eq!(node.inspect("sleeper")["state"], "running");
}
