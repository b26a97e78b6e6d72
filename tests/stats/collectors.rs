//! What collectors are given: a file, and a socket that speaks HTTP, both in a form that Prometheus
//! reads.

use super::fixture::{Daemon, answer, grouped_command, launch, shell, wait_until};
use super::python;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn with_metrics(flags: &[&str]) -> Daemon {
    let mut command = grouped_command();
    command.args(flags);
    Daemon::run(command)
}

/// All that comes until the other side closes.
fn ask(socket: &Path, request: &[u8], close: bool) -> String {
    let mut stream = UnixStream::connect(socket).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.write_all(request).expect("sent");
    if close {
        stream.shutdown(Shutdown::Write).expect("a socket");
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    text
}

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The samples of a text as the parser of Prometheus reads them, where that can be had.
fn parsed(directory: &Path, text: &str, test: &str) -> Option<Vec<Value>> {
    let python = python::with("prometheus-client", "prometheus_client", test)?;
    let path = directory.join("text");
    std::fs::write(&path, text).expect("written");
    let samples = python::run(&python, "parse.py", &[path.to_str().expect("text")]);
    Some(serde_json::from_str(&samples).expect("JSON"))
}

fn value_of(samples: &[Value], name: &str, task: &str) -> f64 {
    let found = samples.iter().find(|sample| sample[2] == name && sample[3]["task"] == task);
    found.and_then(|sample| sample[4].as_f64()).unwrap_or_else(|| panic!("no {name} of {task}"))
}

#[test]
fn prometheus_reads_what_the_socket_and_the_verb_give() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("metrics.sock");
    let daemon = with_metrics(&["--metrics", &format!("unix:{}", socket.display())]);
    let mut client = daemon.client();
    launch(&mut client, shell("a+b@c:1", "sleep 300 & wait"));
    launch(&mut client, shell("b", "exec sleep 300"));
    let test = "prometheus_reads_what_the_socket_and_the_verb_give";
    let answer = ask(&socket, GET, false);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    let verb = Command::new(env!("CARGO_BIN_EXE_ostler"))
        .args(["stats", "--openmetrics"])
        .env("OSTLER_SOCKET", &daemon.socket)
        .output()
        .expect("it runs");
    let bare = ask(&socket, b"", true);
    for text in [body, &bare, &String::from_utf8(verb.stdout).expect("text")] {
        assert!(text.ends_with("\n# EOF\n"), "{text}");
        let Some(samples) = parsed(directory.path(), text, test) else { return };
        assert_eq!(value_of(&samples, "ostler_task_processes", "a+b@c:1"), 2.0);
        assert_eq!(value_of(&samples, "ostler_task_threads", "b"), 1.0);
        assert!(value_of(&samples, "ostler_task_memory_rss_bytes", "b") > 0.0);
        value_of(&samples, "ostler_task_cpu_seconds_total", "b");
        let cpu = samples.iter().find(|sample| sample[2] == "ostler_task_cpu_seconds_total");
        assert_eq!(cpu.map(|cpu| (&cpu[0], &cpu[1])), Some((&json!("counter"), &json!("seconds"))));
        let tasks = samples.iter().find(|sample| sample[2] == "ostler_tasks").expect("tasks");
        assert_eq!(tasks[4], 2.0);
    }
}

#[test]
fn a_file_is_replaced_at_each_interval_and_goes_with_the_daemon() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ostler.prom");
    let shown = path.to_str().expect("text").to_owned();
    let daemon = with_metrics(&["--metrics", &shown, "--stats-interval", "100ms"]);
    let mut client = daemon.client();
    launch(&mut client, shell("a", "exec sleep 300"));
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until("the task is in it", || read().contains("ostler_task_threads{task=\"a\"} 1\n"));
    let test = "a_file_is_replaced_at_each_interval_and_goes_with_the_daemon";
    if let Some(samples) = parsed(directory.path(), &read(), test) {
        assert_eq!(value_of(&samples, "ostler_task_processes", "a"), 1.0);
    }
    // Whoever reads it while it is replaced sees a whole one.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        assert!(read().ends_with("\n# EOF\n"));
    }
    // What is measured at an interval is there for whoever asks, with percentages.
    let total = answer(&mut client, "Stats", json!({}))["stats"][0]["total"].take();
    assert!(total["cpu_percent"].is_number(), "{total}");
    answer(&mut client, "Stop", json!({"name": "a", "grace_ms": 0}));
    wait_until("the task is not in it", || {
        let text = read();
        text.ends_with("\n# EOF\n") && !text.contains("task=\"a\"")
    });
    answer(&mut client, "Shutdown", json!({"stop_tasks": true}));
    assert_eq!(daemon.ended(), 0);
    let left: Vec<PathBuf> =
        std::fs::read_dir(&directory).expect("there").flatten().map(|entry| entry.path()).collect();
    assert!(left.iter().all(|path| path.ends_with("text")), "{left:?}");
}

#[test]
fn a_link_in_the_way_of_the_file_leads_nowhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ostler.prom");
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "precious").expect("written");
    std::os::unix::fs::symlink(&victim, directory.path().join("ostler.prom.new")).expect("a link");
    std::os::unix::fs::symlink(&victim, &path).expect("a link");
    let _daemon = with_metrics(&["--metrics", path.to_str().expect("text")]);
    wait_until("it is written", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with("# EOF\n"))
    });
    assert_eq!(std::fs::read_to_string(&victim).expect("there"), "precious");
}

#[test]
fn flags_that_cannot_be_are_refused_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("text");
    let missing = format!("{place}/no/such/file");
    let taken = format!("unix:{place}/taken");
    std::fs::write(directory.path().join("taken"), "").expect("written");
    for (flags, code, says) in [
        (&["--metrics", &missing][..], 1, "No such file or directory"),
        (&["--metrics", place], 1, "it is a directory"),
        (&["--metrics", &taken], 1, "something else is there"),
        (&["--metrics", "unix:"], 2, "must be PATH or unix:PATH"),
        (&["--metrics", &missing, "--stats-interval", "0"], 2, "needs an interval"),
        (&["--stats-interval", "99ms"], 2, "at least 100ms"),
        (&["--stats-interval", "soon"], 2, "--stats-interval"),
    ] {
        let output = grouped_command()
            .args(["--socket", &format!("{place}/socket")])
            .args(flags)
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {complaint}");
        assert!(complaint.contains(says), "{flags:?}: {complaint}");
        assert!(!complaint.contains("os error"), "{flags:?}: {complaint}");
    }
}

#[test]
fn a_collector_that_behaves_badly_harms_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("metrics.sock");
    let daemon = with_metrics(&["--metrics", &format!("unix:{}", socket.display())]);
    launch(&mut daemon.client(), shell("a", "exec sleep 300"));
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
    daemon.answers();
    let before = descriptors();
    let status = |request: &[u8]| {
        let answer = ask(&socket, request, false);
        answer.split(' ').nth(1).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(status(b"GET /else HTTP/1.1\r\n\r\n"), "404");
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), "405");
    assert_eq!(status(b"\xff\x00\r\n\r\n"), "400");
    assert_eq!(ask(&socket, b"HEAD / HTTP/1.1\r\n\r\n", false).lines().last(), Some(""));
    assert_eq!(ask(&socket, b"half a request", true), "");
    // More than may ask at once, and they say nothing.
    let silent: Vec<UnixStream> =
        (0..40).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    daemon.answers();
    assert!(descriptors() <= before + 17, "{} descriptors", descriptors());
    drop(silent);
    for _ in 0..20 {
        // It asks and leaves.
        let mut stream = UnixStream::connect(&socket).expect("it listens");
        let _ = stream.write_all(GET);
    }
    wait_until("they are let go", || descriptors() <= before);
    assert_eq!(status(GET), "200");
}
