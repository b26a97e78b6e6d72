//! A daemon of its own for each test, and connections to it.

use crate::support::{PATIENCE, is_alive, ostler, wait_for};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// A daemon with the task `web`, which does nothing.
pub(crate) struct Node {
    pub(crate) daemon: Child,
    pub(crate) directory: tempfile::TempDir,
    /// Those of the task that are children of the daemon.
    pub(crate) processes: usize,
}

/// The answer to a call, or the error and its parameters.
pub(crate) type Answer = Result<Value, (String, Value)>;

impl Node {
    /// Stops its tasks when it is dropped.
    pub(crate) fn start() -> Node {
        Node::with(&[], json!({}))
    }

    /// With these flags of the daemon, and these fields of the task.
    pub(crate) fn with(flags: &[&str], task: Value) -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let socket = directory.path().join("socket");
        let daemon = ostler(&["daemon", "--socket", socket.to_str().expect("text")])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a daemon");
        let node = Node { daemon, directory, processes: 1 };
        wait_for("the daemon", || UnixStream::connect(node.socket()).is_ok());
        let mut web = json!({"name": "web", "command": "/bin/sleep", "args": ["100000"],
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]});
        for (field, value) in task.as_object().expect("an object") {
            web[field] = value.clone();
        }
        node.call("Launch", json!({"task": web})).expect("launched");
        node
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("text").to_owned()
    }

    pub(crate) fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.socket()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Connection { stream, received: Vec::new() }
    }

    #[track_caller]
    pub(crate) fn call(&self, method: &str, parameters: Value) -> Answer {
        let mut connection = self.connect();
        connection.send(method, parameters, json!({}));
        connection.answer()
    }

    /// Runs a line of shell in the task `web`.
    #[track_caller]
    pub(crate) fn shell(&self, line: &str) -> Executed {
        self.exec(json!({"name": "web", "command": "sh", "args": ["-c", line]}))
    }

    #[track_caller]
    pub(crate) fn exec(&self, parameters: Value) -> Executed {
        Executed::of(&self.call("Exec", parameters).expect("it runs"))
    }

    /// A line of shell in the task `web`, its streams live.
    #[track_caller]
    pub(crate) fn stream(&self, line: &str, fields: Value) -> Connection {
        let mut connection = self.connect();
        connection.send_stream(line, fields);
        connection.answer().expect("it runs");
        connection
    }

    pub(crate) fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.daemon.id());
        std::fs::read_dir(path).expect("a listing").count()
    }

    pub(crate) fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.daemon.id());
        let status = std::fs::read_to_string(path).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Groups of commands in the group of the task, if it has one.
    pub(crate) fn groups(&self) -> Vec<String> {
        let status = self.call("Inspect", json!({"name": "web"})).expect("a status");
        let Some(group) = status["status"]["cgroup"].as_str() else { return Vec::new() };
        let entries = std::fs::read_dir(Path::new(group)).expect("a group").flatten();
        let names = entries.map(|entry| entry.file_name().display().to_string());
        names.filter(|name| name.starts_with("exec.")).collect()
    }

    /// Waits until nothing of a command is left: `before` descriptors, no group, no child but the
    /// task.
    #[track_caller]
    pub(crate) fn wait_until_clean(&self, before: usize) {
        let children = format!("/proc/{0}/task/{0}/children", self.daemon.id());
        wait_for("the end of all commands", || {
            let children = std::fs::read_to_string(&children).expect("a listing");
            children.split_whitespace().count() == self.processes
                && self.groups().is_empty()
                && self.descriptors() <= before
        });
    }

    /// It serves at once, whatever else goes on.
    #[track_caller]
    pub(crate) fn answers(&self) {
        let begun = std::time::Instant::now();
        self.call("Version", json!({})).expect("an answer");
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    /// Waits until a file holds a line; the line.
    #[track_caller]
    pub(crate) fn line_of(&self, name: &str) -> String {
        let path = self.path(name);
        let mut line = None;
        wait_for("a line in a file", || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            line = text.split_once('\n').map(|(line, _)| line.to_owned());
            line.is_some()
        });
        line.expect("a line")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Unlike a signal this is done by the daemon alone; one that is about to end does not
        // listen any more.
        if let Ok(mut stream) = UnixStream::connect(self.socket()) {
            let parameters = json!({"stop_tasks": true, "grace_ms": 0});
            let call = json!({"method": "org.ostler.Shutdown", "parameters": parameters});
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.write_all(format!("{call}\0").as_bytes());
            let _ = stream.read(&mut [0; 100]);
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Waits until a process has ended.
#[track_caller]
pub(crate) fn wait_for_end(pid: &str) {
    wait_for("the end of a process", || !is_alive(pid));
}

/// The reply to Exec.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) code: i64,
    pub(crate) signal: i64,
    pub(crate) timed_out: bool,
    pub(crate) truncated: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Executed {
    #[track_caller]
    pub(crate) fn of(reply: &Value) -> Executed {
        let text = |field: &str| {
            let bytes = STANDARD.decode(reply[field].as_str().expect("base64")).expect("base64");
            String::from_utf8(bytes).expect("text")
        };
        Executed {
            code: reply["exit_code"].as_i64().expect("a code"),
            signal: reply["signal"].as_i64().expect("a signal"),
            timed_out: reply["timed_out"].as_bool().expect("a flag"),
            truncated: reply["truncated"].as_bool().expect("a flag"),
            stdout: text("stdout_base64"),
            stderr: text("stderr_base64"),
        }
    }
}

/// What a frame from the daemon carries.
pub(crate) const STDOUT: u8 = 16;
pub(crate) const STDERR: u8 = 17;
pub(crate) const END_OF_STDOUT: u8 = 18;
pub(crate) const END_OF_STDERR: u8 = 19;
pub(crate) const EXIT: u8 = 20;

/// A connection without a client.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    received: Vec<u8>,
}

impl Connection {
    /// `flags`: more, oneway, upgrade.
    pub(crate) fn send(&mut self, method: &str, parameters: Value, flags: Value) {
        let method = format!("org.ostler.{method}");
        let mut call = json!({"method": method, "parameters": parameters});
        for (flag, value) in flags.as_object().expect("an object") {
            call[flag] = value.clone();
        }
        let mut message = call.to_string().into_bytes();
        message.push(0);
        self.stream.write_all(&message).expect("sent");
    }

    /// Asks for a line of shell in the task `web`, with more fields.
    pub(crate) fn send_stream(&mut self, line: &str, fields: Value) {
        let mut parameters = json!({"name": "web", "command": "sh", "args": ["-c", line]});
        for (field, value) in fields.as_object().expect("an object") {
            parameters[field] = value.clone();
        }
        self.send("ExecStream", parameters, json!({"upgrade": true}));
    }

    fn more(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let got = self.stream.read(&mut buffer).expect("something came");
        self.received.extend_from_slice(&buffer[..got]);
        got > 0
    }

    pub(crate) fn message(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == 0) {
                let rest = self.received.split_off(end + 1);
                let message = std::mem::replace(&mut self.received, rest);
                return Some(serde_json::from_slice(&message[..end]).expect("JSON"));
            }
            if !self.more() {
                return None;
            }
        }
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut reply = self.message().expect("an answer");
        match reply["error"].as_str() {
            Some(error) => Err((error.to_owned(), reply["parameters"].take())),
            None => Ok(reply["parameters"].take()),
        }
    }

    /// `None`: the connection is closed.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((&[kind, a, b, c, d], rest)) = self.received.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if rest.len() >= length {
                    let data = rest[..length].to_vec();
                    self.received.drain(..5 + length);
                    return Some((kind, data));
                }
            }
            if !self.more() {
                return None;
            }
        }
    }

    pub(crate) fn put(&mut self, kind: u8, data: &[u8]) {
        let mut frame = vec![kind];
        frame.extend_from_slice(&(data.len() as u32).to_be_bytes());
        frame.extend_from_slice(data);
        self.stream.write_all(&frame).expect("sent");
    }

    /// All that comes until the connection is closed: standard output, standard error, the order of
    /// the other frames, and the exit code.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (String, String, Vec<u8>, i64) {
        let (mut stdout, mut stderr, mut others, mut code) = (vec![], vec![], vec![], None);
        while let Some((kind, data)) = self.frame() {
            assert_eq!(code, None, "the exit is the last frame");
            match kind {
                STDOUT => stdout.extend(data),
                STDERR => stderr.extend(data),
                EXIT => {
                    let exit: Value = serde_json::from_slice(&data).expect("JSON");
                    code = exit["exit_code"].as_i64();
                }
                other => others.push(other),
            }
        }
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(stdout), text(stderr), others, code.expect("a code"))
    }

    /// Reads standard output until this came; what came up to it.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) -> String {
        let mut text = String::new();
        while !text.contains(wanted) {
            match self.frame() {
                Some((STDOUT, data)) => text.push_str(&String::from_utf8_lossy(&data)),
                other => panic!("{wanted:?} did not come, but {text:?} and {other:?}"),
            }
        }
        text
    }
}
