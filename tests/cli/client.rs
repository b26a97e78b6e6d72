//! The verbs of the client: what they ask, and what they make of each answer.

use super::answering::Daemon;
use super::{Outcome, ostler, outcome};
use serde_json::{Value, json};

#[track_caller]
fn ask(daemon: &Daemon, arguments: &[&str]) -> Outcome {
    let mut command = ostler(arguments);
    outcome(command.env("OSTLER_SOCKET", daemon.socket()).output().expect("the program starts"))
}

fn refusal(error: &str, parameters: Value) -> Value {
    json!({ "error": format!("org.ostler.{error}"), "parameters": parameters })
}

fn exited(name: &str, code: i64) -> Value {
    json!({ "name": name, "state": "exited", "exit": { "exit_code": code, "status_known": true } })
}

/// One that answers every call with this.
fn always(reply: Value) -> Daemon {
    Daemon::start(move |_, _| vec![reply.clone()])
}

#[test]
fn launch_prints_the_name_and_sends_what_the_flags_say() {
    let daemon = always(json!({ "status": { "name": "web", "state": "running", "pid": null } }));
    let outcome = ask(
        &daemon,
        &[
            "launch",
            "--name",
            "web",
            "--env",
            "A=1",
            "--env",
            "OSTLER_SOCKET_NOT_SET",
            "--stdout",
            "file:/log,max_size=1M",
            "--stderr",
            "stdout",
            "--memory-max",
            "64M",
            "--cpu-max",
            "none",
            "--restart",
            "on-failure",
            "--restart-attempts",
            "-1",
            "--cap",
            "none",
            "--if-exists",
            "same",
            "--timeout",
            "2s",
            "sleep",
            "-v",
            "--",
            "60",
        ],
    );
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "web\n"), "{outcome:?}");
    let [(method, call)] = &daemon.calls()[..] else { panic!("one call") };
    assert_eq!(method, "Launch");
    assert_eq!((&call["if_exists"], &call["timeout_ms"]), (&json!("same"), &json!(2000)));
    let task = &call["task"];
    assert_eq!(task["command"], "sleep");
    assert_eq!(task["args"], json!(["-v", "--", "60"]));
    assert_eq!(task["env"], json!(["A=1"]));
    assert_eq!(task["stdout"]["path"], "/log");
    assert_eq!(task["stdout"]["max_size_bytes"], 1 << 20);
    assert_eq!(task["stderr"]["path"], "/log");
    assert_eq!(task["resources"], json!({ "memory_max_bytes": 64 << 20, "cpu_max": -1 }));
    assert_eq!(task["restart"], json!({ "mode": "on_failure", "attempts": -1 }));
    assert_eq!(task["isolation"], json!({ "capabilities": [] }));
    for absent in ["inherit_env", "work_dir", "umask", "nice", "rlimits", "kill_signal"] {
        assert_eq!(task.get(absent), None, "{absent}");
    }
    let json = ask(&daemon, &["launch", "--json", "sleep"]);
    assert_eq!(json.stdout, "{\"name\":\"web\",\"state\":\"running\"}\n");
}

#[test]
fn launch_reads_a_task_of_json() {
    let daemon = always(json!({ "status": { "name": "web-0" } }));
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("task.json");
    std::fs::write(&file, r#"{"command": "sleep", "args": ["60"]}"#).expect("written");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(ask(&daemon, &["launch", "--task", file]).stdout, "web-0\n");
    assert_eq!(daemon.calls()[0].1, json!({ "task": { "command": "sleep", "args": ["60"] } }));
    std::fs::write(file, r#"{"command": "sleep", "colour": 1}"#).expect("written");
    let wrong = ask(&daemon, &["launch", "--task", file]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    assert!(wrong.stderr.contains("colour"), "{wrong:?}");
    assert_eq!(ask(&daemon, &["launch", "--task", "/nonexistent.json"]).code, Some(1));
}

#[test]
fn a_task_file_that_cannot_be_is_an_invalid_task_in_json() {
    let daemon = always(json!({}));
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("tasks.toml");
    std::fs::write(&file, "[task.web]\ncommand = \"x\"\ncolour = 1\n[task.db]\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let wrong = ask(&daemon, &["launch", "--json", "--task", file]);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    let lines = wrong.stderr.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, (field, number)) in lines.iter().zip([("task.web", 3), ("task.db", 4)]) {
        assert_eq!(line["error"], "org.ostler.InvalidTask");
        let parameters = &line["parameters"];
        assert_eq!((&parameters["field"], &parameters["line"]), (&json!(field), &json!(number)));
        assert!(parameters["reason"].is_string());
    }
    assert_eq!(daemon.calls(), [], "nothing was launched");
}

#[test]
fn a_launch_that_fails_says_why() {
    let error = json!({ "stage": "exec", "errno_name": "ENOENT", "message": "find \"x\": no" });
    let daemon = always(refusal("LaunchFailed", json!({ "error": error })));
    let outcome = ask(&daemon, &["launch", "x"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    assert_eq!(outcome.stderr, "ostler: launch: find \"x\": no\n");
    let json = ask(&daemon, &["launch", "--json", "x"]);
    let value: Value = serde_json::from_str(&json.stderr).expect("JSON");
    assert_eq!(value, refusal("LaunchFailed", json!({ "error": error })));
    let exec = ask(&daemon, &["exec", "--json", "web", "x"]);
    assert_eq!(exec.code, Some(127), "{exec:?}");
}

#[test]
fn wait_exits_as_the_task_did() {
    for (status, code, says) in [
        (exited("web", 0), 0, ""),
        (exited("web", 3), 3, ""),
        (exited("web", 143), 143, ""),
        (
            json!({ "exit": { "exit_code": -1, "status_known": false } }),
            125,
            "ostler: wait web: the exit status of the task is not known\n",
        ),
        (
            json!({ "exit": { "exit_code": 137, "status_known": true, "oom_killed": true } }),
            137,
            "ostler: wait web: the OOM killer ended a process of the task\n",
        ),
    ] {
        let outcome = ask(&always(json!({ "status": status })), &["wait", "web"]);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(code), says), "{status}");
    }
    let late = always(refusal("TimedOut", json!({})));
    let outcome = ask(&late, &["wait", "web", "--timeout", "10ms"]);
    assert_eq!(outcome.code, Some(124));
    assert_eq!(outcome.stderr, "ostler: wait web: timed out\n");
    assert_eq!(late.calls()[0].1, json!({ "name": "web", "timeout_ms": 10 }));
    let none = always(refusal("NoSuchTask", json!({ "name": "web" })));
    assert_eq!(ask(&none, &["wait", "web"]).code, Some(125));
}

#[test]
fn several_names_are_all_tried() {
    let daemon = Daemon::start(|_, parameters| match parameters["name"].as_str() {
        Some("bad") => vec![refusal("NoSuchTask", json!({ "name": "bad" }))],
        Some(name) => vec![json!({ "status": exited(name, 0) })],
        None => vec![],
    });
    let mut names: Vec<String> = (0..40).map(|number| format!("web-{number}")).collect();
    names.insert(20, "bad".to_owned());
    let mut arguments = vec!["stop", "--json", "--signal", "hup", "--grace", "0"];
    arguments.extend(names.iter().map(String::as_str));
    let outcome = ask(&daemon, &arguments);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(outcome.stdout.lines().count(), 40);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let calls = daemon.calls();
    assert_eq!(calls.len(), 41);
    assert!(calls.iter().all(|(method, call)| method == "Stop"
        && call["signal"] == "SIGHUP"
        && call["grace_ms"] == 0));
    let outcome = ask(&daemon, &["stop", "web", "bad"]);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(1), "ostler: stop bad: no such task\n")
    );
    assert_eq!(ask(&daemon, &["stop", "--ignore-missing", "bad", "web"]).code, Some(0));
}

#[test]
fn patterns_are_expanded_over_the_list() {
    let daemon = Daemon::start(|method, _| match method {
        "List" => vec![
            json!({ "tasks": [{ "name": "web-1" }, { "name": "db" }], "sequence": 1 }),
            json!({ "tasks": [{ "name": "web-2" }], "sequence": 1 }),
        ],
        _ => vec![json!({})],
    });
    let outcome = ask(&daemon, &["signal", "-HUP", "web-*", "web-1", "--all"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let signals: Vec<Value> = daemon.calls().into_iter().skip(1).map(|(_, call)| call).collect();
    let call = |name| json!({ "name": name, "signal": "SIGHUP", "all": true });
    assert_eq!(signals.len(), 2);
    assert!(signals.contains(&call("web-1")) && signals.contains(&call("web-2")));
    for (arguments, code) in [
        (&["signal", "no-*"][..], 1),
        (&["stop", "no-*"], 1),
        (&["stop", "--ignore-missing", "no-*"], 0),
        (&["rm", "no-*"], 0),
        (&["restart", "[x-z]*", "db"], 1),
    ] {
        assert_eq!(ask(&daemon, arguments).code, Some(code), "{arguments:?}");
    }
    let message = ask(&daemon, &["restart", "no-?"]).stderr;
    assert_eq!(message, "ostler: restart no-?: no such task\n");
}

#[test]
fn start_leaves_a_running_task_alone() {
    let daemon = Daemon::start(|method, parameters| match (method, parameters["name"].as_str()) {
        ("Inspect", Some("up")) => vec![json!({ "status": { "name": "up", "state": "running" } })],
        ("Inspect", _) => vec![json!({ "status": exited("down", 0) })],
        _ => vec![json!({ "status": { "name": "down", "state": "running" } })],
    });
    assert_eq!(ask(&daemon, &["start", "up"]).code, Some(0));
    assert_eq!(daemon.calls().len(), 1);
    assert_eq!(ask(&daemon, &["start", "down"]).code, Some(0));
    assert_eq!(daemon.calls()[2], ("Restart".to_owned(), json!({ "name": "down" })));
}

#[test]
fn ps_shows_a_table_and_json() {
    let daemon = Daemon::start(|method, parameters| match method {
        "List" if parameters.get("states").is_some() => {
            vec![json!({ "tasks": [{ "name": "web", "state": "running", "pid": 7, "restarts": 2,
                "command": "nginx" }] })]
        }
        "List" => vec![json!({ "tasks": [exited("old", 3)] })],
        _ => vec![refusal("Unsupported", json!({}))],
    });
    let table = ask(&daemon, &["ps", "-l", "a=b"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    let lines: Vec<Vec<&str>> =
        table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let heading = ["NAME", "STATE", "PID", "UPTIME", "RESTARTS", "CPU", "MEM", "COMMAND"];
    assert_eq!(lines, [&heading[..], &["web", "running", "7", "-", "2", "-", "-", "nginx"]]);
    assert_eq!(daemon.calls()[0].1["labels"], json!({ "a": "b" }));
    assert!(ask(&daemon, &["ps", "--all"]).stdout.contains("exited (3)"));
    let json = ask(&daemon, &["ps", "--all", "--json"]).stdout;
    assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), exited("old", 3));
}

#[test]
fn logs_prints_both_streams_or_says_that_nothing_is_kept() {
    let file = |path: &str| json!({ "kind": "file", "path": path });
    let task = json!({ "stdout": file("/o"), "stderr": file("/e") });
    let daemon = Daemon::start(move |method, parameters| match method {
        "Inspect" => vec![json!({ "status": { "task": task } })],
        // "out\n" and "err\n"
        _ if parameters["stream"] == "stdout" => vec![json!({ "data_base64": "b3V0Cg==" })],
        _ => vec![json!({ "data_base64": "ZXJyCg==" })],
    });
    assert_eq!(ask(&daemon, &["logs", "web", "-n", "5"]).stdout, "out\nerr\n");
    assert_eq!(daemon.calls()[1].1, json!({ "name": "web", "stream": "stdout", "lines": 5 }));
    assert_eq!(ask(&daemon, &["logs", "web", "--stderr"]).stdout, "err\n");
    assert_eq!(ask(&daemon, &["logs", "a", "bb", "--stdout"]).stdout, "a  | out\nbb | out\n");
    let followed = ask(&daemon, &["logs", "web", "-f"]).stdout;
    let mut lines: Vec<&str> = followed.lines().collect();
    lines.sort();
    assert_eq!(lines, ["err", "out"]);

    let none = Daemon::start(|method, _| match method {
        "Inspect" => vec![json!({ "status": { "task": { "command": "x" } } })],
        _ => {
            let parameters = json!({ "name": "web", "stream": "stdout", "kind": "discard" });
            vec![refusal("NotKept", parameters)]
        }
    });
    let outcome = ask(&none, &["logs", "web"]);
    assert_eq!(outcome.code, Some(1));
    let message = "ostler: logs web: nothing is kept, stdout is discard (use --stdout file:PATH)\n";
    assert_eq!(outcome.stderr, message);
}

#[test]
fn events_are_lines() {
    let event = |kind: &str| json!({ "sequence": 1, "time_us": 0, "name": "web", "kind": kind });
    let daemon = Daemon::start(move |_, _| {
        vec![
            json!({ "events": [], "sequence": 0 }),
            json!({ "events": [event("launched"), event("removed")], "sequence": 2 }),
        ]
    });
    let text = ask(&daemon, &["events", "web", "--after", "0"]).stdout;
    let time = "1970-01-01T00:00:00.000Z";
    assert_eq!(text, format!("{time} web launched\n{time} web removed\n"));
    assert_eq!(daemon.calls()[0].1, json!({ "names": ["web"], "after": 0 }));
    let json = ask(&daemon, &["events", "--json"]).stdout;
    assert_eq!(json.lines().count(), 2);
    let lost = always(refusal("EventsLost", json!({ "oldest": 9, "instance": "x" })));
    let outcome = ask(&lost, &["events", "--after", "1"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("events before 9 are gone"), "{outcome:?}");
}

#[test]
fn a_daemon_that_does_not_know_the_call_is_named() {
    let unknown = "org.varlink.service.MethodNotImplemented";
    let daemon = always(json!({ "error": unknown, "parameters": { "method": "x" } }));
    for arguments in [
        &["stats"][..],
        &["reload"],
        &["update", "web", "--memory-max", "1G"],
        &["upgrade"],
        &["exec", "--json", "web", "true"],
    ] {
        let outcome = ask(&daemon, arguments);
        let code = if arguments[0] == "exec" { 125 } else { 1 };
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        let says = if arguments[0] == "exec" { unknown } else { "not available in this version" };
        assert!(outcome.stderr.contains(says), "{outcome:?}");
    }
}

#[test]
fn shutdown_stops_the_tasks_unless_told_otherwise() {
    let daemon = always(json!({}));
    assert_eq!(ask(&daemon, &["shutdown", "--grace", "1s"]).code, Some(0));
    assert_eq!(ask(&daemon, &["shutdown", "--keep-tasks"]).code, Some(0));
    let calls: Vec<Value> = daemon.calls().into_iter().map(|(_, call)| call).collect();
    assert_eq!(
        calls,
        [json!({ "stop_tasks": true, "grace_ms": 1000 }), json!({ "stop_tasks": false })]
    );
}

#[test]
fn a_daemon_that_goes_away_is_said() {
    let daemon = Daemon::start(|_, _| vec![]);
    for (arguments, code) in [(["inspect", "web"], 1), (["wait", "web"], 125)] {
        let outcome = ask(&daemon, &arguments);
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        assert!(outcome.stderr.ends_with(": the daemon closed the connection\n"), "{outcome:?}");
    }
    // The others are tried all the same.
    let several = ask(&daemon, &["stop", "a", "b"]);
    assert_eq!((several.code, several.stderr.lines().count()), (Some(1), 2), "{several:?}");
}

#[test]
fn launch_reads_a_task_file_in_the_order_of_its_start() {
    let daemon = Daemon::start(|_, call| match call["task"]["name"].as_str() {
        Some("bad") => vec![refusal("Unsupported", json!({ "feature": "x", "reason": "y" }))],
        name => vec![json!({ "status": { "name": name } })],
    });
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("tasks.toml");
    let text = "[task.web]\ncommand = \"/bin/a\"\nafter = [\"db\"]\n\
                [task.bad]\ncommand = \"/bin/b\"\nafter = [\"db\"]\n\
                [task.db]\ncommand = \"/bin/c\"\n";
    std::fs::write(&file, text).expect("written");
    let outcome = ask(&daemon, &["launch", "--task", file.to_str().expect("UTF-8")]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let names: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(names, ["db", "web"], "{outcome:?}");
    assert!(outcome.stderr.contains("ostler: launch bad: x: y\n"), "{outcome:?}");
}

#[test]
fn exec_as_json_is_the_reply() {
    let reply = json!({ "exit_code": 3, "signal": 0, "timed_out": false, "truncated": true,
        "stdout_base64": "b3V0Cg==", "stderr_base64": "ZXJyCg==" });
    let daemon = always(reply.clone());
    let flags = ["exec", "--json", "-e", "A=1", "--timeout", "1s", "web", "ls", "-l"];
    let json = ask(&daemon, &flags);
    assert_eq!((json.code, json.stderr.as_str()), (Some(3), ""));
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).expect("JSON"), reply);
    let call = json!({ "name": "web", "command": "ls", "args": ["-l"], "env": ["A=1"],
        "timeout_ms": 1000 });
    assert_eq!(daemon.calls(), [("Exec".to_owned(), call)]);
    let late = always(json!({ "exit_code": 137, "timed_out": true }));
    assert_eq!(ask(&late, &["exec", "--json", "web", "ls"]).code, Some(124));
}
