//! A daemon of its own for each test, and raw connections to it.

use ostler::control::{CallError, Client};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon with a socket and a directory of its own. Its tasks are stopped with it.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) socket: PathBuf,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        Daemon::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Daemon {
        let mut command = command(&[]);
        command.args(flags);
        Daemon::run(command)
    }

    /// A daemon that may have so many descriptors.
    pub(crate) fn limited(descriptors: u32) -> Daemon {
        let mut limited = Command::new("/bin/sh");
        let line = format!("ulimit -n {descriptors}; exec \"$@\"");
        let command = command(&[]);
        limited.args(["-c", &line, "sh"]).arg(command.get_program()).args(command.get_args());
        Daemon::run(limited)
    }

    pub(crate) fn run(mut command: Command) -> Daemon {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("run/ostler.sock");
        let log = std::fs::File::create(directory.path().join("daemon.log")).expect("a log");
        let child = command
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        let mut daemon = Daemon { child, directory, socket };
        wait_until("the daemon listens", || {
            assert_eq!(daemon.child.try_wait().expect("a child"), None, "{}", daemon.log());
            UnixStream::connect(&daemon.socket).is_ok()
        });
        daemon
    }

    pub(crate) fn client(&self) -> Client {
        let client = Client::connect(&self.socket).expect("it listens");
        client.socket().set_read_timeout(Some(PATIENCE)).expect("a socket");
        client
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::new(UnixStream::connect(&self.socket).expect("it listens"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("text").to_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("daemon.log")).unwrap_or_default()
    }

    /// Waits for its end.
    pub(crate) fn ended(mut self) -> i32 {
        end_of(&mut self.child)
    }

    /// It serves at once, whatever else goes on.
    pub(crate) fn answers(&self) {
        let begun = Instant::now();
        self.client().call("org.ostler.Version", json!({})).expect("an answer");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // Stops its tasks; unlike a signal this is done by us alone.
        if let Ok(mut client) = Client::connect(&self.socket) {
            let _ = client.socket().set_read_timeout(Some(PATIENCE));
            let _ = client.call("org.ostler.Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
        }
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The daemon's command line, for tasks without groups.
pub(crate) fn command(flags: &[&str]) -> Command {
    let mut command = grouped_command();
    command.args(["--cgroup", "never"]).args(flags);
    command
}

/// The same for tasks with groups, where they can have some; without anything of the caller's
/// environment that the daemon looks at.
pub(crate) fn grouped_command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.arg("daemon");
    for name in ["NOTIFY_SOCKET", "OSTLER_SOCKET", "LISTEN_FDS", "LISTEN_PID"] {
        command.env_remove(name);
    }
    command
}

/// The exit code of a process that is to end by itself.
pub(crate) fn end_of(child: &mut Child) -> i32 {
    let mut code = None;
    wait_until("the process ends", || {
        code = child.try_wait().expect("a child").map(|status| status.code());
        code.is_some()
    });
    code.flatten().expect("it was not killed")
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "waited for it in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A connection without a client.
pub(crate) struct Raw {
    pub(crate) stream: UnixStream,
    received: Vec<u8>,
}

impl Raw {
    pub(crate) fn new(stream: UnixStream) -> Raw {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Raw { stream, received: Vec::new() }
    }

    pub(crate) fn send(&mut self, call: &Value) {
        let mut message = call.to_string().into_bytes();
        message.push(0);
        self.stream.write_all(&message).expect("sent");
    }

    /// The text of the next message; `None` at the end.
    pub(crate) fn next_text(&mut self) -> Option<String> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == 0) {
                let rest = self.received.split_off(end + 1);
                let mut message = std::mem::replace(&mut self.received, rest);
                message.pop();
                return Some(String::from_utf8(message).expect("UTF-8"));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    let left = self.received.len();
                    assert_eq!(left, 0, "half a message at the end");
                    return None;
                }
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    pub(crate) fn next(&mut self) -> Option<Value> {
        self.next_text().map(|text| serde_json::from_str(&text).expect("JSON"))
    }
}

/// The name and parameters of the error that a call is answered with.
pub(crate) fn failure(client: &mut Client, method: &str, parameters: Value) -> (String, Value) {
    match client.call(&format!("org.ostler.{method}"), parameters) {
        Err(CallError::Remote { error, parameters }) => (error, parameters),
        other => panic!("{method}: an error, not {other:?}"),
    }
}

/// The parameters that a call is answered with.
pub(crate) fn answer(client: &mut Client, method: &str, parameters: Value) -> Value {
    client
        .call(&format!("org.ostler.{method}"), parameters)
        .unwrap_or_else(|error| panic!("{method}: {error}"))
}

/// A task that runs a line of shell.
pub(crate) fn shell(name: &str, line: &str) -> Value {
    json!({"name": name, "command": "/bin/sh", "args": ["-c", line]})
}

/// Launches a task.
pub(crate) fn launch(client: &mut Client, task: Value) -> Value {
    answer(client, "Launch", json!({"task": task}))["status"].take()
}

/// Whether a program can be started here; says by name what is skipped where not.
pub(crate) fn has(program: &str, arguments: &[&str], skipped: &str) -> bool {
    let run = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = run.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: {skipped}: {program} {} does not work here", arguments.join(" "));
    }
    found
}

/// The tests' own files.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/protocol").join(name)
}
