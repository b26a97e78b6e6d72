//! Very many tasks are taken over at once.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::Life;
use ostler::control::Client;
use serde_json::json;
use std::time::{Duration, Instant};

const TASKS: usize = 1000;

/// `OSTLER_TASKS=n` takes another number, to see how long that takes.
fn number() -> usize {
    let asked = std::env::var("OSTLER_TASKS").ok();
    asked.map_or(TASKS, |text| text.parse().expect("OSTLER_TASKS is a number"))
}

/// The processor time of these processes in nanoseconds, once all of them sleep.
fn time_of_sleepers(pids: &[u64]) -> u64 {
    let time = |pid: &u64| {
        let read = |file| std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it lives");
        wait_for("all sleep", || read("stat").contains(" (sleep) S "));
        let text = read("schedstat");
        text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).expect("a number")
    };
    pids.iter().map(time).sum()
}

#[test]
fn a_thousand_tasks_are_taken_over_at_once() {
    let mut life = Life::new();
    let mut client = life.client();
    let mut pids = Vec::new();
    let tasks = number();
    for number in 0..tasks {
        let task = json!({"name": format!("t{number}"), "command": "/bin/sleep", "args": ["600"]});
        let reply = client.call("org.ostler.Launch", json!({ "task": task })).expect("launched");
        pids.push(reply["status"]["pid"].as_u64().expect("a process"));
    }
    let own_time = time_of_sleepers(&pids);
    life.kill();
    let begun = Instant::now();
    life.begin();
    let took = begun.elapsed();
    println!("{tasks} tasks taken over in {took:?}, the start of the daemon included");
    let cpu = life.call("DaemonStats", json!({}))["cpu_us"].take();
    println!("{cpu} us of processor time");
    assert!(took < Duration::from_secs(30), "{took:?}");
    let mut client: Client = life.client();
    let mut seen = 0;
    for reply in client.stream("org.ostler.List", json!({})).expect("sent") {
        for status in reply.expect("a reply")["tasks"].as_array().expect("tasks") {
            assert_eq!((&status["state"], &status["adopted"]), (&json!("running"), &json!(true)));
            seen += 1;
        }
    }
    assert_eq!(seen, tasks);
    let own_time_after = time_of_sleepers(&pids);
    println!("{own_time} and {own_time_after} ns of the tasks' own time before and after");
    assert_eq!(own_time, own_time_after);
    life.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
    life.end();
    assert!(pids.iter().all(|&pid| !lives(pid)));
}

#[test]
fn tasks_are_taken_over_with_few_descriptors() {
    let mut life = Life::new();
    let pids: Vec<u64> = (0..100)
        .map(|number| {
            let status = life.launch(&format!("t{number}"), "exec sleep 600", json!({}));
            status["pid"].as_u64().expect("a process")
        })
        .collect();
    life.kill();
    life.begin_with_descriptors(64);
    for number in [0, 50, 99] {
        let name = format!("t{number}");
        assert_eq!(life.inspect(&name)["state"], "running");
        let over = life.call("Stop", json!({"name": name, "grace_ms": 0}))["status"].take();
        assert_eq!(over["state"], "exited");
        assert!(!lives(pids[number]));
    }
    // Of others' ends time tells.
    let pid = nix::unistd::Pid::from_raw(pids[80] as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("killed");
    assert_eq!(life.wait("t80")["state"], "exited");
}

#[test]
fn streams_that_are_taken_over_leave_descriptors_for_clients() {
    let mut life = Life::unborn(&[]);
    life.begin_with_descriptors(64);
    let launch = |number: usize| {
        let path = life.text_path(&format!("{number}.log"));
        let stdout = json!({"kind": "file", "path": path, "max_size_bytes": 100_000});
        let task = json!({"name": format!("t{number}"), "command": "/bin/sleep", "args": ["600"],
            "stdout": stdout});
        life.client().call("org.ostler.Launch", json!({ "task": task })).is_ok()
    };
    let launched = (0..).take_while(|&number| launch(number)).count();
    life.kill();
    life.begin_with_descriptors(64);
    // All streams are open by now. Files that need not be so are closed where others need them.
    let clients = [(); 4].map(|()| life.client());
    for mut client in clients {
        client.call("org.ostler.Version", json!({})).expect("it is not refused");
    }
    assert_eq!(life.running().len(), launched);
}
