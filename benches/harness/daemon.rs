//! The program as a daemon, and what can be seen of it from outside.

use super::Outcome;
use ostler::control::Client;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No start takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon in a directory of its own; dropping it ends it and its tasks.
pub(crate) struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts one and waits until it answers. Its log is thrown away.
    pub(crate) fn start<S: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = S>,
        state: bool,
    ) -> Outcome<Daemon> {
        let directory = tempfile::tempdir_in("/dev/shm")?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
        command.arg("daemon").arg("--socket").arg(directory.path().join("socket"));
        if state {
            command.arg("--state").arg(directory.path().join("state"));
        }
        let child = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let daemon = Daemon { child, directory };
        let begun = Instant::now();
        while let Err(error) = Client::connect(daemon.socket()) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("no answer from the daemon: {error}").into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(daemon)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Outcome<Client> {
        Ok(Client::connect(self.socket())?)
    }

    /// Descriptors that it has open.
    pub(crate) fn descriptors(&self) -> Outcome<f64> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count() as f64)
    }

    /// Processes below it, zombies included.
    pub(crate) fn children(&self) -> Outcome<f64> {
        let pid = self.pid();
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(list.split_whitespace().count() as f64)
    }

    /// Bytes of all files in its state directory.
    pub(crate) fn state_bytes(&self) -> Outcome<f64> {
        let mut sum = 0;
        for entry in std::fs::read_dir(self.directory.path().join("state"))? {
            // A journal that is being replaced goes in between.
            sum += entry?.metadata().map_or(0, |metadata| metadata.len());
        }
        Ok(sum as f64)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let end = json!({"stop_tasks": true, "grace_ms": 0});
        let ended = self.client().map(|mut client| client.call("org.ostler.Shutdown", end).is_ok());
        if !matches!(ended, Ok(true)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// One number of the answer to `DaemonStats`.
pub(crate) fn own_figure(client: &mut Client, name: &str) -> Outcome<f64> {
    let figures = client.call("org.ostler.DaemonStats", json!({}))?;
    Ok(figures.get(name).and_then(Value::as_f64).ok_or_else(|| format!("no {name}"))?)
}

/// Median and 99th percentile of a call, in milliseconds.
pub(crate) fn latency(client: &mut Client, calls: usize) -> Outcome<(f64, f64)> {
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let begun = Instant::now();
        client.call("org.ostler.Version", json!({}))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok((super::median(times.clone()), super::percentile(times, 0.99)))
}
