//! A thousand commands at once.

use crate::node::{Executed, Node};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;

const TASKS: usize = 100;
const COMMANDS: usize = 1000;

#[test]
fn a_thousand_at_once_on_a_hundred_tasks_do_not_disturb_one_another() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    if hard < 6000 {
        return eprintln!("skipped: a thousand commands: the limit of open files is {hard}");
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let node = Node::with(&["--max-connections", "1100"], json!({}));
    for number in 0..TASKS {
        let env = [format!("NUMBER={number}"), "PATH=/usr/bin:/bin".to_owned()];
        let task = json!({"name": format!("task-{number}"), "command": "/bin/sleep",
            "args": ["100000"], "env": env});
        node.call("Launch", json!({"task": task})).expect("launched");
    }
    let before = node.descriptors();
    // All of them are there at once: none ends before the file is there.
    let gate = node.path("gate");
    let mut clients: Vec<_> = (0..COMMANDS).map(|_| node.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let line = format!(
            "while [ ! -e {gate} ]; do sleep 1; done; echo $NUMBER {number}; echo e{number} >&2; \
             exit {}",
            number % 100
        );
        let name = format!("task-{}", number % TASKS);
        let call = json!({"name": name, "command": "sh", "args": ["-c", line]});
        client.send("Exec", call, json!({}));
    }
    node.answers();
    std::fs::write(&gate, "").expect("opened");
    for (number, client) in clients.iter_mut().enumerate() {
        let answer = Executed::of(&client.answer().expect("it ran"));
        assert_eq!(answer.stdout, format!("{} {number}\n", number % TASKS));
        assert_eq!((answer.stderr, answer.code), (format!("e{number}\n"), (number % 100) as i64));
    }
    drop(clients);
    crate::support::wait_for("the descriptors", || node.descriptors() <= before);
}
