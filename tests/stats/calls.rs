//! Stats as clients call it, once and as a stream, and the verb.

use super::fixture::{
    Daemon, answer, command, failure, grouped_command, launch, shell, wait_until,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn names(reply: &Value) -> Vec<&str> {
    let tasks = reply["stats"].as_array().expect("a list");
    tasks.iter().filter_map(|task| task["name"].as_str()).collect()
}

#[test]
fn only_what_has_a_process_is_told() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let empty = json!({"stats": [], "complete": true});
    assert_eq!(answer(&mut client, "Stats", json!({})), empty);
    launch(&mut client, shell("gone", "exit 0"));
    answer(&mut client, "Wait", json!({"name": "gone"}));
    let status = launch(&mut client, shell("here", "exec sleep 300"));
    let reply = answer(&mut client, "Stats", json!({}));
    assert_eq!(names(&reply), ["here"]);
    let stats = &reply["stats"][0];
    assert_eq!(stats["id"], status["id"]);
    assert!(stats["time_us"].as_u64() >= status["started_us"].as_u64());
    assert!(stats.get("by_pid").is_none());
    assert_eq!((&stats["total"]["processes"], &stats["total"]["threads"]), (&json!(1), &json!(1)));
    assert_eq!(answer(&mut client, "Stats", json!({"names": ["gone"]})), empty);
    let unknown = failure(&mut client, "Stats", json!({"names": ["here", "nobody"]}));
    assert_eq!(unknown, ("org.ostler.NoSuchTask".to_owned(), json!({"name": "nobody"})));
}

#[test]
fn each_process_is_told_where_that_is_wanted() {
    for command in [command(&[]), grouped_command()] {
        let daemon = Daemon::run(command);
        let mut client = daemon.client();
        let status = launch(&mut client, shell("a", "sleep 300 & sleep 300 & wait"));
        wait_until("both are there", || {
            let reply = answer(&mut client, "Stats", json!({"by_pid": true}));
            let stats = &reply["stats"][0];
            let each = stats["by_pid"].as_object().expect("each");
            assert!(each.contains_key(&status["pid"].to_string()), "{stats}");
            assert_eq!(stats["total"]["processes"], each.len(), "{stats}");
            each.values().for_each(|one| assert!(one.get("processes").is_none(), "{one}"));
            each.len() == 3
        });
    }
}

#[test]
fn what_a_dead_child_has_burnt_and_an_orphan_count() {
    // The orphan's parent is gone, so that no line of descent leads to it.
    let line = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let line = format!("sh -c '{line}'; (sleep 300 & sleep 300 &); exec sleep 300");
    for (what, command) in [("no groups", command(&[])), ("groups", grouped_command())] {
        let daemon = Daemon::run(command);
        let mut client = daemon.client();
        launch(&mut client, shell("a", &line));
        wait_until("both orphans and the main process sleep", || {
            let total = answer(&mut client, "Stats", json!({}))["stats"][0]["total"].take();
            let burnt = total["cpu_user_us"].as_u64() >= Some(20_000);
            burnt && total["processes"] == 3
        });
        // They keep counting, although nothing of them runs any more.
        let total = answer(&mut client, "Stats", json!({}))["stats"][0]["total"].take();
        assert_eq!(total["processes"], 3, "{what}: {total}");
        assert!(total["cpu_user_us"].as_u64() >= Some(20_000), "{what}: {total}");
    }
}

#[test]
fn an_orphan_in_a_session_of_its_own_counts_where_it_has_an_init() {
    let daemon = Daemon::run(command(&[]));
    let mut client = daemon.client();
    let features = answer(&mut client, "Version", json!({}))["features"].take();
    if !features.as_array().expect("a list").contains(&json!("namespaces")) {
        return eprintln!("skipped: no namespaces");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let begun = directory.path().join("begun");
    let orphan = format!("setsid sh -c \"echo > {}; exec sleep 300\" & exit", begun.display());
    let mut task = shell("a", &format!("sh -c '{orphan}'; exec sleep 300"));
    task["isolation"] = json!({"pid": true});
    let main = launch(&mut client, task)["pid"].take();
    wait_until("its parent is gone", || {
        let name = std::fs::read_to_string(format!("/proc/{main}/comm"));
        begun.exists() && name.is_ok_and(|name| name == "sleep\n")
    });
    wait_until("both count", || {
        let stats = answer(&mut client, "Stats", json!({"by_pid": true}))["stats"][0].take();
        let sleeping = stats["by_pid"].as_object().expect("each").len();
        stats["total"]["processes"] == 2 && sleeping == 2
    });
}

#[test]
fn a_stream_comes_at_once_then_at_its_interval_and_ends_with_its_tasks() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    launch(&mut client, shell("a", "exec sleep 300"));
    launch(&mut client, shell("b", "exec sleep 300"));
    let mut watcher = daemon.client();
    let parameters = json!({"names": ["a", "b"], "interval_ms": 300});
    let begun = Instant::now();
    let mut replies = watcher.stream("org.ostler.Stats", parameters).expect("sent");
    let mut next = || replies.next().map(|reply| reply.expect("no error"));
    assert_eq!(names(&next().expect("the first")), ["a", "b"]);
    assert!(begun.elapsed() < Duration::from_millis(140), "{:?}", begun.elapsed());
    assert_eq!(names(&next().expect("the second")), ["a", "b"]);
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
    answer(&mut client, "Stop", json!({"name": "a", "grace_ms": 0}));
    wait_for(&mut next, &["b"]);
    answer(&mut client, "Restart", json!({"name": "b", "grace_ms": 0}));
    wait_for(&mut next, &["b"]);
    answer(&mut client, "Stop", json!({"name": "b", "grace_ms": 0}));
    let mut last = Vec::new();
    while let Some(reply) = next() {
        last = names(&reply).into_iter().map(str::to_owned).collect();
    }
    assert_eq!(last, [""; 0], "the last one says that there is none");
}

fn wait_for(next: &mut impl FnMut() -> Option<Value>, expected: &[&str]) {
    for _ in 0..100 {
        if names(&next().expect("it goes on")) == expected {
            return;
        }
    }
    panic!("{expected:?} never came");
}

#[test]
fn a_stream_without_names_goes_on_without_tasks_and_takes_new_ones_in() {
    let daemon = Daemon::start();
    let mut watcher = daemon.client();
    let mut replies =
        watcher.stream("org.ostler.Stats", json!({"interval_ms": 100})).expect("sent");
    let mut next = || replies.next().map(|reply| reply.expect("no error"));
    assert_eq!(names(&next().expect("the first")), [""; 0]);
    launch(&mut daemon.client(), shell("late", "exec sleep 300"));
    wait_for(&mut next, &["late"]);
}

#[test]
fn a_restart_begins_anew() {
    let daemon = Daemon::run(grouped_command());
    let mut client = daemon.client();
    let line = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; exec sleep 300";
    launch(&mut client, shell("a", line));
    let mut cpu = || {
        let total = answer(&mut client, "Stats", json!({}))["stats"][0]["total"].take();
        (total["cpu_user_us"].as_u64().unwrap_or(0), total.get("cpu_percent").is_some())
    };
    wait_until("it has burnt something", || cpu().0 > 5_000);
    let (before, compared) = cpu();
    assert!(compared);
    let slow = json!({"task": {"name": "b", "command": "sleep", "args": ["300"]}});
    answer(&mut daemon.client(), "Launch", slow);
    answer(&mut daemon.client(), "Restart", json!({"name": "b", "grace_ms": 0}));
    let mut client = daemon.client();
    let stats = answer(&mut client, "Stats", json!({"names": ["b"]}))["stats"][0]["total"].take();
    assert!(stats.get("cpu_percent").is_none(), "{stats}");
    assert!(stats["cpu_user_us"].as_u64() < Some(before), "{stats}");
}

#[test]
fn many_tasks_come_in_pieces_to_those_who_take_more() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let name = "x".repeat(190);
    for number in 0..2000 {
        let task = json!({"name": format!("{name}-{number}"), "command": "sleep", "args": ["300"]});
        launch(&mut client, task);
    }
    let (error, parameters) = failure(&mut client, "Stats", json!({"by_pid": true}));
    assert_eq!((error.as_str(), &parameters["limit"]), ("org.ostler.Limit", &json!("reply")));
    let mut replies = client.stream("org.ostler.Stats", json!({"by_pid": true})).expect("sent");
    let (mut count, mut pieces) = (0, 0);
    loop {
        let reply = replies.next().expect("a reply").expect("no error");
        count += names(&reply).len();
        pieces += 1;
        daemon.answers();
        if reply["complete"] == true {
            break;
        }
    }
    assert_eq!(count, 2000);
    assert!(pieces > 5, "{pieces}");
}

#[test]
fn the_supervisor_tells_how_its_loop_does() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    // The first one is asked before the loop has had a turn.
    answer(&mut client, "DaemonStats", json!({}));
    wait_until("it has slept", || {
        answer(&mut client, "DaemonStats", json!({}))["wakeups"].as_u64() > Some(0)
    });
    let figures = answer(&mut client, "DaemonStats", json!({}));
    assert!(figures["turns"].as_u64() >= figures["wakeups"].as_u64(), "{figures}");
    for field in ["turns", "wakeups", "loop_max_us", "rss_bytes", "fds"] {
        assert!(figures[field].as_u64() > Some(0), "{field}: {figures}");
    }
    assert_eq!(figures["relayed_bytes"], 0);
    let path = daemon.path("fifo");
    let task = json!({"name": "a", "command": "echo", "args": ["hello"],
        "stdout": {"kind": "fifo", "path": path}});
    launch(&mut client, task);
    wait_until("its output is carried", || {
        answer(&mut client, "DaemonStats", json!({}))["relayed_bytes"] == 6
    });
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(daemon.pid() as i32),
        nix::sys::signal::Signal::SIGUSR1,
    )
    .expect("it lives");
    wait_until("USR1 is answered", || {
        let log = daemon.log();
        ["turns=", "wakeups=", "loop_max_us=", "relayed_bytes=6", "tasks=1", "fds=", "rss_bytes="]
            .iter()
            .all(|figure| log.contains(figure))
    });
}

/// What the verb prints, and its exit code.
fn verb(daemon: &Daemon, arguments: &[&str]) -> (String, String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_ostler"))
        .arg("stats")
        .args(arguments)
        .env("OSTLER_SOCKET", &daemon.socket)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn the_verb_shows_a_table_json_and_what_is_not_there() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    launch(&mut client, shell("web-1", "exec sleep 300"));
    launch(&mut client, shell("web-2", "exec sleep 300"));
    launch(&mut client, shell("other", "exec sleep 300"));
    let (table, complaints, code) = verb(&daemon, &["web-*"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), code, complaints.as_str()), (3, Some(0), ""), "{table}");
    assert_eq!((rows[1][0], rows[1][1]), ("web-1", "0.0%"), "{table}");
    let (json, _, _) = verb(&daemon, &["--json", "--by-pid", "other"]);
    let value: Value = serde_json::from_str(json.trim_end()).expect("one line of JSON");
    assert_eq!((&value["name"], &value["total"]["processes"]), (&json!("other"), &json!(1)));
    assert_eq!(value["by_pid"].as_object().expect("each").len(), 1);
    let (table, complaints, code) = verb(&daemon, &["nobody", "other"]);
    assert_eq!((table.lines().count(), code), (2, Some(1)), "{table}");
    assert_eq!(complaints, "ostler: stats nobody: no such task\n");
    let (_, complaints, code) = verb(&daemon, &["--watch", "--interval", "99ms"]);
    assert_eq!(code, Some(2));
    assert!(complaints.contains("must be at least 100ms"), "{complaints}");
}

#[test]
fn to_watch_ends_with_the_tasks() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    launch(&mut client, shell("a", "exec sleep 300"));
    let mut watch = Command::new(env!("CARGO_BIN_EXE_ostler"))
        .args(["stats", "--watch", "--interval", "100ms", "--json", "a"])
        .env("OSTLER_SOCKET", &daemon.socket)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    for _ in 0..3 {
        let line = lines.next().expect("it goes on").expect("text");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["name"], "a");
    }
    answer(&mut client, "Stop", json!({"name": "a", "grace_ms": 0}));
    let rest = lines.count();
    assert!(rest <= 20, "{rest} more");
    assert_eq!(watch.wait().expect("a child").code(), Some(0));
}
