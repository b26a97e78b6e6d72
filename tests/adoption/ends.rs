//! Tasks that end while no daemon is there, or whose numbers became others'.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::{Life, lines};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A process that adopts orphans and reaps none, and runs a daemon.
struct Hoarder {
    hoarder: Child,
    daemon: i32,
}

impl Hoarder {
    fn start(daemon: &Command) -> Hoarder {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "\"$@\" & echo $!; exec sleep 600", "sh"]);
        shell.arg(daemon.get_program()).args(daemon.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: one system call between fork and exec.
        #[allow(unsafe_code)]
        unsafe {
            shell.pre_exec(|| Ok(nix::sys::prctl::set_child_subreaper(true)?));
        }
        let mut hoarder = shell.spawn().expect("a shell");
        let mut line = String::new();
        let stdout = hoarder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        Hoarder { hoarder, daemon: line.trim().parse().expect("a pid") }
    }

    fn kill_daemon(&self) {
        let pid = nix::unistd::Pid::from_raw(self.daemon);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("killed");
        wait_for("the daemon is dead", || !lives(self.daemon as u64));
    }
}

impl Drop for Hoarder {
    fn drop(&mut self) {
        let _ = self.hoarder.kill();
        let _ = self.hoarder.wait();
    }
}

fn task_that_waits(life: &Life, name: &str, code: u32) -> Value {
    let gate = life.path(&format!("{name}.gate"));
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let script = format!("read line < {}; exit {code}", gate.display());
    life.launch(name, &script, json!({}))
}

fn open_gate(life: &Life, name: &str) {
    std::fs::write(life.path(&format!("{name}.gate")), "go\n").expect("it reads");
}

fn ended(status: &Value) -> bool {
    !lives(status["pid"].as_u64().expect("a process"))
}

#[test]
fn an_end_that_nobody_saw_is_not_known() {
    let mut life = Life::new();
    let status = task_that_waits(&life, "unseen", 7);
    life.kill();
    open_gate(&life, "unseen");
    let path = format!("/proc/{}", status["pid"]);
    wait_for("it is reaped by init", || !std::path::Path::new(&path).exists());
    life.begin();
    let over = life.wait("unseen");
    let exit = &over["exit"];
    assert_eq!(exit["status_known"], false, "{over:#}");
    assert_eq!((&exit["exit_code"], &exit["signal"]), (&json!(-1), &json!(0)));
    assert_eq!(exit["pid"], status["pid"]);
}

#[test]
fn an_end_is_known_as_long_as_nobody_has_reaped_it() {
    let mut life = Life::unborn(&[]);
    let hoarder = Hoarder::start(&life.command());
    wait_for("the daemon listens", || {
        std::os::unix::net::UnixStream::connect(life.path("sock")).is_ok()
    });
    let status = task_that_waits(&life, "zombie", 7);
    hoarder.kill_daemon();
    open_gate(&life, "zombie");
    wait_for("it has ended", || ended(&status));
    life.begin();
    let over = life.wait("zombie");
    assert_eq!(over["exit"]["status_known"], true, "{over:#}");
    assert_eq!(over["exit"]["exit_code"], 7);
}

#[test]
fn a_failure_that_nobody_saw_is_restarted_as_one() {
    let mut life = Life::new();
    let stdout = json!({"kind": "file", "path": life.path("runs")});
    let restart = json!({"mode": "on_failure", "delay_ms": 1});
    let script = "echo run; [ $(wc -l < $RUNS) -ge 2 ] && exit 0; exec sleep 600";
    let env = [format!("RUNS={}", life.path("runs").display()), "PATH=/usr/bin:/bin".to_owned()];
    let more = json!({"stdout": stdout, "restart": restart, "env": env});
    let status = life.launch("worker", script, more);
    wait_for("it runs", || lines(&life.path("runs")).len() == 1);
    life.kill();
    let pid = status["pid"].as_i64().expect("a process") as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
        .expect("killed");
    wait_for("it has ended", || ended(&status));
    life.begin();
    let over = life.wait("worker");
    assert_eq!((&over["restarts"], &over["exit"]["exit_code"]), (&json!(1), &json!(0)), "{over:#}");
}

#[test]
fn a_number_that_has_become_anothers_is_left_alone() {
    for flags in [&[][..], &["--cgroup", "never"]] {
        let mut life = Life::with(flags);
        let mut innocent = Command::new("sleep");
        let mut innocent = innocent.arg("600").process_group(0).spawn().expect("a process");
        let status = life.launch("gone", "exec sleep 600", json!({"stop_all": true}));
        life.kill();
        let pid = status["pid"].as_i64().expect("a process");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGKILL)
            .expect("killed");
        wait_for("it has ended", || ended(&status));
        let journal = std::fs::read_to_string(life.state("journal")).expect("a journal");
        let number = format!("\"pid\":{pid}");
        assert!(journal.contains(&number));
        let journal = journal.replace(&number, &format!("\"pid\":{}", innocent.id()));
        std::fs::write(life.state("journal"), journal).expect("written");
        life.begin();
        let over = life.wait("gone");
        assert_eq!(over["exit"]["status_known"], false, "{flags:?} {over:#}");
        life.call("Remove", json!({"name": "gone", "force": true}));
        assert_eq!(innocent.try_wait().expect("a child"), None, "{flags:?}");
        innocent.kill().expect("killed");
        innocent.wait().expect("reaped");
    }
}

#[test]
fn a_start_that_was_not_over_leaves_nothing() {
    let mut life = Life::new();
    let status = life.launch("begun", "exec sleep 600", json!({}));
    let policy = json!({"mode": "always", "delay_ms": 1});
    let kept = life.launch("kept", "exec sleep 600", json!({ "restart": policy }));
    if status["containment"] != "cgroup_v2" {
        println!("skipped: a_start_that_was_not_over_leaves_nothing: no permission for a cgroup");
        return;
    }
    life.kill();
    // As if it had been killed right behind the clone of each.
    let journal = std::fs::read_to_string(life.state("journal")).expect("a journal");
    let lines: Vec<&str> = journal
        .lines()
        .filter(|line| !line.starts_with("{\"process\"") && !line.starts_with("{\"state\""))
        .collect();
    assert!(lines.len() < journal.lines().count());
    let (begun, other): (Vec<&str>, Vec<&str>) =
        lines.into_iter().partition(|line| !line.contains("\"name\":\"kept\""));
    let other = other.join("\n").replace("\"cause\":\"launch\"", "\"cause\":\"policy\"");
    std::fs::write(life.state("journal"), format!("{}\n{other}\n", begun.join("\n")))
        .expect("written");
    life.begin();
    let (error, _) = life.refusal("Inspect", json!({"name": "begun"}));
    assert_eq!(error, "org.ostler.NoSuchTask", "its launch was never answered");
    wait_for("both processes are gone", || ended(&status) && ended(&kept));
    let again = life.until("kept", |status| status["state"] == "running");
    assert_ne!(again["pid"], kept["pid"], "it is started anew");
}
