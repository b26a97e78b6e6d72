//! `ostler up`.

use crate::support::{Running, is_alive, number_in, ostler, wait_for};
use std::io::Read;
use std::process::Stdio;
use tempfile::TempDir;

/// A directory with a task file in it.
struct Node {
    directory: TempDir,
}

impl Node {
    fn new(tasks: &str) -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let defaults = "[defaults]\nenv = { PATH = '/usr/local/bin:/usr/bin:/bin' }\n\
                        kill_signal = 'TERM'\n";
        std::fs::write(directory.path().join("node.toml"), format!("{defaults}{tasks}"))
            .expect("written");
        Node { directory }
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let file = self.directory.path().join("node.toml");
        let mut command = ostler(&["up", file.to_str().expect("UTF-8")]);
        command.args(arguments).env("XDG_RUNTIME_DIR", self.directory.path());
        command
    }

    fn up(self, arguments: &[&str]) -> Running {
        let mut running = Running::start(&mut self.command(arguments));
        running.directory = Some(self.directory);
        running
    }
}

fn shell(name: &str, script: &str, more: &str) -> String {
    format!("[task.{name}]\ncommand = 'sh'\nargs = ['-c', \"\"\"{script}\"\"\"]\n{more}\n")
}

/// Where lines with these texts stand, in this order.
#[track_caller]
fn in_order(lines: &[String], texts: &[&str]) {
    let mut rest = lines.iter();
    for text in texts {
        assert!(rest.any(|line| line.contains(text)), "{text:?} is not in its place: {lines:#?}");
    }
}

#[test]
fn each_line_stands_behind_the_name_of_its_task() {
    let node = Node::new(
        &(shell("a", "echo out; echo err >&2; printf 'no end'", "")
            + &shell("worker", "echo number {index}", "count = 2")),
    );
    let mut up = node.up(&[]);
    assert_eq!(up.exit_code(), Some(0));
    in_order(&up.seen, &["a        | out", "a        | err", "a        | no end", "a exited with"]);
    in_order(&up.seen, &["worker-0 | number 0", "worker-0 exited with code 0"]);
    in_order(&up.seen, &["worker-1 | number 1", "worker-1 exited with code 0"]);
    assert!(up.seen.iter().all(|line| !line.contains('\x1b')), "{:?}", up.seen);
}

#[test]
fn the_exit_code_tells_of_tasks_that_gave_up_or_could_not_start() {
    let often = "restart = { mode = 'on_failure', attempts = 2, delay = '10ms' }";
    let mut up = Node::new(&shell("flaky", "exit 3", often)).up(&[]);
    assert_eq!(up.exit_code(), Some(1));
    let exit = "flaky exited with code 3";
    in_order(
        &up.seen,
        &[exit, "flaky is started again in", exit, exit, "gave up after 2 restarts"],
    );
    // A failure that no policy minds is none of ours.
    assert_eq!(Node::new(&shell("a", "exit 3", "")).up(&[]).exit_code(), Some(0));
    let tasks = "[task.a]\ncommand = '/no/such/program'\n[task.b]\ncommand = 'true'\n";
    let mut up = Node::new(tasks).up(&[]);
    assert_eq!(up.exit_code(), Some(1));
    in_order(&up.seen, &["a cannot start: find command \"/no/such/program\""]);
    in_order(&up.seen, &["b exited with code 0"]);
}

#[test]
fn a_bad_file_is_told_before_anything_runs() {
    let mut up = Node::new("[task.a]\ncomand = 'x'\n").up(&[]);
    assert_eq!(up.exit_code(), Some(2));
    let texts = ["node.toml:", "unknown key \"comand\", did you mean \"command\"?", "^^^^^^"];
    in_order(&up.seen, &texts[..2]);
    in_order(&up.seen, &texts[2..]);
    assert_eq!(Node::new("").up(&[]).exit_code(), Some(2));
    let mut up = Node::new(&shell("a", "true", "")).up(&["b"]);
    assert_eq!(up.exit_code(), Some(2));
    in_order(&up.seen, &["ostler: up: the file has no task \"b\""]);
}

#[test]
fn tasks_start_after_others_and_stop_before_them() {
    let forever = |name: &str| format!("echo {name} is up; exec sleep 1000");
    let node = Node::new(
        &(shell("proxy", &forever("proxy"), "after = ['web']")
            + &shell("web", &forever("web"), "after = ['db']\ncount = 2")
            + &shell("db", &forever("db"), "")),
    );
    let mut up = node.up(&[]);
    up.expect("| proxy is up");
    up.signal("INT");
    assert_eq!(up.exit_code(), Some(0));
    in_order(&up.seen, &["db started", "web-0 started", "proxy started"]);
    let stops = ["proxy is being stopped", "proxy was ended by SIGTERM", "web-1 is being stopped"];
    in_order(&up.seen, &stops);
    in_order(&up.seen, &["web-1 was ended", "db is being stopped", "db was ended by SIGTERM"]);
}

#[test]
fn only_what_is_named_and_what_it_needs() {
    let node = Node::new(
        &(shell("a", "true", "") + &shell("b", "true", "after = ['a']") + &shell("c", "true", "")),
    );
    let mut up = node.up(&["b"]);
    assert_eq!(up.exit_code(), Some(0));
    in_order(&up.seen, &["a started", "b started"]);
    assert!(up.seen.iter().all(|line| !line.starts_with("c ")), "{:?}", up.seen);
}

#[test]
fn a_second_signal_kills() {
    let script = "trap 'echo not yet' TERM; echo ready; while :; do sleep 0.01; done";
    let mut up = Node::new(&shell("stubborn", script, "kill_timeout = '1000s'")).up(&[]);
    up.expect("| ready");
    up.signal("TERM");
    up.expect("| not yet");
    up.signal("TERM");
    assert_eq!(up.exit_code(), Some(0));
    in_order(&up.seen, &["stubborn was ended by SIGKILL"]);
}

#[test]
fn tasks_die_with_it() {
    let mut up = Node::new(&shell("a", "echo main $$; exec sleep 1000", "")).up(&[]);
    let main = number_in(&up.expect("| main"));
    up.signal("KILL");
    up.end();
    wait_for("the end of the task", || !is_alive(&main));
}

#[test]
fn its_socket_serves_it_alone_and_is_removed() {
    let node = Node::new(&shell("a", "echo ready; exec sleep 1000", ""));
    let mut up = node.up(&[]);
    let line = up.expect("--socket");
    let socket = line.split(' ').find(|word| word.starts_with('/')).expect("a path").to_owned();
    up.expect("| ready");
    let listed = ostler(&["--socket", &socket, "ps"]).output().expect("asked");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().any(|line| line.starts_with("a ")), "{listed}");
    up.signal("TERM");
    assert_eq!(up.exit_code(), Some(0));
    let directory = up.directory.as_ref().expect("a directory");
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("listed").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn a_reader_that_stops_holds_up_the_output_and_nothing_else() {
    // More than all the pipes and queues on the way can hold.
    let node = Node::new(
        &(shell("flood", "seq 1000000", "")
            + &shell("other", "sleep 0.2; echo > done; exec sleep 1000", "work_dir = '.'")),
    );
    let mut command = node.command(&[]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let mut stdout = child.stdout.take().expect("stdout");
    // Nobody reads: the loop goes on all the same.
    let done = node.directory.path().join("done");
    wait_for("the other task", || done.exists());
    crate::support::signal(child.id() as i32, "TERM");
    let mut text = String::new();
    stdout.read_to_string(&mut text).expect("read");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    let numbers: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("flood | ")).collect();
    // It was ended in the midst of the last one.
    let (_, whole) = numbers.split_last().expect("lines");
    assert!(whole.iter().enumerate().all(|(index, line)| **line == (index + 1).to_string()));
    assert!(whole.len() > 10_000, "{}", whole.len());
}

#[test]
fn no_line_of_a_fast_writer_is_lost() {
    let mut up = Node::new(&shell("flood", "seq 50000", "")).up(&[]);
    assert_eq!(up.exit_code(), Some(0));
    let numbers: Vec<&str> =
        up.seen.iter().filter_map(|line| line.strip_prefix("flood | ")).collect();
    assert_eq!(numbers.len(), 50_000);
    assert_eq!(numbers.last(), Some(&"50000"));
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let node = Node::new(&shell("a", "while echo again; do sleep 0.01; done", ""));
    let mut child = node.command(&[]).stdout(Stdio::piped()).spawn().expect("started");
    drop(child.stdout.take());
    let mut status = None;
    wait_for("its end", || {
        status = child.try_wait().expect("waited");
        status.is_some()
    });
    assert_eq!(status.expect("ended").code(), Some(0));
}
