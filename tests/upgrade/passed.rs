//! Upgrades below a service manager that passes sockets and stores descriptors, as systemd does;
//! and with connections that the starter passes.

use crate::calls::{Calls, PATIENCE, lives, wait_for};
use crate::fixture::{Node, PROGRAM, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

const MANAGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upgrade/manager.py");

/// A daemon with no socket but the one that is passed to it.
fn managed() -> Node {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let mut manager = Command::new("python3");
    manager.arg(MANAGER).arg(path).args([PROGRAM, "daemon", "--state"]).arg(path.join("state"));
    for name in ["OSTLER_SOCKET", "OSTLER_LOG", "WATCHDOG_USEC", "XDG_RUNTIME_DIR"] {
        manager.env_remove(name);
    }
    let log = std::fs::File::create(path.join("log")).expect("a log");
    manager.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Node::run(directory, manager)
}

fn told(node: &Node) -> Vec<String> {
    let told = std::fs::read_to_string(node.path("told")).unwrap_or_default();
    told.lines().map(str::to_owned).collect()
}

fn count(told: &[String], begins: &str) -> usize {
    told.iter().filter(|line| line.starts_with(begins)).count()
}

/// A task that says its last words and ends with 6 once there is this file.
fn launch(node: &Node, name: &str, go: &str) -> u64 {
    let script =
        format!("until [ -e {} ]; do sleep 0.05; done; echo last; exit 6", node.text_path(go));
    let sink = json!({"kind": "fifo", "path": node.text_path(name)});
    let status = node.launch(name, &script, json!({"stdout": sink}));
    status["pid"].as_u64().expect("a pid")
}

fn read(node: &Node, name: &str) -> String {
    std::fs::read_to_string(node.path(name)).expect("read")
}

#[test]
fn what_a_manager_has_passed_and_stores_outlives_upgrades() {
    let node = managed();
    let first = node.pid();
    let before = launch(&node, "before", "go");
    wait_for("it is stored", || count(&told(&node), "FDSTORE=1") == 2);
    for _ in 0..3 {
        assert_eq!(node.upgrade(), env!("CARGO_PKG_VERSION"));
    }
    let behind = launch(&node, "behind", "go");
    wait_for("that one as well", || count(&told(&node), "FDSTORE=1") == 4);
    let all = told(&node);
    let ready = format!("READY=1 MAINPID={first} fds=0");
    assert_eq!(all[0], ready);
    let states: Vec<&str> = all
        .iter()
        .filter(|line| line.starts_with("RE"))
        .map(|line| line.split('=').next().unwrap_or_default())
        .collect();
    let reload = ["RELOADING", "READY"];
    assert_eq!(
        states,
        ["READY"].iter().chain(reload.repeat(3).iter()).copied().collect::<Vec<_>>()
    );
    assert_eq!(count(&all, &ready), 4, "{all:?}");
    assert_eq!(count(&all, "FDSTOREREMOVE=1"), 0, "{all:?}");
    // Killed, with nobody there while both end: what they have written is in the store.
    std::fs::write(node.path("hold"), "").expect("written");
    kill(Pid::from_raw(first as i32), Signal::SIGKILL).expect("killed");
    wait_for("its end", || !lives(u64::from(first)));
    std::fs::write(node.path("go"), "").expect("written");
    wait_for("the ends of the tasks", || !lives(before) && !lives(behind));
    std::fs::remove_file(node.path("hold")).expect("removed");
    // The socket is the manager's: who calls now waits for the next daemon.
    assert_ne!(node.pid(), first);
    node.upgrade();
    for name in ["before", "behind"] {
        assert_eq!(node.wait(name)["state"], "exited");
        assert_eq!(read(&node, name), "last\n");
    }
    // And again by one that was upgraded since.
    launch(&node, "later", "go");
    assert_eq!(node.wait("later")["exit"]["exit_code"], 6);
    assert_eq!(read(&node, "later"), "last\n");
    wait_for("nothing is stored any more", || {
        let all = told(&node);
        count(&all, "FDSTOREREMOVE=1") >= count(&all, "FDSTORE=1")
    });
}

#[test]
fn a_socket_that_was_passed_needs_no_place_of_its_own() {
    // Not root, no XDG_RUNTIME_DIR: without the socket that was passed there would be none.
    let node = managed_by_nobody();
    let Some(node) = node else { return };
    node.upgrade();
    node.upgrade();
    assert_eq!(node.call("Version", json!({}))["version"], env!("CARGO_PKG_VERSION"));
}

/// The same by a user who has no place for a socket.
fn managed_by_nobody() -> Option<Node> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: another user: not root");
        return None;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let program = path.join("ostler");
    crate::executable::copy_executable(PROGRAM, &program, 0o755);
    let script = path.join("manager.py");
    std::fs::copy(MANAGER, &script).expect("a copy");
    let mut manager = Command::new("setpriv");
    manager.args(["--reuid=65534", "--regid=65534", "--clear-groups", "python3"]);
    manager.arg(script).arg(path).arg(program).arg("daemon").env("PATH", "/usr/bin:/bin");
    for name in ["OSTLER_SOCKET", "OSTLER_LOG", "WATCHDOG_USEC", "XDG_RUNTIME_DIR"] {
        manager.env_remove(name);
    }
    let log = std::fs::File::create(path.join("log")).expect("a log");
    manager.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    nix::unistd::chown(path, Some(65534.into()), Some(65534.into())).expect("given away");
    Some(Node::run(directory, manager))
}

#[test]
fn a_connection_over_a_passed_descriptor_goes_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let daemon = command(std::path::Path::new(PROGRAM), directory.path(), &["--control", "fd:9"]);
    let mut shell = Command::new("/bin/sh");
    // What is passed is the standard input of the shell, and number 9 of the daemon.
    shell.args(["-c", "exec 9<&0 0</dev/null; exec \"$@\"", "sh"]);
    shell.arg(daemon.get_program()).args(daemon.get_args());
    shell.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    shell.stderr(std::fs::File::create(directory.path().join("log")).expect("a log"));
    let node = Node::run(directory, shell);
    assert!(ours.as_raw_fd() > 2);
    let mut replies = BufReader::new(ours.try_clone().expect("a socket")).split(0);
    let mut ask = |method: &str, parameters: Value| -> Value {
        let call = json!({"method": format!("org.ostler.{method}"), "parameters": parameters});
        (&ours).write_all(format!("{call}\0").as_bytes()).expect("sent");
        let reply = replies.next().expect("a reply").expect("read");
        serde_json::from_slice::<Value>(&reply).expect("JSON")["parameters"].take()
    };
    let task = json!({"name": "t", "command": "/bin/sleep", "args": ["600"]});
    let pid = ask("Launch", json!({"task": task}))["status"]["pid"].take();
    for _ in 0..3 {
        assert_eq!(ask("Upgrade", json!({}))["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(ask("Inspect", json!({"name": "t"}))["status"]["pid"], pid);
        // By way of the other one as well.
        node.upgrade();
        assert_eq!(ask("DaemonStats", json!({}))["pid"], node.pid());
    }
    // Its end is that of one client; the daemon goes on.
    drop(ours);
    node.upgrade();
    assert_eq!(node.inspect("t")["pid"], pid);
}
