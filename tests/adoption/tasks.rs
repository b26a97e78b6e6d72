//! What can be done with a task that was taken over, and what goes on by itself.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::{Life, kernel_is_at_least, lines};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn pid(status: &Value) -> u64 {
    status["pid"].as_u64().unwrap_or_else(|| panic!("no process: {status:#}"))
}

fn sleeper(more: Value) -> Value {
    let mut task = json!({"env": ["PATH=/usr/bin:/bin"]});
    task.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
    task
}

fn file(life: &Life, name: &str) -> Value {
    json!({"kind": "file", "path": life.path(name)})
}

#[test]
fn a_task_is_the_same_before_and_after() {
    let mut life = Life::new();
    let script = "trap 'echo hup' HUP; trap 'exit 9' INT; while :; do sleep 0.01; done";
    let labels = json!({"tier": "front"});
    let stdout = file(&life, "out");
    life.launch("web", script, sleeper(json!({"stdout": stdout, "labels": labels})));
    let before = life.inspect("web");
    assert_eq!(before["adopted"], false);
    life.kill();
    assert!(lives(pid(&before)));
    life.begin();
    let mut after = life.inspect("web");
    assert_eq!(after["adopted"].take(), true);
    let mut before = before;
    before["adopted"].take();
    assert_eq!(after, before);

    life.call("Signal", json!({"name": "web", "signal": "HUP"}));
    wait_for("the signal has come", || lines(&life.path("out")) == ["hup"]);
    let logs = life.call("Logs", json!({"name": "web", "stream": "stdout"}));
    assert_eq!(logs["data_base64"], "aHVwCg==");
    let stopped = life.call("Stop", json!({"name": "web"}))["status"].take();
    assert_eq!(stopped["state"], "exited");
    life.check_code(&stopped, 9);
    assert!(!lives(pid(&after)));
    // The next run is our own child.
    let again = life.call("Restart", json!({"name": "web"}))["status"].take();
    assert_eq!((&again["adopted"], &again["id"]), (&json!(false), &after["id"]));
}

#[test]
fn a_restart_policy_goes_on_counting() {
    let mut life = Life::new();
    let restart =
        json!({"mode": "on_failure", "attempts": 2, "delay_ms": 300, "max_delay_ms": 300});
    let stdout = file(&life, "runs");
    let more = json!({"restart": restart, "stdout": stdout});
    life.launch("flaky", "echo run; exit 3", sleeper(more));
    let status = life.until("flaky", |status| status["state"] == "backoff");
    life.kill();
    life.begin();
    let after = life.inspect("flaky");
    if after["restarts"] == status["restarts"] {
        assert_eq!(after["next_start_us"], status["next_start_us"]);
    }
    let over = life.wait("flaky");
    assert_eq!((&over["gave_up"], &over["restarts"]), (&json!(true), &json!(2)));
    assert_eq!(lines(&life.path("runs")).len(), 3);
}

#[test]
fn a_stop_goes_on_to_its_kill() {
    let mut life = Life::new();
    let script = "trap 'echo told' INT; echo ready; while :; do sleep 0.01; done";
    let stdout = file(&life, "out");
    life.launch("deaf", script, sleeper(json!({"stdout": stdout, "kill_timeout_ms": 1500})));
    wait_for("it is ready", || lines(&life.path("out")) == ["ready"]);
    let client = life.client();
    client.socket().set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
    let mut client = client;
    client.call("org.ostler.Stop", json!({"name": "deaf"})).expect_err("it takes its time");
    wait_for("the signal has come", || lines(&life.path("out")).len() == 2);
    let before = life.inspect("deaf");
    life.kill_and_begin();
    let after = life.inspect("deaf");
    assert_eq!((&before["state"], &after["state"]), (&json!("stopping"), &json!("stopping")));
    let over = life.wait("deaf");
    life.check_code(&over, 137);
    assert_eq!(lines(&life.path("out")), ["ready", "told"], "it is not told twice");
    assert!(!lives(pid(&before)));
}

#[test]
fn what_a_task_leaves_is_killed_after_an_adoption_too() {
    for flags in [&[][..], &["--cgroup", "never"]] {
        let mut life = Life::with(flags);
        let script = "sh -c 'sh -c \"echo \\$\\$; exec sleep 600\" & echo $$; exec sleep 600' & \
                      read line < $FIFO";
        let fifo = life.path("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let stdout = file(&life, "pids");
        let env = [format!("FIFO={}", fifo.display()), "PATH=/usr/bin:/bin".to_owned()];
        life.launch("parent", script, json!({"stdout": stdout, "env": env}));
        wait_for("both run", || lines(&life.path("pids")).len() == 2);
        let left: Vec<u64> =
            lines(&life.path("pids")).iter().map(|line| line.parse().expect("a pid")).collect();
        let main = pid(&life.inspect("parent"));
        life.kill_and_begin();
        assert!(left.iter().all(|&pid| lives(pid)) && lives(main));
        std::fs::write(&fifo, "x\n").expect("read");
        let over = life.wait("parent");
        life.check_code(&over, 0);
        let by_group = flags.is_empty() || kernel_is_at_least(6, 9);
        if by_group {
            wait_for("nothing is left", || left.iter().all(|&pid| !lives(pid)));
        } else {
            // Without a cgroup and without signals to a group by its pidfd, they have no name.
            for pid in left {
                let pid = nix::unistd::Pid::from_raw(pid as i32);
                nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("killed");
            }
        }
    }
}

#[test]
fn what_is_waited_for_is_waited_for_by_the_next_one() {
    for flags in [&[][..], &["--cgroup", "never"]] {
        let mut life = Life::with(flags);
        let stdout = file(&life, "pid");
        let more = json!({"stdout": stdout, "leftover": "wait"});
        life.launch("forks", "sleep 600 & echo $!", sleeper(more));
        let before = life.until("forks", |status| status["pid"].is_null());
        assert_eq!(before["state"], "running");
        let rest: i32 = lines(&life.path("pid"))[0].parse().expect("a pid");
        life.kill_and_begin();
        if flags.is_empty() {
            assert_eq!(life.inspect("forks")["state"], "running");
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(rest), nix::sys::signal::SIGKILL)
                .expect("killed");
            let over = life.wait("forks");
            assert_eq!(over["exit"]["exit_code"], 0, "{over:#}");
        } else {
            // Its main process was reaped by the first daemon: no name of the rest is left.
            assert_eq!(life.wait("forks")["exit"]["exit_code"], 0);
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(rest), nix::sys::signal::SIGKILL)
                .expect("killed");
        }
    }
}

#[test]
fn limits_are_changed_and_counted_on() {
    let mut life = Life::new();
    let features = life.call("Version", json!({}))["features"].take();
    if !features.as_array().expect("a list").contains(&json!("cgroup.pids")) {
        println!("skipped: limits_are_changed_and_counted_on: no permission to limit anything");
        return;
    }
    let more = sleeper(json!({"resources": {"pids_max": 30, "memory_max_bytes": 64 << 20}}));
    life.launch("limited", "while :; do sleep 0.05; done", more);
    life.kill_and_begin();
    let update = json!({"name": "limited", "resources": {"pids_max": 20, "memory_max_bytes": -1}});
    let limits = life.call("UpdateResources", update)["resources"].take();
    assert_eq!(limits["pids_max"], 20);
    life.kill_and_begin();
    let task = life.inspect("limited")["task"].take();
    assert_eq!(task["resources"]["pids_max"], 20);
    let main = pid(&life.inspect("limited"));
    let group = pids_group(main);
    let max = std::fs::read_to_string(group.join("pids.max")).expect("a limit");
    assert_eq!(max.trim(), "20");
    life.call("Stop", json!({"name": "limited", "grace_ms": 0}));
    assert!(!group.exists(), "its group is removed");
}

/// The group that bounds how many processes a task may have.
fn pids_group(main: u64) -> PathBuf {
    let groups = std::fs::read_to_string(format!("/proc/{main}/cgroup")).expect("its groups");
    let found = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        match controllers {
            "pids" => Some(format!("/sys/fs/cgroup/pids{group}")),
            "" if !groups.contains(":pids:") => Some(format!("/sys/fs/cgroup{group}")),
            _ => None,
        }
    });
    found.expect("a group").into()
}

#[test]
fn a_limit_that_came_later_is_known_to_every_later_daemon() {
    let mut life = Life::new();
    let features = life.call("Version", json!({}))["features"].take();
    if !features.as_array().expect("a list").contains(&json!("cgroup.pids")) {
        println!("skipped: a_limit_that_came_later: no permission to limit anything");
        return;
    }
    life.launch("t", "while :; do sleep 0.05; done", sleeper(json!({})));
    let main = pid(&life.inspect("t"));
    let update = |limit: u32| json!({"name": "t", "resources": {"pids_max": limit}});
    life.call("UpdateResources", update(20));
    let group = pids_group(main);
    for limit in [30, 40] {
        life.kill_and_begin();
        life.call("UpdateResources", update(limit));
        assert_eq!(pids_group(main), group);
        let max = std::fs::read_to_string(group.join("pids.max")).expect("a limit");
        assert_eq!(max.trim(), limit.to_string());
    }
    life.call("Stop", json!({"name": "t", "grace_ms": 0}));
    wait_for("its group is removed", || !group.exists());
}

#[test]
fn tasks_run_on_over_an_orderly_end_that_keeps_them() {
    let mut life = Life::with(&["--on-exit", "keep"]);
    let stdout = json!({"kind": "file", "path": life.path("out"), "max_size_bytes": 1 << 20});
    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.002; done";
    life.launch("writer", script, sleeper(json!({ "stdout": stdout })));
    let before = life.inspect("writer");
    life.call("Shutdown", json!({"stop_tasks": false}));
    life.end();
    life.begin();
    assert_eq!(life.inspect("writer")["pid"], before["pid"]);
    let daemon = nix::unistd::Pid::from_raw(life.pid() as i32);
    nix::sys::signal::kill(daemon, nix::sys::signal::SIGTERM).expect("a daemon");
    life.end();
    assert!(lives(pid(&before)));
    life.begin();
    assert_eq!(life.inspect("writer")["pid"], before["pid"]);
    life.call("Stop", json!({"name": "writer"}));
    let written = lines(&life.path("out"));
    let expected: Vec<String> = (1..=written.len()).map(|number| number.to_string()).collect();
    assert_eq!(written, expected);
}

#[test]
fn output_waits_for_a_sink_that_is_not_there() {
    let mut life = Life::new();
    let logs = life.path("logs");
    std::fs::create_dir(&logs).expect("a directory");
    let path = logs.join("out");
    let stdout = json!({"kind": "file", "path": path, "max_size_bytes": 1 << 20});
    let script = "i=0; while [ ! -e $STOP ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo end";
    let env = [format!("STOP={}", life.path("stop").display()), "PATH=/usr/bin:/bin".to_owned()];
    life.launch("writer", script, json!({"stdout": stdout, "env": env}));
    wait_for("it writes", || lines(&path).len() > 3);
    life.kill();
    let away = life.path("away");
    std::fs::rename(&logs, &away).expect("moved");
    life.begin();
    let told = |life: &Life| life.log().contains("output is held up");
    assert!(told(&life), "{}", life.log());
    assert_eq!(life.inspect("writer")["state"], "running");
    std::fs::rename(&away, &logs).expect("moved");
    std::fs::write(life.path("stop"), "").expect("a file");
    wait_for("all is there", || lines(&path).last().is_some_and(|line| line == "end"));
    let written = lines(&path);
    let numbers = &written[..written.len() - 1];
    let expected: Vec<String> = (1..=numbers.len()).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn commands_of_a_daemon_that_was_killed_leave_no_group_in_the_way() {
    let mut life = Life::new();
    let status = life.launch("t", "exec sleep 600", json!({}));
    let Some(group) = status["cgroup"].as_str() else {
        return eprintln!("skipped: no cgroup v2 that is ours");
    };
    let inside = Path::new(group).join("exec.1");
    // What the command has started outlives its daemon, or does not.
    for (begun, script) in [("one", "exec sleep 600"), ("two", "setsid sleep 600 & exec sleep 600")]
    {
        let mut asking = UnixStream::connect(life.path("sock")).expect("it listens");
        let script = format!("echo > {}; {script}", life.text_path(begun));
        let parameters = json!({"name": "t", "command": "/bin/sh", "args": ["-c", script]});
        let call = json!({"method": "org.ostler.Exec", "parameters": parameters});
        asking.write_all(format!("{call}\0").as_bytes()).expect("sent");
        wait_for("the command runs", || life.path(begun).exists());
        life.kill_and_begin();
        wait_for("nothing is left", || lines(&inside.join("cgroup.procs")).is_empty());
        let args = ["-c", "grep -q /exec.1$ /proc/self/cgroup"];
        let again = json!({"name": "t", "command": "/bin/sh", "args": args});
        assert_eq!(life.call("Exec", again)["exit_code"], 0, "it has no group of its own");
        assert!(!inside.exists(), "its group is left");
        // Each daemon counts its commands from one.
        life.kill_and_begin();
    }
}
