//! The daemon as a child: the protocol on its standard input and output.

use super::fixture::{Daemon, PATIENCE, Raw, command, end_of, has, launch, script, shell};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

const FLAGS: [&str; 4] = ["--socket", "none", "--control", "stdio"];

fn embedded(stdin: Stdio, stdout: Stdio) -> Child {
    command(&FLAGS).stdin(stdin).stdout(stdout).stderr(Stdio::null()).spawn().expect("it starts")
}

fn messages(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    text.split_terminator('\0').map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

fn calls(calls: &[Value]) -> Vec<u8> {
    calls.iter().flat_map(|call| format!("{call}\0").into_bytes()).collect()
}

#[test]
fn a_child_on_pipes_answers_and_ends_with_its_input() {
    let mut child = embedded(Stdio::piped(), Stdio::piped());
    let mut input = child.stdin.take().expect("a pipe");
    let launch =
        json!({"method": "org.ostler.Launch", "parameters": {"task": shell("a", "exec sleep 60")}});
    let refused = json!({"task": {"command": "true", "stdout": {"kind": "inherit"}}});
    let list = json!({"method": "org.ostler.List"});
    let refused = json!({"method": "org.ostler.Launch", "parameters": refused});
    input.write_all(&calls(&[launch, refused, list])).expect("written");
    drop(input);
    let mut output = Vec::new();
    child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("read");
    assert_eq!(end_of(&mut child), 0);
    let replies = messages(&output);
    let pid = &replies[0]["parameters"]["status"]["pid"];
    assert_eq!(replies[1]["error"], "org.ostler.Unsupported");
    assert_eq!(replies[2]["parameters"]["tasks"][0]["pid"], *pid);
    assert_eq!(replies.len(), 3);
    let left = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(!left.contains("sleep"), "it was stopped with the daemon");
}

#[test]
fn a_call_that_waits_does_not_hold_up_the_end_of_input() {
    let mut child = embedded(Stdio::piped(), Stdio::piped());
    let mut input = child.stdin.take().expect("a pipe");
    let events = json!({"method": "org.ostler.Events", "more": true});
    input.write_all(&calls(&[events])).expect("written");
    let mut output = child.stdout.take().expect("a pipe");
    output.read_exact(&mut [0; 1]).expect("the first reply");
    drop(input);
    assert_eq!(end_of(&mut child), 0);
}

#[test]
fn calls_from_a_file_are_answered_into_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let version = json!({"method": "org.ostler.Version"});
    std::fs::write(path("in"), calls(&vec![version; 1000])).expect("written");
    let input = std::fs::File::open(path("in")).expect("opened");
    let output = std::fs::File::create(path("out")).expect("made");
    let mut child = embedded(input.into(), output.into());
    assert_eq!(end_of(&mut child), 0);
    let replies = messages(&std::fs::read(path("out")).expect("read"));
    assert_eq!(replies.len(), 1000);
    assert!(replies.iter().all(|reply| reply["parameters"]["version"].is_string()));
}

#[test]
fn a_child_on_one_socket_for_both_directions() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let copy = theirs.try_clone().expect("a copy");
    let mut child = embedded(theirs.into(), copy.into());
    let mut raw = Raw::new(ours);
    raw.send(&json!({"method": "org.ostler.Version"}));
    let version = raw.next().expect("a reply");
    assert_eq!(version["parameters"].get("socket"), None);
    raw.send(&json!({"method": "org.ostler.DaemonStats"}));
    raw.stream.shutdown(Shutdown::Write).expect("shut");
    assert_eq!(raw.next().expect("a reply")["parameters"]["pid"], child.id());
    assert_eq!(raw.next(), None);
    assert_eq!(end_of(&mut child), 0);
}

#[test]
fn the_flags_of_a_shared_description_stay_as_they_are() {
    let (reader, input) = std::io::pipe().expect("a pipe");
    let copy = reader.try_clone().expect("a copy");
    let mut child = embedded(reader.into(), Stdio::piped());
    let mut input = input;
    input.write_all(&calls(&[json!({"method": "org.ostler.Version"})])).expect("written");
    let mut output = child.stdout.take().expect("a pipe");
    output.read_exact(&mut [0; 1]).expect("a reply");
    let flags = nix::fcntl::fcntl(&copy, nix::fcntl::FcntlArg::F_GETFL).expect("flags");
    let flags = nix::fcntl::OFlag::from_bits_retain(flags);
    assert!(!flags.contains(nix::fcntl::OFlag::O_NONBLOCK));
    drop(input);
    assert_eq!(end_of(&mut child), 0);
}

#[test]
fn a_client_that_will_not_send_more_is_still_answered() {
    let daemon = Daemon::start();
    launch(&mut daemon.client(), shell("a", "sleep 0.3; exit 7"));
    let mut raw = daemon.raw();
    raw.send(&json!({"method": "org.ostler.Wait", "parameters": {"name": "a"}}));
    raw.send(&json!({"method": "org.ostler.Inspect", "parameters": {"name": "a"}}));
    raw.stream.shutdown(Shutdown::Write).expect("shut");
    for _ in 0..2 {
        let reply = raw.next().expect("a reply");
        assert_eq!(reply["parameters"]["status"]["exit"]["exit_code"], 7);
    }
    assert_eq!(raw.next(), None);
}

#[test]
fn socat_sends_calls_and_gets_answers() {
    if !has("socat", &["-V"], "socat as a client") {
        return;
    }
    let daemon = Daemon::start();
    let address = format!("UNIX-CONNECT:{}", daemon.socket.display());
    let mut socat = std::process::Command::new("socat")
        .args(["-t", "20", "-", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = socat.stdin.take().expect("a pipe");
    input.write_all(b"{\"method\":\"org.ostler.DaemonStats\"}\0").expect("written");
    drop(input);
    let output = socat.wait_with_output().expect("it ends");
    assert_eq!(messages(&output.stdout)[0]["parameters"]["pid"], daemon.pid());
}

#[test]
fn a_listening_socket_can_be_passed() {
    if !has("python3", &["-c", ""], "a passed socket") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("passed.sock");
    let mut daemon = std::process::Command::new("python3")
        .arg(script("activate.py"))
        .arg(&socket)
        .args([env!("CARGO_BIN_EXE_ostler"), "daemon", "--cgroup", "never"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    // The socket listens before the daemon runs: a client may connect as soon as that is said.
    daemon.stdout.take().expect("a pipe").read_exact(&mut [0; 1]).expect("it listens");
    let mut client = ostler::control::Client::connect(&socket).expect("connected");
    client.socket().set_read_timeout(Some(PATIENCE)).expect("a socket");
    let figures = client.call("org.ostler.DaemonStats", json!({})).expect("an answer");
    assert_eq!(figures["pid"], daemon.id());
    client.call("org.ostler.Shutdown", json!({"stop_tasks": true})).expect("an answer");
    assert_eq!(end_of(&mut daemon), 0);
}
