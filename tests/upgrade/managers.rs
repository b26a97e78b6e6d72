//! Upgrades under a keeper and under a service manager.

use crate::calls::{Calls, wait_for};
use crate::executable::write_executable;
use crate::fixture::{Node, PROGRAM, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A daemon under a keeper, and its program, a link that can lead elsewhere.
fn kept() -> (Node, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("ostler");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let state = directory.path().join("state").to_str().expect("text").to_owned();
    let daemon = command(&program, directory.path(), &["--state", &state]);
    let mut keeper = Command::new(PROGRAM);
    keeper.args(["keeper", "--"]).arg(daemon.get_program()).args(daemon.get_args());
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "FDSTORE", "OSTLER_LOG"] {
        keeper.env_remove(name);
    }
    keeper.stderr(std::fs::File::create(directory.path().join("log")).expect("a log"));
    (Node::run(directory, keeper), program)
}

fn end(pid: u32) {
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("killed");
}

/// How many descriptors the keeper has.
fn stored(node: &Node) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", node.child())).expect("it lives").count()
}

#[test]
fn a_keeper_goes_on_keeping() {
    let (node, _) = kept();
    let fifo = node.text_path("fifo");
    let script =
        format!("until [ -e {} ]; do sleep 0.1; done; echo last; exit 6", node.text_path("go"));
    let sink = json!({"stdout": {"kind": "fifo", "path": fifo}});
    let status = node.launch("writer", &script, sink);
    wait_for("its streams are stored", || stored(&node) > 0);
    node.upgrade();
    let before = stored(&node);
    for _ in 0..3 {
        node.upgrade();
    }
    assert_eq!(stored(&node), before);
    // The daemon is killed: the next one adopts, and can be upgraded as well.
    let first = node.pid();
    end(first);
    wait_for("the next daemon", || {
        std::os::unix::net::UnixStream::connect(node.path("sock")).is_ok() && node.pid() != first
    });
    assert_eq!(node.inspect("writer")["pid"], status["pid"]);
    for _ in 0..2 {
        node.upgrade();
    }
    assert_eq!(node.inspect("writer")["adopted"], true);
    std::fs::write(node.path("go"), "").expect("written");
    let exit = node.wait("writer")["exit"].take();
    assert_eq!((&exit["exit_code"], &exit["status_known"]), (&json!(6), &json!(true)));
    assert_eq!(std::fs::read_to_string(fifo).expect("read"), "last\n");
}

#[test]
fn one_that_dies_at_once_is_followed_by_one_that_adopts() {
    let (node, program) = kept();
    let status = node.launch("sleeper", "exec sleep 600", json!({}));
    let before = node.pid();
    // It says that it can take over, and when it is to do so, it puts the right one in place.
    let path = program.display();
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = take-over ] && echo '{{\"version\":\"9\"}}' && exit 0\n\
         ln -sf {PROGRAM} {path}.next && mv {path}.next {path}\nexit 1\n"
    );
    write_executable(&program, text.as_bytes());
    let asked = node.client().call("org.ostler.Upgrade", json!({}));
    assert!(asked.is_err(), "whoever asked hears of nobody: {asked:?}");
    wait_for("the next daemon", || {
        std::os::unix::net::UnixStream::connect(node.path("sock")).is_ok() && node.pid() != before
    });
    let adopted = node.inspect("sleeper");
    assert_eq!((&adopted["pid"], &adopted["adopted"]), (&status["pid"], &json!(true)));
    node.upgrade();
}

#[test]
fn a_service_manager_sees_a_reload_of_the_same_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("bound");
    manager.set_read_timeout(Some(crate::calls::PATIENCE)).expect("a socket");
    let told = || {
        let mut buffer = [0; 4096];
        let count = manager.recv(&mut buffer).expect("told");
        String::from_utf8(buffer[..count].to_vec()).expect("text")
    };
    let mut command = command(Path::new(PROGRAM), directory.path(), &[]);
    command.env("NOTIFY_SOCKET", &path);
    let node = Node::run(directory, command);
    let ready = format!("READY=1\nMAINPID={}\n", node.pid());
    assert_eq!(told(), ready);
    for _ in 0..2 {
        node.upgrade();
        assert!(told().starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(told(), ready);
    }
}
