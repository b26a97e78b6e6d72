//! Tasks of a daemon that goes on as another program: nothing happens to them.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::{Node, command};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn children_stay_children_and_ends_are_exact() {
    for flags in [&[][..], &["--cgroup", "never"], &["--exit-notification", "sigchld"]] {
        let node = Node::start(flags);
        let mut tasks = Vec::new();
        for code in 0..12 {
            let name = format!("t{code}");
            let script =
                format!("until [ -e {} ]; do sleep 0.1; done; exit {code}", node.text_path("go"));
            tasks.push((
                name.clone(),
                node.launch(&name, &script, json!({}))["pid"].as_u64().unwrap(),
            ));
        }
        node.launch("killed", "sleep 600", json!({}));
        node.launch("orphans", "(sleep 600 & echo $!) > /dev/null; exit 0", json!({}));
        node.upgrade();
        for (name, pid) in &tasks {
            let status = node.inspect(name);
            assert_eq!(status["pid"], *pid);
            assert!(status["adopted"].is_null() || status["adopted"] == false, "{status:#}");
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
            let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
            assert_eq!(parent, node.pid().to_string());
        }
        node.call("Signal", json!({"name": "killed", "signal": "KILL"}));
        std::fs::write(node.path("go"), "").expect("written");
        for (code, (name, _)) in tasks.iter().enumerate() {
            let exit = node.wait(name)["exit"].take();
            assert_eq!((&exit["exit_code"], &exit["status_known"]), (&json!(code), &json!(true)));
        }
        assert_eq!(node.wait("killed")["exit"]["signal"], 9);
    }
}

#[test]
fn what_is_under_way_goes_on() {
    let node = Node::start(&[]);
    // A grace that runs, leftovers that are awaited, a delay, what comes after another one.
    let stubborn = "trap '' TERM; while :; do sleep 0.1; done";
    node.launch("graced", stubborn, json!({"kill_signal": "TERM", "kill_timeout_ms": 1500}));
    node.launch("lingers", "sleep 2 & exit 3", json!({"leftover": "wait"}));
    let policy = json!({"mode": "always", "attempts": 5, "delay_ms": 1500, "interval_ms": 60_000});
    node.launch("delayed", "exit 1", json!({ "restart": policy }));
    let begun = Instant::now();
    let mut client = node.client();
    let stop =
        std::thread::spawn(move || client.call("org.ostler.Stop", json!({"name": "graced"})));
    node.until("graced", |status| status["state"] == "stopping");
    node.until("delayed", |status| status["state"] == "backoff");
    let next = node.inspect("delayed")["next_start_us"].take();
    for _ in 0..3 {
        node.upgrade();
    }
    assert_eq!(node.inspect("lingers")["state"], "running");
    if begun.elapsed() < Duration::from_secs(1) {
        assert_eq!(node.inspect("delayed")["next_start_us"], next);
    }
    let status = stop.join().expect("joined").expect("stopped")["status"].take();
    assert_eq!(status["exit"]["signal"], 9, "its grace was over: {status:#}");
    assert!(begun.elapsed() >= Duration::from_millis(1500));
    node.until("delayed", |status| status["restarts"].as_u64() >= Some(1));
    assert_eq!(node.wait("lingers")["exit"]["exit_code"], 3);
}

/// What a task has of its own, as it sees it.
const LOOK: &str = "ulimit -Sn; umask; grep -E 'SigIgn|SigBlk' /proc/self/status; env; \
    ls -l /proc/self/fd | wc -l; sed 's/[0-9]//g' /proc/self/cgroup; cat /proc/self/oom_score_adj";

#[test]
fn a_task_gets_what_it_got_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = command(Path::new(crate::fixture::PROGRAM), directory.path(), &[]);
    let mut limited = Command::new("/bin/sh");
    // Some signals are ignored, and the soft limit of descriptors is a low one.
    limited.args(["-c", "trap '' HUP USR1; umask 027; ulimit -Sn 200; exec \"$@\"", "sh"]);
    limited.arg(daemon.get_program()).args(daemon.get_args());
    limited.stderr(std::fs::File::create(directory.path().join("log")).expect("a log"));
    let node = Node::run(directory, limited);
    let look = |name: &str| -> String {
        let out = node.text_path(name);
        let env = json!(["PATH=/usr/bin:/bin"]);
        let stdout = json!({"kind": "file", "path": out});
        node.launch(name, LOOK, json!({"env": env, "inherit_env": true, "stdout": stdout}));
        assert_eq!(node.wait(name)["exit"]["exit_code"], 0);
        std::fs::read_to_string(out).expect("written").replace(name, "")
    };
    let before = look("before");
    assert!(before.starts_with("200\n0022\n"), "{before}");
    for name in ["after", "again"] {
        node.upgrade();
        assert_eq!(look(name), before);
    }
}

#[test]
fn limits_and_namespaces_stay() {
    let node = Node::start(&[]);
    let task = json!({
        "name": "limited", "command": "/bin/sleep", "args": ["600"], "resources": {"pids_max": 50},
    });
    let Ok(_) = node.client().call("org.ostler.Launch", json!({ "task": task })) else {
        println!("skipped: limits: no cgroup can be had here");
        return;
    };
    let private = json!({"isolation": {"pid": true}});
    let script = "trap 'exit 8' TERM; while :; do sleep 0.1; done";
    let mut inner = json!({"name": "inner", "command": "/bin/sh", "args": ["-c", script]});
    inner.as_object_mut().unwrap().extend(private.as_object().unwrap().clone());
    let inner = node.client().call("org.ostler.Launch", json!({ "task": inner }));
    node.upgrade();
    node.call("UpdateResources", json!({"name": "limited", "resources": {"pids_max": 60}}));
    node.call("Stop", json!({"name": "limited", "grace_ms": 0}));
    match inner {
        Ok(_) => {
            let parameters = json!({"name": "inner", "signal": "TERM"});
            let status = node.call("Stop", parameters)["status"].take();
            assert_eq!(status["exit"]["exit_code"], 8, "{status:#}");
            // One more by the same program of inits.
            node.launch("next", "exit 2", private);
            assert_eq!(node.wait("next")["exit"]["exit_code"], 2);
        }
        Err(error) => println!("skipped: a pid namespace: {error}"),
    }
}

#[test]
fn what_nobody_has_read_yet_stays() {
    let node = Node::start(&[]);
    let path = node.text_path("fifo");
    let text = "x".repeat(1000);
    let script = format!("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i {text}; done");
    node.launch("writer", &script, json!({"stdout": {"kind": "fifo", "path": path}}));
    assert_eq!(node.wait("writer")["exit"]["exit_code"], 0);
    assert_eq!(node.inspect("writer")["output_pending"], true);
    for _ in 0..2 {
        node.upgrade();
    }
    assert_eq!(node.inspect("writer")["output_pending"], true);
    let mut read = String::new();
    std::fs::File::open(&path).expect("opened").read_to_string(&mut read).expect("read");
    assert_eq!(read.lines().count(), 10);
    node.until("writer", |status| status["output_pending"] != true);
}

#[test]
fn a_task_file_is_known_to_the_next_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tasks.toml");
    let text = |command: &str| {
        let task = |name: &str, command: &str| {
            format!("[task.{name}]\ncommand = \"{command}\"\nargs = [\"600\"]\n")
        };
        task("a", command) + &task("b", "/bin/sleep")
    };
    std::fs::write(&file, text("/bin/sleep")).expect("written");
    let flags = ["--tasks", file.to_str().expect("text")];
    let flags = flags.map(str::to_owned);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let node = Node::start_in(directory, Path::new(crate::fixture::PROGRAM), &flags);
    wait_for("both tasks", || node.call("List", json!({}))["tasks"].as_array().unwrap().len() == 2);
    for name in ["a", "b"] {
        node.until(name, |status| status["state"] == "running");
    }
    let pids = |node: &Node| ["a", "b"].map(|name| node.inspect(name)["pid"].take());
    let before = pids(&node);
    // What is changed by hand stays so, too.
    let _ = node
        .client()
        .call("org.ostler.UpdateResources", json!({"name": "b", "resources": {"pids_max": 70}}));
    // A file that is broken meanwhile does not matter.
    std::fs::write(&file, "no task file").expect("written");
    node.upgrade();
    assert_eq!(pids(&node), before);
    std::fs::write(&file, text("/bin/sleep")).expect("written");
    let reply = node.call("Reload", json!({}));
    assert_eq!(reply["unchanged"], 2, "{reply}");
    assert_eq!(pids(&node), before);
    std::fs::write(&file, text("/usr/bin/sleep")).expect("written");
    node.upgrade();
    let reply = node.call("Reload", json!({}));
    assert_eq!((&reply["restarted"], &reply["unchanged"]), (&json!(["a"]), &json!(1)), "{reply}");
}

#[test]
fn with_a_state_directory_the_next_daemon_goes_on_as_well() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    let flags = ["--state".to_owned(), state.to_str().expect("text").to_owned()];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let node = Node::start_in(directory, Path::new(crate::fixture::PROGRAM), &flags);
    let pid = node.launch("sleeper", "sleep 600", json!({}))["pid"].as_u64().expect("a pid");
    node.upgrade();
    // It is locked still.
    let other = Command::new(crate::fixture::PROGRAM)
        .args(["daemon", "--socket", "none", "--state"])
        .arg(&state)
        .output()
        .expect("started");
    let why = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        why.contains(&format!("in use by another supervisor, process {}", node.pid())),
        "{why}"
    );
    node.launch("later", "sleep 600", json!({}));
    let journal = std::fs::read_to_string(state.join("journal")).expect("a journal");
    for name in ["sleeper", "later"] {
        assert!(journal.contains(&format!("\"name\":\"{name}\"")), "{journal}");
    }
    // Killed: the next one adopts.
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(node.pid() as i32),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("killed");
    let mut node = node;
    node.restart(&flags);
    let status = node.inspect("sleeper");
    assert_eq!((&status["pid"], &status["adopted"]), (&json!(pid), &json!(true)));
    node.upgrade();
    let status: Value = node.inspect("sleeper");
    assert_eq!((&status["pid"], &status["adopted"]), (&json!(pid), &json!(true)));
    node.call("Stop", json!({"name": "sleeper", "grace_ms": 0}));
    wait_for("its end", || !lives(pid));
}

#[test]
fn no_descriptor_more_is_needed_than_is_kept_free() {
    for limit in [64, 160] {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = command(Path::new(crate::fixture::PROGRAM), directory.path(), &[]);
        let mut limited = Command::new("/bin/sh");
        let line = format!("ulimit -n {limit}; exec \"$@\"");
        limited.args(["-c", &line, "sh"]).arg(daemon.get_program()).args(daemon.get_args());
        limited.stderr(std::fs::File::create(directory.path().join("log")).expect("a log"));
        let node = Node::run(directory, limited);
        let script = format!("until [ -e {} ]; do sleep 0.1; done; exit 4", node.text_path("go"));
        let mut names = Vec::new();
        let refused = loop {
            let name = format!("t{}", names.len());
            let sink = json!({"kind": "fifo", "path": node.text_path(&name)});
            let args = json!(["-c", script]);
            let task = json!({"name": name, "command": "/bin/sh", "args": args, "stdout": sink});
            match node.client().call("org.ostler.Launch", json!({ "task": task })) {
                Ok(_) => names.push(name),
                Err(error) => break error.to_string(),
            }
        };
        assert!(refused.contains("Limit") || refused.contains("kept free"), "{refused}");
        // As many that need none.
        for number in 0..20 {
            let name = format!("plain{number}");
            node.launch(&name, &script, json!({}));
            names.push(name);
        }
        for _ in 0..3 {
            node.upgrade();
        }
        std::fs::write(node.path("go"), "").expect("written");
        for name in names {
            assert_eq!(node.wait(&name)["exit"]["exit_code"], 4, "{name}");
        }
    }
}
