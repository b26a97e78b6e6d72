//! Names, paths and messages of others, where people read them: on a terminal and in the log.

use super::executable::write_executable;
use super::fixture::{Daemon, Raw, launch, shell, wait_until};
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// Clears the screen, sets the title, rings; a C1 control in UTF-8; a line of its own.
const STEERING: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\r\nostler: forged\u{7f}";

fn steering_task(daemon: &Daemon, name: &str) -> Value {
    let command = daemon.path(&format!("x{STEERING}"));
    write_executable(&command, b"#!/bin/sh\nexec sleep 60\n");
    json!({
        "name": name,
        "command": command,
        "args": [STEERING],
        "env": [format!("A={STEERING}")],
        "labels": {STEERING: STEERING},
        "stdout": {"kind": "file", "path": daemon.path(&format!("out{STEERING}"))},
        "restart": {"mode": "never"},
    })
}

/// What a verb says on standard output and standard error.
fn said(daemon: &Daemon, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_ostler"))
        .env("OSTLER_SOCKET", &daemon.socket)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let all = [output.stdout, output.stderr].concat();
    String::from_utf8(all).unwrap().split('\n').map(str::to_owned).collect()
}

#[test]
fn what_a_task_is_called_steers_no_terminal() {
    let daemon = Daemon::start();
    launch(&mut daemon.client(), steering_task(&daemon, "a"));
    let gone = daemon.path(&format!("gone{STEERING}"));
    let sink = format!("file:{gone}/out");
    for arguments in [
        &["ps", "--all"][..],
        &["inspect", "a"],
        &["stats"],
        &["launch", "--name", "b", "--stdout", &sink, "--", "/bin/true"],
        &["launch", "--name", "b", "--", &gone],
        &["run", "--stdout", &sink, "--", "/bin/true"],
        &["run", "--", &gone],
        &["exec", "a", "--", &gone],
        &["inspect", STEERING],
        &["stop", STEERING],
        &["logs", STEERING],
        &["check", &gone],
        &["up", &gone],
        &["launch", "--task", &gone],
    ] {
        let lines = said(&daemon, arguments);
        for line in &lines {
            assert!(!line.chars().any(char::is_control), "{arguments:?}: {line:?}");
            assert!(!line.starts_with("ostler: forged"), "{arguments:?}: {lines:?}");
        }
        assert!(lines.iter().any(|line| !line.is_empty()), "{arguments:?}");
    }
}

#[test]
fn what_a_task_file_holds_steers_no_terminal() {
    let daemon = Daemon::start();
    let path = daemon.path("tasks.json");
    let text = json!({"task": {"a": {"command": 7, STEERING: STEERING}}, STEERING: {}});
    std::fs::write(&path, text.to_string()).unwrap();
    let lines = said(&daemon, &["check", &path]);
    assert!(lines.len() > 2, "{lines:?}");
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(!line.starts_with("ostler: forged"), "{lines:?}");
    }
}

#[test]
fn nobody_writes_a_line_of_the_log() {
    let daemon = Daemon::start();
    let forged = "x\n2026-01-01T00:00:00.000Z INFO  forged\u{1b}[31m";
    let send = |call: Value| {
        let mut raw: Raw = daemon.raw();
        raw.send(&call);
        // A call that is answered comes behind it.
        raw.send(&json!({"method": "org.ostler.Version"}));
        while raw.next().is_some_and(|reply| reply["parameters"]["version"].is_null()) {}
    };
    send(json!({"method": forged, "oneway": true}));
    send(json!({"method": format!("org.ostler.{forged}"), "oneway": true}));
    send(json!({
        "method": "org.ostler.Wait", "oneway": true, "parameters": {"name": forged, forged: 1},
    }));
    let mut task = shell("a", "exit 0");
    task["command"] = format!("/nowhere/{forged}").into();
    send(json!({"method": "org.ostler.Launch", "parameters": {"task": task}}));
    task["user"] = forged.into();
    send(json!({"method": "org.ostler.Launch", "parameters": {"task": task}}));
    let mut task = shell("b", "exit 3");
    task["labels"] = json!({forged: forged});
    task["stdout"] =
        json!({"kind": "file", "path": daemon.path(&format!("out{forged}").replace('/', "")) });
    launch(&mut daemon.client(), task);
    wait_until("its end is in the log", || {
        daemon.log().contains("task=b") && { daemon.log().contains("event=finished") }
    });
    let log = daemon.log();
    assert!(log.contains("forged"), "{log}");
    for line in log.lines() {
        // `2026-11-23T06:00:00.000Z INFO  ...`, of which nobody else has written one.
        let stamp = line.split(' ').next().unwrap();
        assert!(stamp.len() == 24 && stamp.ends_with('Z'), "{line:?}");
        assert!(!line.starts_with("2026-01-01"), "{line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}
