//! `ostler up` that goes on as another program.

use crate::calls::{Calls, PATIENCE, lives, wait_for};
use crate::executable::write_executable;
use crate::fixture::PROGRAM;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tempfile::TempDir;

/// An `up` of some tasks. What it says is read from the time that is asked for on.
struct Up {
    directory: TempDir,
    child: Child,
    stdout: Option<ChildStdout>,
    said: Arc<Mutex<String>>,
}

/// A task that is a script, with `$DIR`.
fn shell(name: &str, script: &str, more: &str) -> String {
    format!("[task.{name}]\ncommand = 'sh'\nargs = ['-c', '''{script}''']\n{more}\n")
}

impl Up {
    fn start(tasks: &str, flags: &[&str]) -> Up {
        Up::start_by(Path::new(PROGRAM), tempfile::tempdir().expect("a directory"), tasks, flags)
    }

    fn start_by(program: &Path, directory: TempDir, tasks: &str, flags: &[&str]) -> Up {
        let path = directory.path();
        let defaults = format!(
            "[defaults]\nkill_signal = 'TERM'\nenv = {{ PATH = '/usr/bin:/bin', DIR = '{}' }}\n",
            path.display()
        );
        let file = path.join("node.toml");
        std::fs::write(&file, format!("{defaults}{tasks}")).expect("written");
        let mut command = Command::new(program);
        command.arg("up").arg(file).args(flags).env("XDG_RUNTIME_DIR", path);
        for name in ["OSTLER_SOCKET", "OSTLER_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        let log = std::fs::File::create(path.join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("started");
        let stdout = child.stdout.take();
        Up { directory, child, stdout, said: Arc::default() }
    }

    /// Takes what it says from now on.
    fn listen(mut self) -> Up {
        let mut stdout = self.stdout.take().expect("once");
        let said = Arc::clone(&self.said);
        std::thread::spawn(move || {
            let (mut buffer, mut bytes) = ([0; 4096], Vec::new());
            while let Ok(count @ 1..) = stdout.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
                *said.lock().expect("whole") = String::from_utf8_lossy(&bytes).into_owned();
            }
        });
        self
    }

    fn said(&self) -> String {
        self.said.lock().expect("whole").clone()
    }

    #[track_caller]
    fn expect(&self, text: &str, count: usize) {
        let begun = Instant::now();
        while self.said().matches(text).count() < count {
            assert!(begun.elapsed() < PATIENCE, "{text:?} in {}{}", self.said(), self.log());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn touch(&self, name: &str) {
        std::fs::write(self.path(name), "").expect("written");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("it lives");
    }

    /// Goes on as another program for the nth time, by signal or by call.
    #[track_caller]
    fn upgrade(&self, nth: usize, by_call: bool) {
        if by_call {
            let version = self.call("Upgrade", json!({}))["version"].take();
            assert_eq!(version, env!("CARGO_PKG_VERSION"));
        } else {
            self.signal(Signal::SIGUSR2);
        }
        self.expect("goes on as ostler ", nth);
    }

    fn pid_of(&self, task: &str) -> u64 {
        self.inspect(task)["pid"].as_u64().expect("it runs")
    }

    /// The exit code, and all that it has said.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, String) {
        let mut status = None;
        wait_for("its end", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        // The reader holds one of both for as long as there is more.
        wait_for("the end of what it says", || Arc::strong_count(&self.said) == 1);
        (status.and_then(|status| status.code()), self.said())
    }
}

impl Calls for Up {
    /// As it has said itself.
    fn socket(&self) -> PathBuf {
        self.expect(" ps\n", 1);
        let said = self.said();
        let path = said.split_once("--socket ").and_then(|(_, rest)| rest.split_once(" ps\n"));
        path.expect("a hint").0.into()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Tasks of an `up` die with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a task has said, line by line.
fn lines_of<'a>(said: &'a str, task: &str) -> Vec<&'a str> {
    let prefix = format!("{task} ");
    let of_task = said.lines().filter(|line| line.starts_with(&prefix));
    of_task.filter_map(|line| line.split_once("| ")).map(|(_, line)| line).collect()
}

const COUNTER: &str = "i=0; while [ ! -e $DIR/stop ]; do i=$((i+1)); echo line $i; \
    [ $((i % 50)) = 0 ] && sleep 0.01; done; echo last $i";

#[track_caller]
fn check_counter(said: &str) -> usize {
    let lines = lines_of(said, "counter");
    let (last, lines) = lines.split_last().expect("lines");
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("line {}", index + 1));
    }
    assert_eq!(*last, format!("last {}", lines.len()), "no line is missing");
    lines.len()
}

#[test]
fn tasks_run_on_and_their_output_goes_on() {
    let until = |file: &str| format!("until [ -e $DIR/{file} ]; do sleep 0.05; done");
    let policy = "restart = { mode = 'on_failure', attempts = 3, delay = '10ms' }";
    let once_more = format!("echo a run; {}; rm $DIR/go; exit 1", until("go"));
    let partial = format!("printf 'be'; {}; echo gun", until("stop"));
    let kept = format!("{}; echo to a file", until("stop"));
    let file = "stdout = { kind = 'file', path = 'OUT', max_size = '1M' }";
    let up = tempfile::tempdir().expect("a directory");
    let out = up.path().join("out");
    let tasks = shell("counter", COUNTER, "")
        + &shell("again", &once_more, policy)
        + &shell("partial", &partial, "")
        + &shell("kept", &kept, &file.replace("OUT", out.to_str().expect("text")));
    let up = Up::start_by(Path::new(PROGRAM), up, &tasks, &[]).listen();
    up.expect("again   | a run\n", 1);
    for task in ["counter", "partial", "kept"] {
        up.expect(&format!("{task} started"), 1);
    }
    let before = ["counter", "again", "partial", "kept"].map(|task| up.pid_of(task));
    for nth in 1..=4 {
        up.upgrade(nth, nth % 2 == 0);
    }
    assert_eq!(["counter", "again", "partial", "kept"].map(|task| up.pid_of(task)), before);
    // What is started again writes to where it wrote before, and can be handed over as well.
    up.touch("go");
    up.expect("again   | a run\n", 2);
    up.upgrade(5, true);
    up.touch("go");
    up.expect("again   | a run\n", 3);
    up.call("Stop", json!({"name": "again"}));
    up.touch("stop");
    let runtime = up.socket().parent().expect("a directory").to_owned();
    assert!(runtime.exists());
    let (code, said) = up.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(check_counter(&said) > 0);
    assert_eq!(lines_of(&said, "partial"), ["begun"]);
    assert!(!runtime.exists(), "the directory of the socket is removed");
}

#[test]
fn what_nobody_has_read_yet_is_read_later() {
    let up = Up::start(&shell("counter", COUNTER, ""), &["--socket", "none"]);
    // Its queue, its standard output and the pipe of the task are full, so that it stands still.
    let pid = up.child.id();
    let written = || std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let mut before = written();
    wait_for("it stands still", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = written();
        std::mem::replace(&mut before, now.clone()) == now && now.contains("wchar")
    });
    up.signal(Signal::SIGUSR2);
    let image = || std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let named = b"OSTLER_TAKE_OVER=";
    wait_for("the next program", || image().windows(named.len()).any(|text| text == named));
    let up = up.listen();
    up.expect("goes on as ostler", 1);
    up.touch("stop");
    let (code, said) = up.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(check_counter(&said) > 1000);
}

#[test]
fn it_ends_as_it_would_have() {
    // A task that gave up before is not forgotten.
    let policy = "restart = { mode = 'on_failure', attempts = 1, delay = '10ms' }";
    let forever = |name: &str, more: &str| shell(name, "echo up; exec sleep 600", more);
    let tasks = shell("flaky", "exit 3", policy)
        + &forever("db", "")
        + &forever("web", "after = ['db']")
        + &forever("proxy", "after = ['web']");
    let up = Up::start(&tasks, &["--socket", "none"]).listen();
    up.expect("flaky gave up", 1);
    up.expect("proxy | up\n", 1);
    up.upgrade(1, false);
    up.upgrade(2, false);
    up.signal(Signal::SIGINT);
    let (code, said) = up.end();
    assert_eq!(code, Some(1), "{said}");
    let ends: Vec<&str> = said.lines().filter(|line| line.contains("was ended by")).collect();
    let expected = ["proxy", "web", "db"].map(|task| format!("{task} was ended by SIGTERM"));
    assert_eq!(ends, expected);
    // Killed, it takes its tasks with it, whichever program it is.
    let mut up = Up::start(&forever("db", ""), &[]).listen();
    up.expect("db | up\n", 1);
    let pid = up.pid_of("db");
    up.upgrade(1, true);
    assert!(lives(pid));
    up.child.kill().expect("killed");
    wait_for("the end of the task", || !lives(pid));
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("ostler");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    let up = Up::start_by(&program, directory, &shell("counter", COUNTER, ""), &[]).listen();
    up.expect("counter | line 1\n", 1);
    let pid = up.pid_of("counter");
    write_executable(&program, b"#!/bin/sh\necho no such verb >&2\nexit 2\n");
    let (error, why) = up.refusal("Upgrade", json!({}));
    assert_eq!(error, "org.ostler.UpgradeFailed");
    assert!(why["reason"].as_str().is_some_and(|why| why.contains("no such verb")), "{why}");
    assert!(up.log().contains("upgrade failed"), "{}", up.log());
    assert_eq!(up.pid_of("counter"), pid);
    std::fs::remove_file(&program).expect("removed");
    std::os::unix::fs::symlink(PROGRAM, &program).expect("a link");
    up.upgrade(1, true);
    up.touch("stop");
    let (code, said) = up.end();
    assert_eq!(code, Some(0), "{said}");
    check_counter(&said);
}
