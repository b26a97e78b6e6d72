//! Streams of events and lists.

use super::fixture::{Daemon, Raw, answer, failure, launch, shell};
use ostler::control::{CallError, Client};
use serde_json::{Value, json};

/// Reads events until one of `kind` of the task `name`, that one included.
fn until(client: &mut Client, parameters: Value, name: &str, kind: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for reply in client.stream("org.ostler.Events", parameters).expect("sent") {
        let mut reply = reply.expect("a reply");
        let sequence = reply["sequence"].as_u64().expect("a number");
        let Value::Array(new) = reply["events"].take() else { panic!("a list") };
        assert!(new.iter().all(|event| event["sequence"].as_u64() <= Some(sequence)));
        events.extend(new);
        let end = |event: &Value| event["name"] == name && event["kind"] == kind;
        if let Some(end) = events.iter().position(end) {
            events.truncate(end + 1);
            break;
        }
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["kind"].as_str()).collect()
}

#[test]
fn nothing_is_missed_after_the_first_reply() {
    let daemon = Daemon::start();
    let mut watcher = daemon.client();
    let mut stream = watcher.stream("org.ostler.Events", json!({})).expect("sent");
    let first = stream.next().expect("a reply").expect("no error");
    assert_eq!(first["events"], json!([]));
    let mut client = daemon.client();
    let id = launch(&mut client, shell("a", "exit 1"))["id"].take();
    let mut events = Vec::new();
    while !kinds(&events).contains(&"finished") {
        let mut reply = stream.next().expect("a reply").expect("no error");
        let Value::Array(new) = reply["events"].take() else { panic!("a list") };
        events.extend(new);
    }
    assert_eq!(kinds(&events), ["launched", "started", "exited", "finished"]);
    let sequences: Vec<u64> =
        events.iter().filter_map(|event| event["sequence"].as_u64()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b));
    assert!(sequences.first() > first["sequence"].as_u64().as_ref());
    assert!(events.iter().all(|event| event["id"] == id && event["status"]["id"] == id));
    assert_eq!(events[3]["status"]["exit"]["exit_code"], 1);
    assert_eq!(events[3]["detail"], "never");

    // Again from the start, then from the middle, of one task only.
    let resumed = until(&mut daemon.client(), json!({"after": first["sequence"]}), "a", "finished");
    assert_eq!(resumed, events);
    let resumed = until(&mut daemon.client(), json!({"after": sequences[1]}), "a", "finished");
    assert_eq!(resumed, events[2..]);
    launch(&mut client, shell("b", "true"));
    let parameters = json!({"after": first["sequence"], "names": ["b"]});
    let of_b = until(&mut daemon.client(), parameters, "b", "finished");
    assert_eq!(of_b.len(), 4);
    assert!(of_b.iter().all(|event| event["name"] == "b"));
}

#[test]
fn clients_that_wait_cost_nothing() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let mut task = shell("a", "exec sleep 60");
    task["stdout"] = json!({"kind": "file", "path": daemon.path("out")});
    launch(&mut client, task);
    let logs = json!({"name": "a", "stream": "stdout"});
    let waiting: Vec<Raw> = [("Events", json!({})), ("Wait", json!({"name": "a"})), ("Logs", logs)]
        .into_iter()
        .map(|(method, parameters)| {
            let mut raw = daemon.raw();
            let method = format!("org.ostler.{method}");
            raw.send(&json!({"method": method, "parameters": parameters, "more": true}));
            if method != "org.ostler.Wait" {
                raw.next().expect("the first reply");
            }
            raw
        })
        .collect();
    let mut wakeups = || {
        let figures = answer(&mut client, "DaemonStats", json!({}));
        figures["wakeups"].as_u64().expect("a number")
    };
    wakeups();
    let before = wakeups();
    std::thread::sleep(std::time::Duration::from_secs(1));
    // That of the call itself, and one in which nothing was left to be done.
    assert!(wakeups() <= before + 3);
    drop(waiting);
}

#[test]
fn events_of_another_history_are_lost() {
    let daemon = Daemon::start();
    let instance = answer(&mut daemon.client(), "Version", json!({}))["instance"].take();
    let mut client = daemon.client();
    let mut stream = client.stream("org.ostler.Events", json!({"after": 1_000_000})).expect("sent");
    let Some(Err(CallError::Remote { error, parameters })) = stream.next() else {
        panic!("an error");
    };
    assert_eq!(error, "org.ostler.EventsLost");
    assert_eq!(parameters["instance"], instance);
    assert!(parameters["oldest"].is_u64());
    assert!(stream.next().is_none());
}

#[test]
fn a_reader_that_pauses_catches_up() {
    let daemon = Daemon::start();
    let mut watcher = daemon.client();
    let mut stream = watcher.stream("org.ostler.Events", json!({})).expect("sent");
    stream.next().expect("a reply").expect("no error");
    // Far more than a socket holds: each event carries the label.
    let label = "x".repeat(20_000);
    let mut client = daemon.client();
    for number in 0..100 {
        let mut task = shell(&format!("t{number}"), "true");
        task["labels"] = json!({"long": label});
        launch(&mut client, task);
    }
    for number in 0..100 {
        answer(&mut client, "Wait", json!({"name": format!("t{number}")}));
    }
    let mut seen = 0;
    let mut last = 0;
    while seen < 400 {
        let reply = stream.next().expect("a reply").expect("no error");
        for event in reply["events"].as_array().expect("a list") {
            let sequence = event["sequence"].as_u64().expect("a number");
            assert!(sequence > last);
            last = sequence;
            seen += 1;
        }
    }
    assert_eq!(seen, 400);
}

#[test]
fn a_long_list_comes_in_pieces_or_not_at_all() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let label = "x".repeat(20_000);
    for number in 0..60 {
        let mut task = shell(&format!("t{number}"), "true");
        task["labels"] = json!({"long": label});
        launch(&mut client, task);
    }
    let (error, parameters) = failure(&mut client, "List", json!({}));
    assert_eq!(error, "org.ostler.Limit");
    assert_eq!(parameters["limit"], "reply");
    assert_eq!(parameters["maximum"], 1 << 20);
    let mut names = Vec::new();
    let mut sequences = Vec::new();
    for reply in client.stream("org.ostler.List", json!({})).expect("sent") {
        let reply = reply.expect("no error");
        sequences.push(reply["sequence"].as_u64().expect("a number"));
        let tasks = reply["tasks"].as_array().expect("a list");
        names.extend(tasks.iter().filter_map(|task| task["name"].as_str().map(str::to_owned)));
    }
    assert!(sequences.len() > 2);
    assert!(sequences.iter().all(|sequence| *sequence == sequences[0]));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 60);
}

#[test]
fn more_on_a_method_with_one_reply_is_one_reply() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let replies = client.stream("org.ostler.Version", json!({})).expect("sent");
    let replies: Vec<Value> = replies.map(|reply| reply.expect("no error")).collect();
    assert_eq!(replies.len(), 1);
}

#[test]
fn output_that_is_dropped_with_its_task_is_told() {
    let daemon = Daemon::start();
    let directory = tempfile::tempdir().expect("a directory");
    let mut client = daemon.client();
    let mut task = shell("a", "echo unread");
    task["stdout"] = json!({"kind": "fifo", "path": directory.path().join("out")});
    launch(&mut client, task);
    client.call("org.ostler.Wait", json!({"name": "a"})).expect("an end");
    client.call("org.ostler.Remove", json!({"name": "a"})).expect("removed");
    let events = until(&mut daemon.client(), json!({"after": 0}), "a", "output_lost");
    let [.., removed, lost] = &events[..] else { panic!("{events:?}") };
    assert_eq!(removed["kind"], "removed");
    assert_eq!(lost["detail"], "stdout: 7 bytes");
    assert!(lost["sequence"].as_u64() > removed["sequence"].as_u64());
}
