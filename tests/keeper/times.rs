//! When a task has ended, as a keeper saw it.

use crate::node::Node;
use crate::support::wait_for;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    now.as_micros() as u64
}

fn end_us(status: &Value) -> u64 {
    assert_eq!(status["exit"]["status_known"], true, "{status:#}");
    status["exit"]["time_us"].as_u64().expect("a time")
}

#[test]
fn a_task_has_ended_when_it_has_and_not_when_the_next_daemon_comes() {
    // A daemon begins once there is a file `gate`.
    let mut node = Node::start_with(|directory| {
        let gate = directory.join("gate");
        std::fs::write(&gate, "").expect("a file");
        let script = format!("until [ -e {} ]; do sleep 0.01; done; exec \"$@\"", gate.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    });
    let wait = |name: &str| format!("until [ -e {name} ]; do sleep 0.01; done; exit 3");
    let first = node.launch("first", &wait("now"), json!({}));
    let restarted = json!({"restart": {"mode": "on_failure", "attempts": 1, "delay_ms": 1}});
    let again = node.launch("again", &wait("now"), restarted);
    node.launch("second", &wait("then"), json!({}));
    std::fs::remove_file(node.path("gate")).expect("removed");
    node.kill_daemon();
    let before = now_us();
    std::fs::write(node.path("now"), "").expect("a file");
    for pid in [first, again] {
        wait_for("a reaped task", || !Path::new(&format!("/proc/{pid}")).exists());
    }
    let after = now_us();
    // So that it can be told from the time of the adoption.
    wait_for("a while", || now_us() > after + 300_000);
    std::fs::write(node.path("gate"), "").expect("a file");
    node.await_daemon();
    let told = end_us(&node.wait("first"));
    assert!((before..=after).contains(&told), "{before} {told} {after}");
    // The event of it tells the same, and so does that of one that runs again.
    let events = node.events();
    let ends = |name: &str| -> Vec<u64> {
        let is_end = |event: &&Value| event["kind"] == "exited" && event["name"] == name;
        events.iter().filter(is_end).map(|event| end_us(&event["status"])).collect()
    };
    assert_eq!(ends("first"), [told], "{events:#?}");
    let ended = ends("again").first().copied().expect("an end");
    assert!((before..=after).contains(&ended), "{before} {ended} {after}");
    // One that the daemon sees end, and that a keeper reaps.
    let before = now_us();
    std::fs::write(node.path("then"), "").expect("a file");
    let second = end_us(&node.wait("second"));
    assert!((before..=now_us()).contains(&second), "{before} {second}");
    // Each of these is remembered.
    node.kill_daemon();
    node.await_daemon();
    for (name, told) in [("first", told), ("second", second)] {
        assert_eq!(end_us(&node.wait(name)), told, "{name}");
    }
    assert!(Duration::from_micros(second - told) > Duration::from_millis(300));
}
