//! The verbs of the client against a real daemon with real processes.

use super::{Outcome, ostler, outcome};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A daemon of its own; it ends with all its tasks when the test does.
pub(crate) struct Node {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Node {
    #[track_caller]
    pub(crate) fn start() -> Node {
        let directory = tempfile::tempdir().expect("directory");
        let socket = directory.path().join("socket");
        let daemon = ostler(&["daemon", "--socket", socket.to_str().expect("UTF-8")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        let node = Node { directory, daemon };
        until("the daemon listens", || UnixStream::connect(&socket).is_ok().then_some(()));
        node
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = ostler(arguments);
        command.env("OSTLER_SOCKET", PathBuf::from(self.path("socket")));
        command
    }

    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> Outcome {
        outcome(self.command(arguments).output().expect("the program starts"))
    }

    /// What a verb that has to succeed prints.
    #[track_caller]
    pub(crate) fn get(&self, arguments: &[&str]) -> String {
        let outcome = self.ask(arguments);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        outcome.stdout
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.get(arguments);
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The status of a task.
    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> Value {
        self.json(&["inspect", "--json", name]).remove(0)
    }

    /// Starts a shell as a task with these flags.
    #[track_caller]
    pub(crate) fn shell(&self, flags: &[&str], script: &str) {
        let mut arguments = vec!["launch", "--env", "PATH"];
        arguments.extend(flags);
        arguments.extend(["--", "/bin/sh", "-c", script]);
        self.get(&arguments);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let asked = self.command(&["shutdown", "--grace", "0"]).output();
        if !asked.is_ok_and(|output| output.status.success()) {
            let _ = self.daemon.kill();
        }
        let _ = self.daemon.wait();
    }
}

/// Waits until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn column(table: &str, name: &str) -> Vec<String> {
    let mut lines = table.lines();
    let heading = lines.next().expect("heading").split_whitespace().position(|word| word == name);
    let index = heading.expect("column");
    lines.map(|line| line.split_whitespace().nth(index).expect("cell").to_owned()).collect()
}

#[test]
fn a_task_lives_through_every_verb() {
    let node = Node::start();
    assert_eq!(
        node.get(&["launch", "--name", "web", "--label", "a=b", "/bin/sleep", "60"]),
        "web\n"
    );
    let table = node.get(&["ps"]);
    assert_eq!(column(&table, "NAME"), ["web"]);
    assert_eq!(column(&table, "STATE"), ["running"]);
    let first = node.status("web");
    assert_eq!(column(&table, "PID"), [first["pid"].to_string()]);
    assert_eq!(first["task"]["args"], serde_json::json!(["60"]));
    assert!(node.get(&["inspect", "web"]).contains("state: running\n"));
    assert_eq!(node.get(&["ps", "--label", "a=b", "--json"]).lines().count(), 1);
    assert_eq!(node.get(&["ps", "--label", "a=c", "--json"]), "");

    assert_eq!(node.get(&["start", "web"]), "");
    assert_eq!(node.status("web")["pid"], first["pid"], "start leaves a running task alone");
    let again = node.json(&["restart", "--json", "web"]).remove(0);
    assert_eq!((&again["state"], &again["id"]), (&"running".into(), &first["id"]));
    assert_ne!(again["pid"], first["pid"]);

    let stopped = node.json(&["stop", "--json", "web", "--signal", "TERM"]).remove(0);
    assert_eq!((&stopped["state"], &stopped["exit"]["exit_code"]), (&"exited".into(), &143.into()));
    assert_eq!(column(&node.get(&["ps"]), "NAME"), Vec::<String>::new());
    assert_eq!(column(&node.get(&["ps", "--all"]), "NAME"), ["web"]);
    assert_eq!(node.ask(&["wait", "web"]).code, Some(143));
    assert_eq!(node.get(&["stop", "web"]), "", "an exited task is no error");
    let refused = node.ask(&["signal", "web"]);
    assert_eq!(refused.code, Some(1));
    assert_eq!(refused.stderr, "ostler: signal web: it has no process, it is exited\n");

    node.get(&["start", "web"]);
    assert_eq!(node.status("web")["state"], "running");
    let living = node.ask(&["rm", "web"]);
    assert_eq!(living.code, Some(1));
    assert!(living.stderr.starts_with("ostler: rm web: it still has processes: "), "{living:?}");
    node.get(&["rm", "-f", "web"]);
    assert_eq!(node.ask(&["inspect", "web"]).stderr, "ostler: inspect web: no such task\n");
}

#[test]
fn wait_mirrors_the_exit() {
    let node = Node::start();
    node.shell(&["--name", "seven"], "exit 7");
    assert_eq!(node.ask(&["wait", "seven"]).code, Some(7));
    node.get(&["launch", "--name", "long", "/bin/sleep", "60"]);
    let late = node.ask(&["wait", "long", "--timeout", "50ms"]);
    assert_eq!((late.code, late.stderr.as_str()), (Some(124), "ostler: wait long: timed out\n"));
    node.get(&["kill", "-9", "long"]);
    let killed = node.ask(&["wait", "--json", "long"]);
    assert_eq!(killed.code, Some(137));
    let status: Value = serde_json::from_str(&killed.stdout).expect("JSON");
    assert_eq!(status["exit"]["signal"], 9);
    let none = node.ask(&["wait", "none"]);
    assert_eq!((none.code, none.stderr.as_str()), (Some(125), "ostler: wait none: no such task\n"));
}

#[test]
fn a_launch_that_fails_leaves_nothing_and_says_why() {
    let node = Node::start();
    let lost = node.ask(&["launch", "--name", "lost", "/nonexistent/x"]);
    assert_eq!((lost.code, lost.stdout.as_str()), (Some(1), ""));
    assert!(lost.stderr.starts_with("ostler: launch lost: "), "{lost:?}");
    assert!(lost.stderr.contains("/nonexistent/x"), "{lost:?}");
    assert_eq!(node.get(&["ps", "--all", "--json"]), "");
    let error = node.ask(&["launch", "--json", "/nonexistent/x"]);
    let error: Value = serde_json::from_str(&error.stderr).expect("JSON");
    assert_eq!(error["error"], "org.ostler.LaunchFailed");
    assert_eq!(error["parameters"]["error"]["errno_name"], "ENOENT");

    node.get(&["launch", "--name", "one", "/bin/true"]);
    assert_eq!(node.ask(&["wait", "one"]).code, Some(0));
    let taken = node.ask(&["launch", "--name", "one", "/bin/true"]);
    assert_eq!(taken.code, Some(1));
    assert!(taken.stderr.contains("a task named one exists already, it is exited"), "{taken:?}");
    node.get(&["launch", "--name", "one", "--if-exists", "replace", "/bin/true"]);
    assert_eq!(node.get(&["launch", "/bin/sleep", "60"]), "sleep-0\n");
}

#[test]
fn several_tasks_and_patterns() {
    let node = Node::start();
    for name in ["web-1", "web-2", "db"] {
        node.get(&["launch", "--name", name, "/bin/sleep", "60"]);
    }
    let some = node.ask(&["stop", "--json", "--grace", "0", "web-1", "none", "web-2"]);
    assert_eq!((some.code, some.stdout.lines().count()), (Some(1), 2), "{some:?}");
    let codes: Vec<Value> = some
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["exit"]["signal"].take())
        .collect();
    // Both signals are under way at once: either may come first.
    assert!(codes.iter().all(|signal| *signal == 2 || *signal == 9), "{codes:?}");
    node.get(&["start", "web-*"]);
    assert_eq!(column(&node.get(&["ps"]), "NAME"), ["db", "web-1", "web-2"]);
    node.get(&["signal", "-s", "KILL", "web-[0-9]", "--all"]);
    for name in ["web-1", "web-2"] {
        assert_eq!(node.ask(&["wait", name]).code, Some(137));
    }
    assert_eq!(node.ask(&["stop", "no-*"]).code, Some(1));
    node.get(&["stop", "--ignore-missing", "no-*", "nobody"]);
    node.get(&["rm", "*"]);
    assert_eq!(column(&node.get(&["ps", "--all"]), "NAME"), ["db"], "rm '*' leaves the living");
    node.get(&["rm", "--force", "*"]);
    assert_eq!(node.get(&["ps", "--all", "--json"]), "");
}

#[test]
fn logs_are_shown_and_followed() {
    let node = Node::start();
    let (out, err) = (format!("file:{}", node.path("out")), format!("file:{}", node.path("err")));
    node.shell(
        &["--name", "both", "--stdout", &out, "--stderr", &err],
        "for i in 1 2 3; do echo out $i; echo err $i >&2; done",
    );
    assert_eq!(node.ask(&["wait", "both"]).code, Some(0));
    assert_eq!(node.get(&["logs", "both", "-n", "2"]), "out 2\nout 3\nerr 2\nerr 3\n");
    assert_eq!(node.get(&["logs", "both", "--stderr", "-n", "1"]), "err 3\n");
    assert_eq!(node.get(&["logs", "both", "-f", "--stdout"]), "out 1\nout 2\nout 3\n");

    let one = format!("file:{}", node.path("one"));
    let flags = ["--name", "slow", "--stdout", &one, "--stderr", "stdout"];
    node.shell(&flags, "echo first; exec sleep 60");
    let mut follower = node
        .command(&["logs", "-f", "slow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(follower.stdout.take().expect("stdout")).lines();
    assert_eq!(lines.next().expect("a line").expect("UTF-8"), "first");
    node.get(&["stop", "slow", "--grace", "0"]);
    assert!(lines.next().is_none(), "the end of the task ends the logs");
    assert!(follower.wait().expect("waited").success());

    node.get(&["launch", "--name", "mute", "/bin/true"]);
    let none = node.ask(&["logs", "mute"]);
    assert_eq!(none.code, Some(1));
    let message =
        "ostler: logs mute: nothing is kept, stdout is discard (use --stdout file:PATH)\n";
    assert_eq!(none.stderr, message);
}

#[test]
fn events_tell_what_happens() {
    let node = Node::start();
    let mut follower = node
        .command(&["events", "--json", "--after", "0", "one"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    node.shell(&["--name", "other"], "exit 1");
    node.shell(&["--name", "one"], "exit 3");
    let lines = BufReader::new(follower.stdout.take().expect("stdout")).lines();
    let mut kinds = Vec::new();
    for line in lines.map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(event["name"], "one");
        let kind = event["kind"].as_str().expect("kind").to_owned();
        if kind == "exited" {
            assert_eq!(event["status"]["exit"]["exit_code"], 3);
        }
        kinds.push(kind);
        if kinds.last().is_some_and(|kind| kind == "finished") {
            break;
        }
    }
    assert_eq!(kinds, ["launched", "started", "exited", "finished"]);
    follower.kill().expect("killed");
    follower.wait().expect("waited");
}

#[test]
fn a_task_file_is_launched() {
    let node = Node::start();
    let file = node.path("tasks.toml");
    let text = "[defaults]\nenv = { PATH = \"/usr/bin:/bin\" }\n\
                [task.web]\ncommand = \"sleep\"\nargs = [\"60\"]\ncount = 2\nafter = [\"db\"]\n\
                [task.db]\ncommand = \"sleep\"\nargs = [\"60\"]\n";
    std::fs::write(&file, text).expect("written");
    let names = node.get(&["launch", "--task", &file]);
    assert_eq!(names.lines().collect::<Vec<_>>(), ["db", "web-0", "web-1"]);
    assert_eq!(node.get(&["ps", "--label", "group=web", "--json"]).lines().count(), 2);
}

#[test]
fn the_daemon_is_told_to_end() {
    let mut node = Node::start();
    node.get(&["launch", "--name", "one", "/bin/sleep", "60"]);
    let pid = node.status("one")["pid"].to_string();
    let version = node.get(&["version"]);
    assert!(version.contains(&format!("daemon {}", env!("CARGO_PKG_VERSION"))), "{version}");
    assert_eq!(node.json(&["version", "--json"])[0]["version"], env!("CARGO_PKG_VERSION"));
    node.get(&["shutdown"]);
    assert!(node.daemon.wait().expect("waited").success());
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "the task has ended");
    assert_eq!(node.ask(&["ps"]).code, Some(125));
}
