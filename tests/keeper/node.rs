//! A keeper that runs the daemon, and clients of whatever daemon lives.

use crate::support::{PATIENCE, is_alive, signal, wait_for};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use ostler::control::{CallError, Client};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Node {
    pub(crate) directory: TempDir,
    keeper: Child,
    /// Of the daemon that lives, or has lived last.
    pub(crate) daemon: i32,
}

impl Node {
    pub(crate) fn start() -> Node {
        Node::start_with(|_| Vec::new())
    }

    /// Each daemon is executed by these words, which are told the directory.
    pub(crate) fn start_with(words: impl FnOnce(&Path) -> Vec<String>) -> Node {
        let directory = tempfile::tempdir().expect("a directory");
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        let program = env!("CARGO_BIN_EXE_ostler");
        let mut command = Command::new(program);
        command.args(["keeper", "--"]).args(words(directory.path()));
        command.args([program, "daemon", "--socket"]);
        command.arg(directory.path().join("sock"));
        command.arg("--state").arg(directory.path().join("state"));
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "FDSTORE", "OSTLER_LOG"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let keeper = command.spawn().expect("started");
        let mut node = Node { directory, keeper, daemon: 0 };
        node.await_daemon();
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text_path(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    pub(crate) fn keeper(&self) -> i32 {
        self.keeper.id() as i32
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for a daemon that is not the one before.
    #[track_caller]
    pub(crate) fn await_daemon(&mut self) {
        let before = self.daemon;
        wait_for("the next daemon", || {
            let Ok(client) = Client::connect(self.path("sock")) else { return false };
            let peer = getsockopt(client.socket(), PeerCredentials).expect("a peer");
            self.daemon = peer.pid();
            self.daemon != before
        });
        // It listens before it has taken over what is there.
        self.call("Version", json!({}));
    }

    fn client(&self) -> Client {
        let client = Client::connect(self.path("sock")).expect("it listens");
        client.socket().set_read_timeout(Some(PATIENCE)).expect("a socket");
        client
    }

    #[track_caller]
    pub(crate) fn call(&self, method: &str, parameters: Value) -> Value {
        match self.client().call(&format!("org.ostler.{method}"), parameters) {
            Ok(reply) => reply,
            Err(error) => panic!("{method}: {error}; log: {}", self.log()),
        }
    }

    /// The events of the daemon that lives, so far.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        let last = self.call("List", json!({}))["sequence"].as_u64().expect("a number");
        // A daemon has those since its start.
        let mut client = self.client();
        let mut replies = client.stream("org.ostler.Events", json!({"after": 0})).expect("sent");
        let oldest = match replies.next().expect("a reply") {
            Err(CallError::Remote { parameters, .. }) => parameters["oldest"].as_u64(),
            _ => Some(1),
        };
        let after = json!({"after": oldest.expect("a number") - 1});
        let mut client = self.client();
        let mut all = Vec::new();
        for reply in client.stream("org.ostler.Events", after).expect("sent") {
            let mut reply = reply.expect("events");
            all.append(reply["events"].as_array_mut().expect("events"));
            if all.last().is_some_and(|event| event["sequence"].as_u64() >= Some(last)) {
                break;
            }
        }
        all
    }

    /// Launches a shell with a script; `more` are other fields of the task.
    #[track_caller]
    pub(crate) fn launch(&self, name: &str, script: &str, more: Value) -> i32 {
        let mut task = json!({"name": name, "command": "/bin/sh", "args": ["-c", script, name]});
        task["work_dir"] = json!(self.directory.path());
        let more = more.as_object().expect("fields").clone();
        task.as_object_mut().expect("an object").extend(more);
        let status = self.call("Launch", json!({ "task": task }));
        status["status"]["pid"].as_i64().expect("a pid") as i32
    }

    #[track_caller]
    pub(crate) fn wait(&self, name: &str) -> Value {
        self.call("Wait", json!({ "name": name }))["status"].take()
    }

    pub(crate) fn kill_daemon(&self) {
        signal(self.daemon, "KILL");
    }

    /// From here on no daemon lives, until `resume`.
    pub(crate) fn suspend(&self) {
        signal(self.keeper(), "STOP");
        self.kill_daemon();
        let daemon = self.daemon.to_string();
        wait_for("the end of the daemon", || !is_alive(&daemon));
    }

    #[track_caller]
    pub(crate) fn resume(&mut self) {
        signal(self.keeper(), "CONT");
        self.await_daemon();
    }

    /// How many descriptors the keeper stores.
    pub(crate) fn stored(&self) -> usize {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.keeper())).expect("it lives");
        let targets = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        targets.filter(|target| target.starts_with(self.directory.path())).count() - self.logs()
    }

    /// Descriptors that lead to the log.
    fn logs(&self) -> usize {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", self.keeper())).expect("it lives");
        let targets = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
        targets.filter(|target| *target == self.path("log")).count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that was killed by the test is gone.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        if self.daemon != 0 && is_alive(&self.daemon.to_string()) {
            signal(self.daemon, "TERM");
            let daemon = self.daemon.to_string();
            wait_for("the end of the daemon", || !is_alive(&daemon));
        }
    }
}
