//! The program: what is left when it is killed.

use crate::fixture::lives;
use crate::support::{available, exists, init, is_in_ours, kill, members, namespace_of, until};
use nix::sys::signal::Signal;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ostler");

#[test]
fn nothing_outlives_a_killed_run() {
    if !available("nothing_outlives_a_killed_run") {
        return;
    }
    let mut run = Command::new(PROGRAM)
        .args(["run", "--private", "pid", "--", "sh", "-c", "setsid sleep 300 & sleep 300; exit 0"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let all = descendants_in_namespace(run.id());
    run.kill().unwrap();
    run.wait().unwrap();
    until("all are gone", || all.iter().all(|&pid| !lives(pid)));
}

/// The init, the shell and both sleeps, once they are there.
fn descendants_in_namespace(parent: u32) -> Vec<i32> {
    let mut found = Vec::new();
    until("the task runs", || {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let first = children.unwrap_or_default();
        let first = first.split_whitespace().find_map(|pid| pid.parse().ok());
        let inside = first.filter(|&pid| !is_in_ours(pid)).and_then(namespace_of);
        found = inside.map(|inside| members(&inside)).unwrap_or_default();
        found.len() == 4
    });
    found
}

#[test]
fn a_task_outlives_a_killed_daemon_and_its_init_ends_with_it() {
    if !available("a_task_outlives_a_killed_daemon_and_its_init_ends_with_it") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let mut daemon = Command::new(PROGRAM)
        .args(["daemon", "--socket"])
        .arg(&socket)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the daemon listens", || UnixStream::connect(&socket).is_ok());
    let launched = Command::new(PROGRAM)
        .args(["launch", "--private", "pid", "--json", "--", "sleep", "300"])
        .env("OSTLER_SOCKET", &socket)
        .output()
        .unwrap();
    let status = String::from_utf8(launched.stdout).unwrap();
    let (_, pid) = status.split_once("\"pid\":").unwrap_or_else(|| panic!("{status}"));
    let pid: String = pid.chars().take_while(char::is_ascii_digit).collect();
    let main: i32 = pid.parse().unwrap();
    let init = init(&namespace_of(main).unwrap());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    // The init was told by the death of its parent; it waits for the main process.
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(lives(main) && lives(init));
    kill(main, Signal::SIGKILL);
    until("the init has ended", || !lives(init));
    assert!(!exists(init) || !lives(init));
}
