//! Logs: the last lines, and following a task.

use super::fixture::{Daemon, answer, failure, launch, shell};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ostler::control::Client;
use serde_json::{Value, json};

fn text(reply: &Value) -> String {
    let data = STANDARD.decode(reply["data_base64"].as_str().expect("text")).expect("base64");
    String::from_utf8_lossy(&data).into_owned()
}

/// Everything that following a log brings, to its end.
fn followed(client: &mut Client, parameters: Value) -> String {
    let replies = client.stream("org.ostler.Logs", parameters).expect("sent");
    replies.map(|reply| text(&reply.expect("no error"))).collect()
}

fn logging(name: &str, line: &str, path: &str) -> Value {
    let mut task = shell(name, line);
    task["stdout"] = json!({"kind": "file", "path": path});
    task["stderr"] = json!({"kind": "file", "path": path});
    task
}

#[test]
fn the_last_lines_of_a_file() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let task = logging("a", "seq 1 100; printf '\\377end' >&2", &daemon.path("out"));
    launch(&mut client, task);
    answer(&mut client, "Wait", json!({"name": "a"}));
    let mut logs = |parameters: Value| text(&answer(&mut client, "Logs", parameters));
    assert_eq!(logs(json!({"name": "a", "stream": "stdout", "lines": 2})), "100\n\u{fffd}end");
    assert_eq!(logs(json!({"name": "a", "stream": "stderr", "lines": 0})), "");
    assert_eq!(logs(json!({"name": "a", "stream": "stdout"})).lines().count(), 10);
    assert_eq!(logs(json!({"name": "a", "stream": "stdout", "lines": 1000})).lines().count(), 101);
    std::fs::remove_file(daemon.path("out")).expect("removed");
    assert_eq!(logs(json!({"name": "a", "stream": "stdout"})), "");
    std::os::unix::fs::symlink("/etc/passwd", daemon.path("out")).expect("a link");
    let (error, _) = failure(&mut client, "Logs", json!({"name": "a", "stream": "stdout"}));
    assert_eq!(error, "org.ostler.NotPermitted");
}

#[test]
fn following_goes_on_over_restarts_and_ends_with_the_task() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let count = daemon.path("count");
    let line = format!("echo x >> {count}; n=$(wc -l < {count}); echo run $n; test $n = 3");
    let mut task = logging("a", &line, &daemon.path("out"));
    task["restart"] = json!({"mode": "on_failure", "delay_ms": 50});
    launch(&mut client, task);
    let all = followed(&mut client, json!({"name": "a", "stream": "stdout", "lines": 100}));
    assert_eq!(all, "run 1\nrun 2\nrun 3\n");
    let again = followed(&mut client, json!({"name": "a", "stream": "stdout", "lines": 1}));
    assert_eq!(again, "run 3\n");
}

#[test]
fn what_is_written_is_seen_at_once() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let line = "trap 'echo one' USR1; trap 'echo two' USR2; echo begun; \
                while :; do sleep 0.05; done";
    launch(&mut client, logging("a", line, &daemon.path("out")));
    let parameters = json!({"name": "a", "stream": "stdout", "lines": 10});
    let mut stream = client.stream("org.ostler.Logs", parameters).expect("sent");
    let mut seen = String::new();
    let mut see = |expected: &str| {
        while seen != expected {
            seen += &text(&stream.next().expect("a reply").expect("no error"));
            assert!(expected.starts_with(&seen), "{seen:?}");
        }
    };
    let mut other = daemon.client();
    let mut signal =
        |signal: &str| answer(&mut other, "Signal", json!({"name": "a", "signal": signal}));
    see("begun\n");
    signal("USR1");
    see("begun\none\n");
    signal("USR2");
    see("begun\none\ntwo\n");
    answer(&mut daemon.client(), "Stop", json!({"name": "a", "grace_ms": 0}));
    let rest: String = stream.map(|reply| text(&reply.expect("no error"))).collect();
    assert_eq!(rest, "");
}

#[test]
fn following_goes_on_over_rotation() {
    for numbering in ["shift", "count"] {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let go = daemon.path("go");
        let mut task = shell("a", &format!("until test -e {go}; do sleep 0.02; done; seq 1 20000"));
        task["stdout"] = json!({
            "kind": "file", "path": daemon.path("out"), "max_size_bytes": 10_000, "max_files": 100,
            "numbering": numbering,
        });
        launch(&mut client, task);
        let parameters = json!({"name": "a", "stream": "stdout"});
        let mut stream = client.stream("org.ostler.Logs", parameters.clone()).expect("sent");
        let mut all = text(&stream.next().expect("a reply").expect("no error"));
        std::fs::write(&go, "").expect("written");
        all.extend(stream.map(|reply| text(&reply.expect("no error"))));
        let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
        assert!(all == expected, "{numbering}: {} bytes of {}", all.len(), expected.len());
        let mut whole = parameters;
        whole["lines"] = json!(30_000);
        assert!(text(&answer(&mut client, "Logs", whole)) == expected, "{numbering}");
    }
}

#[test]
fn many_followers_of_one_log() {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let go = daemon.path("go");
    let line = format!("until test -e {go}; do sleep 0.02; done; seq 1 1000");
    launch(&mut client, logging("a", &line, &daemon.path("out")));
    let followers: Vec<_> = (0..20)
        .map(|_| {
            let mut client = daemon.client();
            std::thread::spawn(move || {
                followed(&mut client, json!({"name": "a", "stream": "stdout"})).lines().count()
            })
        })
        .collect();
    std::fs::write(&go, "").expect("written");
    for follower in followers {
        assert_eq!(follower.join().expect("no panic"), 1000);
    }
}
