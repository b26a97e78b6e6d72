//! Very many tasks are taken over at once.

use crate::fixture::{Life, lives};
use ostler::control::Client;
use serde_json::json;
use std::time::{Duration, Instant};

const TASKS: usize = 1000;

#[test]
fn a_thousand_tasks_are_taken_over_at_once() {
    let mut life = Life::new();
    let mut client = life.client();
    let mut pids = Vec::new();
    for number in 0..TASKS {
        let task = json!({"name": format!("t{number}"), "command": "/bin/sleep", "args": ["600"]});
        let reply = client.call("org.ostler.Launch", json!({ "task": task })).expect("launched");
        pids.push(reply["status"]["pid"].as_u64().expect("a process"));
    }
    life.kill();
    let begun = Instant::now();
    life.begin();
    let took = begun.elapsed();
    println!("{TASKS} tasks taken over in {took:?}, the start of the daemon included");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let mut client: Client = life.client();
    let mut seen = 0;
    for reply in client.stream("org.ostler.List", json!({})).expect("sent") {
        for status in reply.expect("a reply")["tasks"].as_array().expect("tasks") {
            assert_eq!((&status["state"], &status["adopted"]), (&json!("running"), &json!(true)));
            seen += 1;
        }
    }
    assert_eq!(seen, TASKS);
    assert!(pids.iter().all(|&pid| lives(pid)));
    life.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
    life.end();
    assert!(pids.iter().all(|&pid| !lives(pid)));
}
