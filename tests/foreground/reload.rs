//! The daemon reads its task file again: by `ostler reload` and by HUP.

use crate::support::{Running, ostler, signal, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

const SLEEP: &str = "command = '/bin/sleep'\nargs = ['1000']\nkill_signal = 'TERM'\n";

/// A daemon with a task file that can be written anew.
struct Node {
    directory: TempDir,
    daemon: Running,
}

impl Node {
    #[track_caller]
    fn start(tasks: &str) -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, socket) = (directory.path().join("node.toml"), directory.path().join("sock"));
        std::fs::write(&file, tasks).expect("written");
        let mut command = ostler(&["daemon", "--socket", socket.to_str().expect("UTF-8")]);
        let mut daemon = Running::start(command.arg("--tasks").arg(&file));
        daemon.expect("task file: ");
        Node { directory, daemon }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, tasks: &str) {
        std::fs::write(self.path("node.toml"), tasks).expect("written");
    }

    /// Exit code, the lines of standard output that are JSON, standard error.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, Value, String) {
        let mut command = ostler(arguments);
        let output = command.env("OSTLER_SOCKET", self.path("sock")).output().expect("started");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let lines = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let json = Value::Array(lines.collect());
        (output.status.code(), json, String::from_utf8(output.stderr).expect("UTF-8"))
    }

    /// Name, id and process of every task.
    fn tasks(&self) -> Vec<(String, String, Option<i64>)> {
        let text = |task: &Value, field| task[field].as_str().unwrap_or_default().to_owned();
        let tasks = self.ask(&["ps", "--all", "--json"]).1;
        let tasks = tasks.as_array().expect("lines").iter();
        tasks.map(|task| (text(task, "name"), text(task, "id"), task["pid"].as_i64())).collect()
    }
}

fn names(tasks: &[(String, String, Option<i64>)]) -> Vec<&str> {
    tasks.iter().map(|task| task.0.as_str()).collect()
}

#[test]
fn only_what_changed_is_touched() {
    let old = format!("[task.a]\n{SLEEP}[task.b]\n{SLEEP}[task.c]\n{SLEEP}after = ['b']\n");
    let node = Node::start(&old);
    assert_eq!(node.ask(&["launch", "--name", "own", "--", "/bin/sleep", "1000"]).0, Some(0));
    let before = node.tasks();
    let changed = SLEEP.replace("1000", "1001");
    node.write(&format!("[task.a]\n{SLEEP}[task.b]\n{changed}[task.d]\n{SLEEP}after = ['b']\n"));

    let would = json!([{
        "started": ["d"], "stopped": ["c"], "restarted": ["b"], "failed": [], "unchanged": 1
    }]);
    assert_eq!(
        node.ask(&["reload", "--dry-run", "--json"]),
        (Some(0), would.clone(), String::new())
    );
    assert_eq!(node.tasks(), before);

    assert_eq!(node.ask(&["reload", "--json"]), (Some(0), would, String::new()));
    let after = node.tasks();
    assert_eq!(names(&after), ["a", "b", "d", "own"]);
    let of = |tasks: &[_], name| tasks.iter().find(|(n, ..): &&(String, _, _)| n == name).cloned();
    assert_eq!(of(&after, "a"), of(&before, "a"));
    assert_eq!(of(&after, "own"), of(&before, "own"));
    assert_ne!(of(&after, "b"), of(&before, "b"));

    let nothing = json!([{
        "started": [], "stopped": [], "restarted": [], "failed": [], "unchanged": 3
    }]);
    assert_eq!(node.ask(&["reload", "--json"]), (Some(0), nothing, String::new()));
    assert_eq!(node.tasks(), after);
}

#[test]
fn a_file_with_an_error_changes_nothing() {
    let mut node = Node::start(&format!("[task.a]\n{SLEEP}"));
    let before = node.tasks();
    node.write(&format!("[task.b]\n{SLEEP}nonsense = 1\n"));
    let (code, _, stderr) = node.ask(&["reload"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("task.b: unknown key \"nonsense\"") && stderr.contains("line 5"),
        "{stderr}"
    );
    node.daemon.expect("nothing was changed");
    std::fs::remove_file(node.path("node.toml")).expect("removed");
    let (code, _, stderr) = node.ask(&["reload"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("cannot read the task file"), "{stderr}");
    assert_eq!(node.tasks(), before);
}

#[test]
fn what_cannot_be_is_told_and_the_rest_is_done() {
    let node = Node::start(&format!("[task.a]\n{SLEEP}"));
    assert_eq!(node.ask(&["launch", "--name", "own", "--", "/bin/sleep", "1000"]).0, Some(0));
    let missing = "command = '/no/such/program'\n";
    node.write(&format!("[task.a]\n{missing}[task.own]\n{SLEEP}[task.c]\n{SLEEP}"));
    let (code, reply, _) = node.ask(&["reload", "--json"]);
    assert_eq!(code, Some(1));
    assert_eq!(reply[0]["started"], json!(["c"]));
    let failed = |index: usize, what: &str| reply[0]["failed"][index].pointer(what).cloned();
    assert_eq!(failed(0, "/name"), Some(json!("own")));
    assert_eq!(failed(0, "/error/stage"), Some(json!("refused")));
    assert_eq!(failed(1, "/name"), Some(json!("a")));
    assert_eq!(failed(1, "/error/errno_name"), Some(json!("ENOENT")));
    assert_eq!(names(&node.tasks()), ["c", "own"]);
    // What failed is tried again, what was removed by hand comes back.
    assert_eq!(node.ask(&["rm", "--force", "c"]).0, Some(0));
    node.write(&format!("[task.a]\n{SLEEP}[task.c]\n{SLEEP}"));
    let (code, reply, _) = node.ask(&["reload", "--json"]);
    assert_eq!((code, &reply[0]["started"]), (Some(0), &json!(["a", "c"])));
}

#[test]
fn hup_reads_it_again() {
    let mut node = Node::start(&format!("[task.a]\n{SLEEP}"));
    node.write(&format!("[task.b]\n{SLEEP}"));
    node.daemon.signal("HUP");
    node.daemon.expect("task file: started=1 stopped=1 restarted=0 failed=0 unchanged=0");
    assert_eq!(names(&node.tasks()), ["b"]);
}

#[test]
fn without_a_file_there_is_nothing_to_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("sock");
    let mut daemon =
        Running::start(&mut ostler(&["daemon", "--socket", socket.to_str().expect("UTF-8")]));
    daemon.expect("version=");
    daemon.signal("HUP");
    daemon.expect("there is no task file to read again");
    let output = ostler(&["reload"]).env("OSTLER_SOCKET", &socket).output().expect("started");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("there is no task file to read again"), "{stderr}");
}

/// What the log says when another process cannot read the file.
const READ_HERE: &str = "the task file is read by the daemon itself";

#[test]
fn with_no_descriptor_for_another_process_the_daemon_reads_it_itself() {
    let mut node = Node::start(&format!("[task.a]\n{SLEEP}[task.b]\n{SLEEP}"));
    node.write(&format!("[task.a]\n{SLEEP}"));
    let pid = node.daemon.pid();
    let taken = |number: &u32| PathBuf::from(format!("/proc/{pid}/fd/{number}")).exists();
    // One is left, for the file.
    let lowest = (0..).find(|number| !taken(number)).expect("a number");
    let soft = format!("--nofile={}:", lowest + 1);
    let limited =
        std::process::Command::new("prlimit").args(["--pid", &pid.to_string(), &soft]).status();
    assert!(limited.expect("started").success());
    node.daemon.signal("HUP");
    let why = node.daemon.expect(READ_HERE);
    assert!(why.contains("Too many open files"), "{why}");
    node.daemon.expect("task file: started=0 stopped=1 restarted=0 failed=0 unchanged=1");
}

#[test]
fn when_the_other_process_is_killed_the_daemon_reads_it_itself() {
    let mut node = Node::start(&format!("[task.a]\n{SLEEP}[task.b]\n{SLEEP}"));
    let (file, next) = (node.path("node.toml"), node.path("next"));
    std::fs::remove_file(&file).expect("removed");
    // Whoever opens it waits for somebody who writes to it.
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
    node.daemon.signal("HUP");
    let daemon = node.daemon.pid();
    let mut reader = None;
    wait_for("the other process", || {
        let children = format!("/proc/{daemon}/task/{daemon}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        reader = children.split_whitespace().find_map(|child| {
            let words = std::fs::read(format!("/proc/{child}/cmdline")).ok()?;
            let reads = words.split(|&byte| byte == 0).any(|word| word == b"read-tasks");
            reads.then(|| child.parse().expect("a number"))
        });
        reader.is_some()
    });
    std::fs::write(&next, format!("[task.b]\n{SLEEP}")).expect("written");
    std::fs::rename(&next, &file).expect("renamed");
    signal(reader.expect("found"), "KILL");
    let why = node.daemon.expect(READ_HERE);
    assert!(why.contains("it has ended before its time"), "{why}");
    node.daemon.expect("task file: started=0 stopped=1 restarted=0 failed=0 unchanged=1");
    assert_eq!(names(&node.tasks()), ["b"]);
}
