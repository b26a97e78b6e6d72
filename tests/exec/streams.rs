//! ExecStream: frames of a command and its client, without a terminal.

use crate::node::{END_OF_STDERR, END_OF_STDOUT, Node, STDOUT, wait_for_end};
use crate::support::{is_alive, wait_for};
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::Duration;

#[test]
fn each_stream_is_carried_and_the_exit_is_last() {
    let node = Node::start();
    let before = node.descriptors();
    let mut client = node.stream("cat; echo oops >&2; exit 6", json!({}));
    client.put(0, b"hello ");
    client.put(9, b"of a kind that nobody knows");
    client.put(2, b"\0\x18\0\x50");
    client.put(3, b"NO-SUCH-SIGNAL");
    client.put(0, b"world\n");
    assert_eq!(client.frame(), Some((STDOUT, b"hello world\n".to_vec())));
    client.put(1, b"");
    // Behind its end there is none.
    client.put(0, b"lost");
    let (stdout, stderr, mut others, code) = client.rest();
    assert_eq!((stdout.as_str(), stderr.as_str(), code), ("", "oops\n", 6));
    others.sort_unstable();
    assert_eq!(others, [END_OF_STDOUT, END_OF_STDERR]);
    // To close one side is the end of input, too.
    let mut client = node.stream("wc -c", json!({}));
    client.put(0, &[b'x'; 65_536]);
    client.put(0, b"yz");
    client.stream.shutdown(Shutdown::Write).expect("closed");
    let (stdout, _, _, code) = client.rest();
    assert_eq!((stdout.trim(), code), ("65538", 0));
    node.wait_until_clean(before);
}

#[test]
fn a_command_that_closes_its_output_is_told_so_at_once() {
    let node = Node::start();
    let mut client = node.stream("echo a; exec >&-; sleep 0.2; echo b >&2; cat; exit 2", json!({}));
    assert_eq!(client.frame(), Some((STDOUT, b"a\n".to_vec())));
    assert_eq!(client.frame(), Some((END_OF_STDOUT, Vec::new())));
    client.put(1, b"");
    let (_, stderr, others, code) = client.rest();
    assert_eq!((stderr.contains("b\n"), others, code), (true, vec![END_OF_STDERR], 2));
    // It reads nothing: what it is given is thrown away.
    let mut client = node.stream("exec <&-; echo a; sleep 0.3; exit 3", json!({}));
    client.expect("a\n");
    for _ in 0..40 {
        client.put(0, &[b'x'; 65_536]);
    }
    assert_eq!(client.rest().3, 3);
}

#[test]
fn signals_reach_the_main_process() {
    let node = Node::start();
    let line = "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done";
    let mut client = node.stream(line, json!({}));
    client.expect("ready\n");
    client.put(3, b"USR1");
    let (stdout, _, _, code) = client.rest();
    assert_eq!((stdout.as_str(), code), ("got\n", 9));
    let mut client = node.stream("echo ready; exec sleep 1000", json!({}));
    client.expect("ready\n");
    client.put(3, b"SIGKILL");
    assert_eq!(client.rest().3, 137);
}

#[test]
fn what_is_refused_leaves_the_connection_as_it_was() {
    let node = Node::start();
    let mut client = node.connect();
    let call = || json!({"name": "web", "command": "true"});
    client.send("ExecStream", call(), json!({}));
    assert_eq!(client.answer().expect_err("refused").0, "org.ostler.ExpectedUpgrade");
    let with = |field: &str, value: serde_json::Value| {
        let mut call = call();
        call[field] = value;
        call
    };
    for (parameters, error) in [
        (with("command", "no-such".into()), "org.ostler.LaunchFailed"),
        (with("name", "nobody".into()), "org.ostler.NoSuchTask"),
        (with("rows", 70_000.into()), "org.varlink.service.InvalidParameter"),
        (with("timeout_ms", 1.into()), "org.varlink.service.InvalidParameter"),
        (with("env", json!(["A"])), "org.ostler.InvalidTask"),
    ] {
        client.send("ExecStream", parameters, json!({"upgrade": true}));
        assert_eq!(client.answer().expect_err("refused").0, error);
    }
    client.send("Exec", call(), json!({"upgrade": true}));
    assert_eq!(client.answer().expect_err("refused").0, "org.varlink.service.InvalidParameter");
    client.send("ExecStream", call(), json!({"upgrade": true}));
    client.answer().expect("it runs");
    assert_eq!(client.rest().3, 0);
}

#[test]
fn standard_input_and_output_are_not_given_up() {
    let mut daemon = crate::support::ostler(&["daemon", "--socket", "none", "--control", "stdio"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a daemon");
    let mut input = daemon.stdin.take().expect("stdin");
    let task = json!({"name": "web", "command": "/bin/sleep", "args": ["1000"]});
    let exec = json!({"name": "web", "command": "/bin/echo", "args": ["x"]});
    for (method, parameters, upgrade) in [
        ("Launch", json!({"task": task}), false),
        ("ExecStream", exec.clone(), true),
        ("Exec", exec, false),
    ] {
        let method = format!("org.ostler.{method}");
        let call = json!({"method": method, "parameters": parameters, "upgrade": upgrade});
        input.write_all(format!("{call}\0").as_bytes()).expect("sent");
    }
    drop(input);
    let output = daemon.wait_with_output().expect("ended");
    let text = String::from_utf8(output.stdout).expect("text");
    let answers: Vec<serde_json::Value> =
        text.split_terminator('\0').map(|text| serde_json::from_str(text).expect("JSON")).collect();
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!(answers[1]["error"], "org.ostler.Unsupported");
    assert_eq!(answers[2]["parameters"]["stdout_base64"], "eAo=");
}

#[test]
fn a_client_that_does_not_read_stops_its_command_alone() {
    let node = Node::start();
    let line = format!("echo $$ >{}; exec yes 0123456789abcde", node.path("pid"));
    let mut client = node.stream(&line, json!({}));
    let pid = node.line_of("pid");
    let wchan = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let time = || -> u64 {
        let stat = wchan();
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("ticks")).sum()
    };
    // It is stopped once everything on the way is full.
    let mut last = time();
    wait_for("the command to stop", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = time();
        std::mem::replace(&mut last, now) == now
    });
    let memory = node.memory_kib();
    assert!(memory < 64 << 10, "{memory} KiB");
    node.answers();
    assert_eq!(node.shell("echo other").stdout, "other\n");
    // Nothing is lost on the way.
    let mut read = 0;
    let mut text = Vec::new();
    while read < 10 << 20 {
        let Some((STDOUT, data)) = client.frame() else { panic!("it goes on") };
        read += data.len();
        text.extend(data);
        let whole = text.len() / 16 * 16;
        assert!(text[..whole].chunks(16).all(|line| line == b"0123456789abcde\n"));
        text.drain(..whole);
    }
    drop(client);
    wait_for_end(&pid);
}

#[test]
fn a_command_that_does_not_read_stops_its_client_alone() {
    let node = Node::start();
    let gate = node.path("gate");
    let line = format!("while [ ! -e {gate} ]; do sleep 0.1; done; md5sum");
    let mut client = node.stream(&line, json!({}));
    client.stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a socket");
    let mut frame = vec![0, 0, 1, 0, 0];
    frame.resize(5 + 65_536, b'x');
    let mut sent = 0;
    let mut rest = &frame[..];
    // Until nothing goes any more.
    loop {
        match client.stream.write(rest) {
            Ok(bytes) => {
                sent += bytes;
                rest = &rest[bytes..];
                if rest.is_empty() {
                    rest = &frame;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
        assert!(sent < 16 << 20, "somebody takes all of it");
    }
    node.answers();
    assert!(node.memory_kib() < 64 << 10);
    // It reads in the end.
    std::fs::write(&gate, "").expect("opened");
    client.stream.set_write_timeout(None).expect("a socket");
    if rest.len() < frame.len() {
        client.stream.write_all(rest).expect("sent");
        sent += rest.len();
    }
    let data = sent / frame.len() * 65_536;
    client.put(1, b"");
    let (stdout, _, _, code) = client.rest();
    let expected = node.shell(&format!("head -c {data} /dev/zero | tr '\\0' x | md5sum")).stdout;
    assert_eq!((stdout, code), (expected, 0));
}

#[test]
fn a_frame_that_is_too_long_ends_it_all() {
    let node = Node::start();
    let before = node.descriptors();
    let line = format!("echo $$ >{}; exec sleep 1000", node.path("pid"));
    let mut client = node.stream(&line, json!({}));
    let pid = node.line_of("pid");
    client.stream.write_all(&[0, 0, 1, 0, 1]).expect("sent");
    assert_eq!(client.frame(), None);
    wait_for_end(&pid);
    node.wait_until_clean(before);
}

#[test]
fn a_client_that_vanishes_at_any_moment_leaves_nothing() {
    let node = Node::start();
    let before = node.descriptors();
    for tty in [false, true] {
        for moment in 0..8 {
            let file = format!("pids-{tty}-{moment}");
            let line = format!(
                "trap '' HUP TERM; sleep 1000 & echo $$ $! >{}; echo begun; cat; yes",
                node.path(&file)
            );
            let mut client = node.connect();
            client.send_stream(&line, json!({"tty": tty}));
            match moment {
                0 => {}
                1 => drop(client.answer().expect("it runs")),
                2 => std::thread::sleep(Duration::from_millis(5)),
                _ => {
                    client.answer().expect("it runs");
                    client.expect("begun");
                }
            }
            match moment {
                // In the middle of a frame, of much input, and of much output.
                4 => client.stream.write_all(&[0, 0, 0, 1]).expect("sent"),
                5 => client.put(0, &[b'x'; 60_000]),
                6 => client.put(1, b""),
                7 => {
                    client.put(1, b"");
                    client.expect("y");
                }
                _ => {}
            }
            drop(client);
            node.wait_until_clean(before);
            let pids = std::fs::read_to_string(node.path(&file)).unwrap_or_default();
            assert!(pids.split_whitespace().all(|pid| !is_alive(pid)), "{tty} {moment}: {pids}");
        }
    }
}
