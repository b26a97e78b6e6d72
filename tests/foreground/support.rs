//! Starting the program, and waiting for what it does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program, without what this process has in its environment for it.
pub(crate) fn ostler(arguments: &[&str]) -> Command {
    let mut command = with_default_signals(env!("CARGO_BIN_EXE_ostler"));
    command.args(arguments);
    for name in ["OSTLER_SOCKET", "OSTLER_LOG", "NOTIFY_SOCKET", "LISTEN_FDS", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

/// A program that ignores no signal, whatever runs the tests does (nohup, a shell in the
/// background).
pub(crate) fn with_default_signals(program: &str) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", program]);
    command
}

/// `ostler run -- sh -c SCRIPT`, with flags before.
pub(crate) fn run_shell(flags: &[&str], script: &str) -> Command {
    let mut arguments = vec!["run"];
    arguments.extend(flags);
    arguments.extend(["--", "sh", "-c", script]);
    ostler(&arguments)
}

/// A running program, killed at the end of the test.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// All lines so far.
    pub(crate) seen: Vec<String>,
    /// Removed after it.
    pub(crate) directory: Option<TempDir>,
}

impl Running {
    /// Starts it; both of its streams are read.
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let (sender, lines) = channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("stdout")),
            Box::new(child.stderr.take().expect("stderr")),
        ];
        for stream in streams {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Running { child, lines, seen: Vec::new(), directory: None }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Waits for a line that contains this, and returns it.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("{text:?} did not come, but {:#?}", self.seen)
                }
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end; every line is in `seen` then.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the end of the program", || {
            status = self.child.try_wait().expect("waited");
            status.is_some()
        });
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        status.expect("ended")
    }

    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.end().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by kill(1).
pub(crate) fn signal(pid: i32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.expect("kill").success(), "kill -s {name} {pid}");
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// The number at the end of a line.
#[track_caller]
pub(crate) fn number_in(line: &str) -> String {
    let number = line.rsplit(' ').next().unwrap_or_default().to_owned();
    assert!(number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty(), "{line:?}");
    number
}
