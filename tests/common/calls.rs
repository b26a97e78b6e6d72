//! A daemon, and what tests ask it. Each call has a connection of its own.

use ostler::control::{CallError, Client};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) trait Calls {
    fn socket(&self) -> PathBuf;

    /// Of the daemon: for the message where a call fails.
    fn log(&self) -> String;

    fn client(&self) -> Client {
        let client = Client::connect(self.socket()).expect("it listens");
        client.socket().set_read_timeout(Some(PATIENCE)).expect("a socket");
        client
    }

    #[track_caller]
    fn call(&self, method: &str, parameters: Value) -> Value {
        match self.client().call(&format!("org.ostler.{method}"), parameters) {
            Ok(reply) => reply,
            Err(error) => panic!("{method}: {error}; log: {}", self.log()),
        }
    }

    /// Why a call is refused.
    #[track_caller]
    fn refusal(&self, method: &str, parameters: Value) -> (String, Value) {
        match self.client().call(&format!("org.ostler.{method}"), parameters) {
            Err(CallError::Remote { error, parameters }) => (error, parameters),
            other => panic!("{method}: {other:?}; log: {}", self.log()),
        }
    }

    /// Launches a shell with a script; `more` are other fields of the task.
    #[track_caller]
    fn launch(&self, name: &str, script: &str, more: Value) -> Value {
        let mut task = json!({"name": name, "command": "/bin/sh", "args": ["-c", script, name]});
        let more = more.as_object().expect("fields").clone();
        task.as_object_mut().expect("fields").extend(more);
        self.call("Launch", json!({ "task": task }))["status"].take()
    }

    #[track_caller]
    fn inspect(&self, name: &str) -> Value {
        self.call("Inspect", json!({ "name": name }))["status"].take()
    }

    #[track_caller]
    fn wait(&self, name: &str) -> Value {
        self.call("Wait", json!({ "name": name }))["status"].take()
    }

    /// Waits until a task is as it is wanted.
    #[track_caller]
    fn until(&self, name: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.inspect(name);
            if is_so(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:#}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Has a daemon stop its tasks and end.
pub(crate) fn shut_down(client: &mut Client) {
    let _ = client.socket().set_read_timeout(Some(PATIENCE));
    let _ = client.call("org.ostler.Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
}

#[track_caller]
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
