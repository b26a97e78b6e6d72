//! Clients that behave badly: they leave in the middle of things.

use crate::chance::Chance;
use crate::host::Host;
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::net::UnixStream;

/// Clients that are left open for a while, at most.
const OPEN_MAX: usize = 20;

/// Connections that somebody has opened and not closed yet.
#[derive(Default)]
pub(crate) struct Clients(Vec<UnixStream>);

impl Clients {
    /// Asks for something that takes long, and does not read the answer.
    pub(crate) fn ask_and_leave(&mut self, host: &Host, chance: &mut Chance) {
        let name = host.tasks.any_name(chance);
        let call = match chance.below(9) {
            0 => call("Wait", json!({ "name": name })),
            1 => call("Stop", json!({"name": name, "grace_ms": chance.below(500)})),
            2 => call("Launch", json!({"task": host.tasks.task(chance), "if_exists": "replace"})),
            3 => stream("Events", json!({})),
            4 => stream("Logs", json!({"name": name, "stream": "stdout"})),
            5 => stream("Stats", json!({"interval_ms": 100, "by_pid": true})),
            6 => call("Exec", exec(&name, "sleep 600 & sleep 600")),
            7 => {
                let mut call = call("ExecStream", exec(&name, "setsid sleep 600 & exec cat"));
                call["upgrade"] = json!(true);
                call
            }
            _ => call("Restart", json!({"name": name, "grace_ms": 0})),
        };
        let mut bytes = call.to_string().into_bytes();
        bytes.push(0);
        if chance.one_in(8) {
            // Not all of it.
            bytes.truncate(chance.below(bytes.len() as u64) as usize);
        }
        let Ok(mut socket) = UnixStream::connect(host.socket()) else { return };
        // One that was refused or cut off has left as well.
        let _ = socket.write_all(&bytes);
        if !chance.one_in(3) {
            self.0.push(socket);
        }
        if self.0.len() > OPEN_MAX {
            self.0.swap_remove(chance.below(OPEN_MAX as u64) as usize);
        }
    }

    pub(crate) fn leave(&mut self) {
        self.0.clear();
    }
}

/// Parameters of a command.
pub(crate) fn exec(name: &str, script: &str) -> Value {
    json!({"name": name, "command": "/bin/sh", "args": ["-c", script]})
}

fn call(method: &str, parameters: Value) -> Value {
    json!({"method": format!("org.ostler.{method}"), "parameters": parameters})
}

fn stream(method: &str, parameters: Value) -> Value {
    let mut call = call(method, parameters);
    call["more"] = json!(true);
    call
}
