//! Commands in tasks that have namespaces and a root of their own.

use crate::node::{Node, wait_for_end};
use serde_json::{Value, json};
use std::path::Path;

const NAMESPACES: [&str; 5] = ["pid", "ipc", "uts", "net", "mnt"];

/// A node whose task has every namespace; `None`, and said so, where it cannot.
fn node(test: &str, more: Value) -> Option<Node> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: {test}: not root");
        return None;
    }
    let mut isolation = json!({"pid": true, "ipc": true, "uts": true, "hostname": "inside",
        "net": "none"});
    for (field, value) in more.as_object().expect("an object") {
        isolation[field] = value.clone();
    }
    let mut node = Node::with(&[], json!({"isolation": isolation}));
    // And the init.
    node.processes = 2;
    Some(node)
}

fn pid_of_the_task(node: &Node) -> i64 {
    let status = node.call("Inspect", json!({"name": "web"})).expect("a status");
    status["status"]["pid"].as_i64().expect("a pid")
}

#[test]
fn a_command_is_in_the_namespaces_of_its_task() {
    let Some(node) = node("the namespaces of a command", json!({})) else { return };
    let told = node.shell("for n in pid ipc uts net mnt; do readlink /proc/self/ns/$n; done");
    let pid = pid_of_the_task(&node);
    let link = |name: &str| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("a namespace");
        link.display().to_string()
    };
    assert_eq!(told.stdout.lines().collect::<Vec<_>>(), NAMESPACES.map(link), "{told:?}");
    assert_eq!(node.shell("hostname").stdout, "inside\n");
    // Its parent is outside, and what it sees is the task, the init, and itself.
    let seen = node.shell("echo $PPID; ps -e -o pid= -o args= | sed 's/^ *//'").stdout;
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "0", "{seen}");
    assert!(lines[1].starts_with("1 "), "{seen}");
    assert!(lines.iter().any(|line| line.contains("/bin/sleep 100000")), "{seen}");
    assert!(lines.len() < 8, "{seen}");
    assert_eq!(node.shell("kill -9 1; ip -o link 2>/dev/null | wc -l; exit 3").code, 3);
    node.wait_until_clean(node.descriptors());
}

#[test]
fn it_ends_there_as_elsewhere() {
    let Some(node) = node("the end of a command in namespaces", json!({})) else { return };
    let before = node.descriptors();
    assert_eq!(node.shell("kill -TERM $$").code, 143);
    let (error, parameters) = node
        .call("Exec", json!({"name": "web", "command": "no-such-command"}))
        .expect_err("refused");
    assert_eq!(error, "org.ostler.LaunchFailed");
    assert_eq!(parameters["error"]["stage"], "lookup");
    let line = "setsid sleep 1000 & (sleep 1000 &) ; sleep 1000";
    let call = json!({"name": "web", "command": "sh", "args": ["-c", line], "timeout_ms": 300});
    let late = node.exec(call);
    assert!(late.timed_out && late.code == 137, "{late:?}");
    // Whatever it left is gone, and the task is not.
    let left = node.shell("ps -e -o args= | grep -c '[s]leep 1000$'");
    assert_eq!(left.stdout, "0\n");
    let mut client = node.stream("echo ready; cat", json!({"tty": true}));
    client.expect("ready\r\n");
    client.put(0, b"x\n");
    client.expect("x\r\nx\r\n");
    client.put(0, b"\x03");
    assert_eq!(client.rest().3, 130);
    let mut client = node.stream("echo $$; exec sleep 1000", json!({}));
    client.expect("\n");
    drop(client);
    node.wait_until_clean(before);
}

#[test]
fn the_end_of_the_task_ends_it() {
    let Some(node) = node("the end of a task with namespaces", json!({})) else { return };
    let task = pid_of_the_task(&node).to_string();
    let mut client = node.connect();
    let line = "trap '' TERM INT; sleep 1000; sleep 1000";
    let call = json!({"name": "web", "command": "sh", "args": ["-c", line]});
    client.send("Exec", call, json!({}));
    while !node.shell("ps -e -o args= | grep -c '[t]rap'").stdout.starts_with('1') {}
    node.call("Stop", json!({"name": "web", "grace_ms": 0})).expect("stopped");
    assert_eq!(client.answer().expect("it ran")["exit_code"], 137);
    wait_for_end(&task);
}

#[test]
fn a_command_is_inside_the_root_of_its_task() {
    let root = tempfile::tempdir().expect("a directory");
    let mut mounts = vec![json!({"source": "/usr", "target": "/usr", "read_only": true})];
    for name in ["bin", "sbin", "lib", "lib64"] {
        let host = Path::new("/").join(name);
        match std::fs::read_link(&host) {
            Ok(target) => {
                std::os::unix::fs::symlink(target, root.path().join(name)).expect("a link");
            }
            Err(_) if host.exists() => {
                let path = host.display().to_string();
                mounts.push(json!({"source": path, "target": path, "read_only": true}));
            }
            Err(_) => {}
        }
    }
    std::fs::write(root.path().join("inside"), "of the task\n").expect("a file");
    let path = root.path().display().to_string();
    let more = json!({"root": path, "mounts": mounts});
    let Some(node) = node("the root of a command", more) else { return };
    let told = node.shell("cat /inside; ls /; pwd; ls /tmp");
    assert!(told.stdout.starts_with("of the task\n"), "{told:?}");
    assert!(!told.stdout.contains("\nroot\n"), "{told:?}");
    let mut client = node.stream("test -t 0 && stty size; cat /inside", json!({"tty": true}));
    assert_eq!(client.rest().0, "24 80\r\nof the task\r\n");
    let call = json!({"name": "web", "command": "cat", "args": ["/inside"], "work_dir": "/usr"});
    assert_eq!(node.exec(call).stdout, "of the task\n");
}
