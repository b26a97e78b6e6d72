//! Tasks of a daemon that dies under a keeper: neither how they end nor what they write is lost.

use crate::node::Node;
use crate::support::{is_alive, wait_for};
use serde_json::{Value, json};
use std::io::Read;

/// Waits for the file NAME, then goes on.
fn wait(name: &str) -> String {
    format!("until [ -e {name} ]; do sleep 0.02; done; ")
}

fn rotated(node: &Node, name: &str) -> Value {
    json!({"kind": "file", "path": node.text_path(name), "max_size_bytes": 1 << 20})
}

fn fifo(node: &Node, name: &str) -> Value {
    json!({"kind": "fifo", "path": node.text_path(name)})
}

#[track_caller]
fn check_code(status: &Value, code: i64) {
    assert_eq!(status["exit"]["exit_code"], code, "{status:#}");
    assert_eq!(status["exit"]["status_known"], true, "{status:#}");
}

/// Lines 1 to `last`, each once and in order.
#[track_caller]
fn check_lines(text: &str, last: usize) {
    let expected: String = (1..=last).map(|number| format!("line {number}\n")).collect();
    assert_eq!(text, expected);
}

const LINES: &str =
    "i=0; lines() { while [ $i -lt $1 ]; do i=$((i+1)); echo line $i; done; }; lines 500; ";

#[test]
fn tasks_that_end_while_no_daemon_lives_lose_neither_status_nor_output() {
    let mut node = Node::start();
    let script = format!("{LINES} {} lines 1500; ", wait("go"));
    let mut pids = Vec::new();
    for (name, end, sink) in [
        ("file", "exit 7", rotated(&node, "file.log")),
        ("fifo", "kill -9 $$", fifo(&node, "fifo.out")),
        ("zero", "exit 0", rotated(&node, "zero.log")),
        ("quiet", "exit 255", json!({"kind": "discard"})),
    ] {
        pids.push(node.launch(name, &format!("{script} {end}"), json!({ "stdout": sink })));
    }
    wait_for("stored pipes, and the FIFO", || node.stored() == 4);
    node.suspend();
    std::fs::write(node.path("go"), "").unwrap();
    for pid in &pids {
        wait_for("the end of a task", || !is_alive(&pid.to_string()));
    }
    // Even its last process has gone by now, and whoever read its output.
    node.resume();
    for (name, code) in [("file", 7), ("fifo", 137), ("zero", 0), ("quiet", 255)] {
        check_code(&node.wait(name), code);
    }
    for name in ["file.log", "zero.log"] {
        check_lines(&std::fs::read_to_string(node.path(name)).unwrap(), 1500);
    }
    let mut reader = std::fs::File::open(node.path("fifo.out")).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    check_lines(&text, 1500);
    wait_for("an empty store", || node.stored() == 0);
    assert!(!node.log().contains("output_lost"), "{}", node.log());
}

#[test]
fn tasks_that_end_under_the_next_daemon_are_told_by_the_keeper() {
    let mut node = Node::start();
    let script = format!("{LINES} {} lines 900; exit 9", wait("go"));
    let pid = node.launch("web", &script, json!({"stdout": rotated(&node, "web.log")}));
    for _ in 0..3 {
        node.kill_daemon();
        node.await_daemon();
    }
    let status = node.call("Inspect", json!({"name": "web"}))["status"].take();
    assert_eq!((&status["adopted"], &status["pid"]), (&json!(true), &json!(pid)), "{status:#}");
    std::fs::write(node.path("go"), "").unwrap();
    check_code(&node.wait("web"), 9);
    check_lines(&std::fs::read_to_string(node.path("web.log")).unwrap(), 900);
    // It is told first.
    wait_for("a reaped child", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    wait_for("an empty store", || node.stored() == 0);
}

#[test]
fn what_nobody_has_read_of_a_fifo_outlives_task_and_daemon() {
    let mut node = Node::start();
    let sinks = json!({"stdout": fifo(&node, "out"), "stderr": {
        "kind": "fifo", "path": node.text_path("err"), "direct": true }});
    node.launch("web", "echo said; echo complained >&2", sinks);
    check_code(&node.wait("web"), 0);
    for _ in 0..2 {
        node.kill_daemon();
        node.await_daemon();
        wait_for("both stored", || node.stored() == 2);
    }
    for (name, text) in [("out", "said\n"), ("err", "complained\n")] {
        let mut reader = std::fs::File::open(node.path(name)).unwrap();
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, text, "{name}");
    }
    wait_for("an empty store", || node.stored() == 0);
}

#[test]
fn every_code_is_right_whenever_the_daemon_is_killed() {
    let mut node = Node::start();
    for number in 0..40 {
        // They end all the time, the last after some seconds.
        let script =
            format!("sleep 0.{:02}; sleep {}; exit {number}", number % 10 * 7, number / 10);
        let sink = rotated(&node, &format!("{number}.log"));
        node.launch(&format!("t{number}"), &script, json!({ "stdout": sink }));
    }
    for round in 0..6 {
        std::thread::sleep(std::time::Duration::from_millis(83 * round));
        node.kill_daemon();
        node.await_daemon();
    }
    for number in 0..40 {
        check_code(&node.wait(&format!("t{number}")), number);
    }
    wait_for("an empty store", || node.stored() == 0);
}

#[test]
fn clients_wait_for_the_next_daemon_on_the_same_socket() {
    use std::os::unix::fs::MetadataExt;
    let mut node = Node::start();
    let inode = |node: &Node| node.path("sock").symlink_metadata().unwrap().ino();
    let before = inode(&node);
    for _ in 0..2 {
        node.suspend();
        let socket = node.path("sock");
        let client = std::thread::spawn(move || {
            let mut client = ostler::control::Client::connect(socket).expect("nobody refuses");
            client.call("org.ostler.Version", json!({})).expect("answered")
        });
        // It is answered whether it has connected by now or does later.
        node.resume();
        assert!(client.join().unwrap()["version"].is_string());
        assert_eq!(inode(&node), before);
    }
}

#[test]
fn a_keeper_that_is_killed_is_missed_and_nothing_else() {
    let mut node = Node::start();
    let pid = node.launch("old", &format!("{} exit 3", wait("go")), json!({}));
    node.kill_daemon();
    node.await_daemon();
    crate::support::signal(node.keeper(), "KILL");
    wait_for("a word of it", || node.log().contains("the keeper is gone"));
    let sink = rotated(&node, "new.log");
    node.launch("new", "echo x; exit 4", json!({ "stdout": sink }));
    check_code(&node.wait("new"), 4);
    assert!(is_alive(&pid.to_string()));
    std::fs::write(node.path("go"), "").unwrap();
    // Its parent is whoever adopts orphans here: the kernel tells, or nobody does.
    let status = node.wait("old");
    let code = &status["exit"]["exit_code"];
    assert!(*code == 3 || *code == -1, "{status:#}");
}

#[test]
fn the_end_of_the_daemon_is_that_of_the_keeper() {
    let node = Node::start();
    let pid = node.launch("web", "exec sleep 1000", json!({}));
    crate::support::signal(node.keeper(), "TERM");
    let daemon = node.daemon.to_string();
    wait_for("the end of all", || !is_alive(&daemon) && !is_alive(&pid.to_string()));
    let keeper = node.keeper().to_string();
    wait_for("the end of the keeper", || !is_alive(&keeper));
    assert!(node.log().contains("ostler has ended"), "{}", node.log());
}
