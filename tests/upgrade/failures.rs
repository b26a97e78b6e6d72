//! Programs that cannot take over: the one that runs goes on.

use crate::calls::Calls;
use crate::executable::write_executable;
use crate::fixture::{Node, PROGRAM};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A daemon whose program on disk can be replaced, with a task.
fn node(flags: &[&str]) -> (Node, PathBuf, Value) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ostler");
    // A link, since it is the path that counts, and a copy takes long.
    std::os::unix::fs::symlink(PROGRAM, &path).expect("a link");
    let node = Node::start_in(directory, &path, flags);
    let task = node.launch(
        "sleeper",
        "trap 'exit 7' TERM; sleep 600 & wait",
        json!({"kill_signal": "TERM"}),
    );
    (node, path, task)
}

/// After a failure everything is as before, and the next upgrade works.
#[track_caller]
fn check_untouched(node: &Node, path: &PathBuf, task: &Value, files: &[String]) {
    assert_eq!(node.inspect("sleeper")["pid"], task["pid"]);
    node.await_no_more_open_than(files);
    node.launch("another", "exit 3", json!({"auto_remove": false}));
    assert_eq!(node.wait("another")["exit"]["exit_code"], 3);
    node.call("Remove", json!({"name": "another"}));
    std::fs::remove_file(path).expect("removed");
    std::os::unix::fs::symlink(PROGRAM, path).expect("a link");
    node.upgrade();
    node.call("Stop", json!({"name": "sleeper"}));
    assert_eq!(node.inspect("sleeper")["exit"]["exit_code"], 7);
}

#[track_caller]
fn check(program: &[u8], reason: &str) {
    let (node, path, task) = node(&[]);
    let files = node.open_files();
    write_executable(&path, program);
    let said = node.failed_upgrade();
    assert!(said.contains(reason), "{said}");
    check_untouched(&node, &path, &task, &files);
}

#[test]
fn one_that_is_not_there() {
    let (node, path, task) = node(&[]);
    let files = node.open_files();
    std::fs::remove_file(&path).expect("removed");
    assert!(node.failed_upgrade().contains("No such file or directory"));
    std::fs::write(&path, "").expect("written");
    check_untouched(&node, &path, &task, &files);
}

#[test]
fn one_that_cannot_be_executed() {
    let (node, path, task) = node(&[]);
    let files = node.open_files();
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, "#!/bin/sh\n").expect("written");
    assert!(node.failed_upgrade().contains("Permission denied"));
    check_untouched(&node, &path, &task, &files);
}

#[test]
fn one_of_another_machine() {
    // An ELF file of 64 bits for a machine that nobody has (EM_M32).
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend_from_slice(&[2, 0, 1, 0, 1, 0, 0, 0]);
    header.resize(64, 0);
    check(&header, "Exec format error");
}

#[test]
fn one_that_crashes() {
    check(b"#!/bin/sh\nkill -SEGV $$\n", "it was ended by signal 11");
}

#[test]
fn one_that_refuses() {
    let refusal = b"#!/bin/sh\necho ostler: take-over: knows no format 1 >&2\nexit 1\n";
    check(refusal, "knows no format 1");
}

#[test]
fn one_that_is_no_ostler() {
    check(b"#!/bin/sh\necho hello\n", "it does not say its version");
    check(b"#!/bin/sh\nexec yes\n", "it says something else");
}

#[test]
fn one_that_does_not_answer() {
    let (node, path, task) = node(&[]);
    let files = node.open_files();
    let pid_file = node.text_path("pid");
    write_executable(
        &path,
        format!("#!/bin/sh\necho $$ > {pid_file}\nexec sleep 600\n").as_bytes(),
    );
    let said = node.failed_upgrade();
    assert!(said.contains("has not answered within 10s"), "{said}");
    let pid: u64 =
        std::fs::read_to_string(&pid_file).expect("asked").trim().parse().expect("a pid");
    crate::calls::wait_for("its end", || !crate::calls::lives(pid));
    check_untouched(&node, &path, &task, &files);
}

#[test]
fn one_that_cannot_be_executed_any_more_in_the_end() {
    let program = b"#!/bin/sh\nchmod a-x \"$0\"\necho '{\"version\":\"9\"}'\n";
    check(program, "Permission denied");
}

#[test]
fn the_daemons_own_state_is_understood_by_the_verb_alone() {
    let ask = |input: &[u8], words: &[&str]| {
        use std::io::Write;
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["take-over", "--check", "--"]).args(words);
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("started");
        child.stdin.take().expect("a pipe").write_all(input).expect("written");
        let output = child.wait_with_output().expect("its end");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let (code, why) = ask(b"", &["daemon"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("it is empty"), "{why}");
    let (code, why) = ask(b"{}\n", &["daemon"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("not understood"), "{why}");
    let later = b"{\"handover\":{\"format\":99,\"version\":\"7.0\",\"journal_bytes\":0,\
        \"history_bytes\":0,\"descriptors\":[]}}\n";
    let (code, why) = ask(later, &["daemon"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("ostler 7.0 has written it in format 99"), "{why}");
}

#[test]
fn a_daemon_that_ends_does_not_go_on() {
    let (node, _, _) = node(&[]);
    node.launch("slow", "trap '' TERM; sleep 600", json!({"kill_signal": "TERM"}));
    let mut ending = node.client();
    let parameters = json!({"stop_tasks": true, "grace_ms": 3000});
    let call = std::thread::spawn(move || ending.call("org.ostler.Shutdown", parameters));
    node.until("slow", |status| status["state"] == "stopping");
    assert_eq!(node.failed_upgrade(), "it is ending");
    call.join().expect("joined").expect("ended");
}
