//! Single calls: what they answer, and their errors with exact names and parameters.

use super::fixture::{Daemon, answer, failure, launch, shell, wait_until};
use ostler::control::{CallError, Client};
use serde_json::{Value, json};

#[test]
fn a_task_from_launch_to_remove() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let out = daemon.path("out");
    let task = json!({
        "name": "web", "command": "/bin/sh", "args": ["-c", "echo hello; exit 3"],
        "env": ["A=1"], "stdout": {"kind": "file", "path": out},
        "restart": {"mode": "never"}, "labels": {"tier": "front"}, "kill_signal": "term",
        "stderr": null,
    });
    let status = launch(&mut client, task);
    assert_eq!(status["name"], "web");
    assert_eq!(status["labels"], json!({"tier": "front"}));
    assert_eq!(status.get("task"), None);
    let id = status["id"].as_str().expect("an id").to_owned();
    let ended = answer(&mut client, "Wait", json!({"name": "web", "id": id}))["status"].take();
    assert_eq!(ended["state"], "exited");
    assert_eq!(ended["exit"]["exit_code"], 3);
    assert_eq!(ended["exit"]["signal"], 0);
    assert_eq!(ended["exit"]["status_known"], true);
    assert_eq!(std::fs::read_to_string(&out).expect("a file"), "hello\n");

    let inspected = answer(&mut client, "Inspect", json!({"name": "web"}));
    let echoed = json!({
        "name": "web", "command": "/bin/sh", "args": ["-c", "echo hello; exit 3"],
        "env": ["A=1"], "stdout": {"kind": "file", "path": out},
        "labels": {"tier": "front"}, "kill_signal": "SIGTERM",
    });
    assert_eq!(inspected["status"]["task"], echoed);
    let listed = answer(&mut client, "List", json!({"labels": {"tier": "front"}}));
    assert_eq!(listed["tasks"], json!([ended]));
    assert!(listed["sequence"].as_u64() >= inspected["sequence"].as_u64());
    for nothing in [json!({"labels": {"tier": "back"}}), json!({"states": ["running"]})] {
        assert_eq!(answer(&mut client, "List", nothing)["tasks"], json!([]));
    }
    assert_eq!(answer(&mut client, "Remove", json!({"name": "web"})), json!({}));
    let gone = ("org.ostler.NoSuchTask".to_owned(), json!({"name": "web"}));
    assert_eq!(failure(&mut client, "Inspect", json!({"name": "web"})), gone);
}

#[test]
fn stop_signal_and_restart() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let first = launch(&mut client, shell("a", "exec sleep 60"));
    assert_eq!(first["state"], "running");
    assert_eq!(answer(&mut client, "Signal", json!({"name": "a", "signal": "cont"})), json!({}));
    let again =
        answer(&mut client, "Restart", json!({"name": "a", "grace_ms": 0}))["status"].take();
    assert_eq!(again["id"], first["id"]);
    assert_ne!(again["pid"], first["pid"]);
    let stopped =
        answer(&mut client, "Stop", json!({"name": "a", "signal": "15"}))["status"].take();
    assert_eq!(stopped["state"], "exited");
    assert_eq!(stopped["exit"]["signal"], 15);
    assert_eq!(stopped["exit"]["exit_code"], 143);
    let not_running = failure(&mut client, "Signal", json!({"name": "a", "signal": "TERM"}));
    let expected = ("org.ostler.NotRunning".to_owned(), json!({"name": "a", "state": "exited"}));
    assert_eq!(not_running, expected);
}

/// Makes each call, and compares the error that it is answered with.
fn expect_errors(
    client: &mut Client,
    calls: impl IntoIterator<Item = (&'static str, Value, Error)>,
) {
    for (method, parameters, (error, expected)) in calls {
        let found = failure(client, method, parameters);
        assert_eq!(found, (error.to_owned(), expected), "{method}");
    }
}

type Error = (&'static str, Value);

fn invalid(path: &str) -> Error {
    ("org.varlink.service.InvalidParameter", json!({"parameter": path}))
}

/// A call of Launch whose task has this field.
fn with(field: &str, value: Value) -> Value {
    let mut task = shell("b", "true");
    task[field] = value;
    json!({"task": task})
}

#[test]
fn parameters_that_cannot_be_are_named() {
    let daemon = Daemon::start();
    let sink = json!({"kind": "discard", "colour": 1});
    let too_large = json!({"name": "a", "timeout_ms": 9_007_199_254_740_992_u64});
    let resources = json!({"name": "a", "resources": {"pids_max": 1, "x": 1}});
    let calls = [
        ("Launch", json!({}), invalid("task")),
        ("Launch", with("colour", json!(1)), invalid("task.colour")),
        ("Launch", with("stdout", sink), invalid("task.stdout.colour")),
        ("Launch", json!({"task": {}, "if_exists": "maybe"}), invalid("if_exists")),
        ("Wait", too_large, invalid("timeout_ms")),
        ("Signal", json!({"name": "a"}), invalid("signal")),
        ("List", json!({"states": ["running", "asleep"]}), invalid("states[1]")),
        ("Logs", json!({"name": "a", "stream": "stdin"}), invalid("stream")),
        ("Exec", json!({"name": "a"}), invalid("command")),
        ("Stats", json!({"interval_ms": 99}), invalid("interval_ms")),
        ("UpdateResources", resources, invalid("resources.x")),
        ("Version", json!({"x": 1}), invalid("x")),
        ("Shutdown", json!({}), invalid("stop_tasks")),
    ];
    expect_errors(&mut daemon.client(), calls);
}

#[test]
fn every_error_has_its_name_and_parameters() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    launch(&mut client, shell("a", "exec sleep 60"));
    let logs = json!({"name": "a", "stream": "stdout"});
    let not_kept = json!({"name": "a", "stream": "stdout", "kind": "discard"});
    let nope = json!({"name": "a", "signal": "NOPE"});
    let exec = json!({"name": "a", "command": "b"});
    let nothing = json!({"method": "org.ostler.Nothing"});
    let calls = [
        ("Wait", json!({"name": "a", "timeout_ms": 0}), ("org.ostler.TimedOut", json!({}))),
        ("Wait", json!({"name": "a", "id": "x"}), ("org.ostler.NoSuchTask", json!({"name": "a"}))),
        ("Stop", nope, ("org.ostler.UnknownSignal", json!({"signal": "NOPE"}))),
        ("Logs", logs, ("org.ostler.NotKept", not_kept)),
        ("Events", json!({}), ("org.varlink.service.ExpectedMore", json!({}))),
        ("ExecStream", exec, ("org.ostler.ExpectedUpgrade", json!({}))),
        ("Nothing", json!({}), ("org.varlink.service.MethodNotFound", nothing)),
    ];
    expect_errors(&mut client, calls);
    let mut fails = |method: &str, parameters: Value| failure(&mut client, method, parameters);
    let (error, parameters) = fails("Launch", with("env", json!(["A=1", "B"])));
    assert_eq!(error, "org.ostler.InvalidTask");
    assert_eq!(parameters["field"], "env[1]");
    let (error, parameters) = fails("Launch", json!({"task": shell("a", "true")}));
    assert_eq!(error, "org.ostler.TaskExists");
    assert_eq!(parameters["name"], "a");
    assert_eq!(parameters["status"]["state"], "running");
    let (error, parameters) = fails("Launch", with("command", json!("/no/such/command")));
    assert_eq!(error, "org.ostler.LaunchFailed");
    assert_eq!(parameters["error"]["errno_name"], "ENOENT");
    let message = parameters["error"]["message"].as_str();
    assert!(message.is_some_and(|text| text.contains("/no/such")));
}

#[test]
fn an_upgrade_is_answered_with_the_version() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    launch(&mut client, shell("a", "exec sleep 60"));
    let reply = answer(&mut client, "Upgrade", json!({}));
    assert_eq!(reply, json!({"version": env!("CARGO_PKG_VERSION")}));
    assert_eq!(answer(&mut client, "DaemonStats", json!({}))["pid"], daemon.pid());
    let invalid = ("org.varlink.service.InvalidParameter", json!({"parameter": "x"}));
    expect_errors(&mut client, [("Upgrade", json!({"x": 1}), invalid)]);
}

#[test]
fn limits_are_changed_and_told() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    launch(&mut client, shell("a", "exec sleep 60"));
    let none = json!({"pids_max": -1, "cpuset": "", "cpu_max": -1});
    let reply = answer(&mut client, "UpdateResources", json!({"name": "a", "resources": none}));
    assert_eq!(reply["resources"], json!({"pids_max": -1, "cpuset": "", "cpu_max": -1}));
    let inspected = answer(&mut client, "Inspect", json!({"name": "a"}));
    assert_eq!(inspected["status"]["task"]["resources"], reply["resources"]);
    let changed = &inspected["status"]["task"];
    for task in [&shell("a", "exec sleep 60"), changed] {
        let same = json!({"task": task, "if_exists": "same"});
        assert_eq!(answer(&mut client, "Launch", same)["status"]["id"], inspected["status"]["id"]);
    }
    let unknown = json!({"name": "b", "resources": none});
    let zero = json!({"name": "a", "resources": {"pids_max": 0}});
    let many = json!({"name": "a", "resources": {"pids_max": 4_194_305}});
    let field = json!({"field": "resources.pids_max", "reason": "must be 1 to 4194304, or -1"});
    let calls = [
        ("UpdateResources", unknown, ("org.ostler.NoSuchTask", json!({"name": "b"}))),
        ("UpdateResources", zero, ("org.ostler.InvalidTask", field.clone())),
        ("UpdateResources", many, ("org.ostler.InvalidTask", field)),
    ];
    expect_errors(&mut client, calls);
}

#[test]
fn a_launch_can_be_repeated_safely() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let first = launch(&mut client, shell("a", "exec sleep 60"));
    let call = json!({"task": shell("a", "exec sleep 60"), "if_exists": "same"});
    assert_eq!(answer(&mut client, "Launch", call)["status"]["id"], first["id"]);
}

#[test]
fn introspection_describes_both_interfaces() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let info = client.call("org.varlink.service.GetInfo", json!({})).expect("an answer");
    assert_eq!(info["interfaces"], json!(["org.varlink.service", "org.ostler"]));
    assert_eq!(info["product"], "ostler");
    let mut describe = |interface: &str| {
        let method = "org.varlink.service.GetInterfaceDescription";
        client.call(method, json!({"interface": interface}))
    };
    for interface in ["org.ostler", "org.varlink.service"] {
        let description = describe(interface).expect("an answer")["description"].take();
        let text = description.as_str().expect("text");
        assert!(text.contains(&format!("interface {interface}\n")));
    }
    let Err(CallError::Remote { error, parameters }) = describe("org.other") else {
        panic!("an error");
    };
    assert_eq!(error, "org.varlink.service.InterfaceNotFound");
    assert_eq!(parameters, json!({"interface": "org.other"}));
    let version = answer(&mut client, "Version", json!({}));
    assert_eq!(version["socket"].as_str(), daemon.socket.to_str());
    assert!(version["features"].is_array());
    let figures = answer(&mut client, "DaemonStats", json!({}));
    assert_eq!(figures["pid"], daemon.pid());
    assert_eq!(figures["threads"], 1);
}

#[test]
fn calls_of_one_connection_are_answered_in_order() {
    let daemon = Daemon::start();
    launch(&mut daemon.client(), shell("a", "exec sleep 60"));
    let mut raw = daemon.raw();
    raw.send(&json!({"method": "org.ostler.Wait", "parameters": {"name": "a"}}));
    raw.send(&json!({"method": "org.ostler.Inspect", "parameters": {"name": "a"}}));
    raw.send(&json!({"method": "org.ostler.List", "more": true}));
    // The others wait behind the first one; another connection does not.
    answer(&mut daemon.client(), "Stop", json!({"name": "a"}));
    let replies: Vec<Value> = (0..3).map(|_| raw.next().expect("a reply")).collect();
    assert_eq!(replies[0]["parameters"]["status"]["state"], "exited");
    assert_eq!(replies[1]["parameters"]["status"]["task"]["name"], "a");
    assert_eq!(replies[2]["parameters"]["tasks"][0]["name"], "a");
    assert!(replies.iter().all(|reply| reply.get("continues").is_none()));
}

#[test]
fn a_oneway_call_is_done_and_not_answered() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.send_oneway("org.ostler.Launch", json!({"task": shell("a", "true")})).expect("sent");
    client.send_oneway("org.ostler.Launch", json!({"task": {"name": "b"}})).expect("sent");
    client.send_oneway("org.ostler.Stop", json!({"name": "nobody"})).expect("sent");
    assert_eq!(answer(&mut client, "Wait", json!({"name": "a"}))["status"]["exit"]["exit_code"], 0);
    wait_until("both failures are in the log", || {
        let log = daemon.log();
        log.contains("org.ostler.Launch") && log.contains("org.ostler.Stop")
    });
}

#[test]
fn absent_fields_are_left_out_of_replies() {
    let daemon = Daemon::start();
    let mut raw = daemon.raw();
    for (method, parameters) in [
        ("Launch", json!({"task": shell("a", "true"), "timeout_ms": null})),
        ("Wait", json!({"name": "a", "id": null})),
        ("Inspect", json!({"name": "a"})),
        ("List", json!({"labels": null, "states": null})),
        ("Version", Value::Null),
    ] {
        let method = format!("org.ostler.{method}");
        raw.send(&json!({"method": method, "parameters": parameters, "more": null}));
        let text = raw.next_text().expect("a reply");
        assert!(!text.contains("null") && !text.contains("\"error\":\"org"), "{text}");
    }
}

#[test]
fn shutdown_is_answered_and_ends_the_daemon() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let status = launch(&mut client, shell("a", "exec sleep 60"));
    let mut waits = daemon.raw();
    waits.send(&json!({"method": "org.ostler.Wait", "parameters": {"name": "a"}}));
    assert_eq!(answer(&mut client, "Shutdown", json!({"stop_tasks": true})), json!({}));
    let waited = waits.next().expect("a reply");
    assert_eq!(waited["parameters"]["status"]["state"], "exited");
    let socket = daemon.socket.clone();
    assert_eq!(daemon.ended(), 0);
    assert!(!socket.exists());
    assert!(!std::path::Path::new(&format!("/proc/{}/exe", status["pid"])).exists());
}

#[test]
fn tasks_that_no_daemon_will_know_of_are_told() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let pid = launch(&mut client, shell("a", "exec sleep 60"))["pid"].as_i64().expect("a pid");
    assert_eq!(answer(&mut client, "Shutdown", json!({"stop_tasks": false})), json!({}));
    wait_until("it is told", || daemon.log().contains("tasks=1 run on, and no daemon will know"));
    let task = nix::unistd::Pid::from_raw(pid as i32);
    nix::sys::signal::kill(task, nix::sys::signal::SIGKILL).expect("it runs on");
}
