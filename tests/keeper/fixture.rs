//! A keeper with a daemon that does what a test asks of it.

use crate::support::{Running, is_alive, ostler, wait_for};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keeper/service.py");

pub(crate) struct Kept {
    pub(crate) keeper: Running,
    commands: PathBuf,
    /// Of the daemon that lives now.
    pub(crate) pid: i32,
    /// What it said of itself at its start.
    pub(crate) greeting: String,
    pub(crate) directory: TempDir,
}

impl Kept {
    pub(crate) fn start() -> Kept {
        Kept::start_with(|_| {})
    }

    /// `change` may add to the command of the keeper.
    pub(crate) fn start_with(change: impl FnOnce(&mut Command)) -> Kept {
        let directory = tempfile::tempdir().expect("a directory");
        let commands = directory.path().join("commands");
        nix::unistd::mkfifo(&commands, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let mut command = ostler(&["keeper", "--", "python3", SERVICE]);
        command.arg(&commands);
        for name in ["WATCHDOG_USEC", "WATCHDOG_PID", "FDSTORE", "LISTEN_PID"] {
            command.env_remove(name);
        }
        change(&mut command);
        let keeper = Running::start(&mut command);
        let mut kept = Kept { keeper, commands, pid: 0, greeting: String::new(), directory };
        kept.await_service();
        kept
    }

    /// Waits until a daemon has come up.
    #[track_caller]
    pub(crate) fn await_service(&mut self) {
        self.greeting = self.keeper.expect("service ");
        let pid = self.greeting.split(' ').nth(1).expect("a pid");
        self.pid = pid.parse().expect("a number");
        self.keeper.expect("environment ");
    }

    /// The names of the descriptors that the daemon was given.
    pub(crate) fn names(&self) -> Vec<&str> {
        let list = self.greeting.rsplit(' ').next().expect("names");
        list.split(',').filter(|name| *name != "ostler-exits").collect()
    }

    /// Has the daemon do something; what it answers.
    #[track_caller]
    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        let line = words.join("|");
        let mut commands =
            std::fs::OpenOptions::new().write(true).open(&self.commands).expect("opened");
        commands.write_all(format!("{line}\n").as_bytes()).expect("asked");
        let done = format!("done {}", words[0]);
        let answer = self.keeper.expect(&done);
        answer[done.len()..].trim().to_owned()
    }

    /// A line that contains this, whether it has come already or not.
    #[track_caller]
    pub(crate) fn said(&mut self, text: &str) -> String {
        match self.keeper.seen.iter().find(|line| line.contains(text)) {
            Some(line) => line.clone(),
            None => self.keeper.expect(text),
        }
    }

    /// Kills the daemon and waits for the next one.
    #[track_caller]
    pub(crate) fn kill_service(&mut self) {
        crate::support::signal(self.pid, "KILL");
        self.await_service();
    }

    /// How many descriptors the keeper has.
    pub(crate) fn descriptors(&self) -> usize {
        let directory = format!("/proc/{}/fd", self.keeper.pid());
        std::fs::read_dir(directory).expect("it lives").count()
    }

    /// Waits until the keeper has so many descriptors: it works on its own.
    #[track_caller]
    pub(crate) fn await_descriptors(&self, count: usize) {
        let mut seen = 0;
        wait_for("descriptors of the keeper", || {
            seen = self.descriptors();
            seen == count
        });
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let keeper = self.keeper.pid().to_string();
        // So that it starts no other one.
        if is_alive(&keeper) {
            crate::support::signal(self.keeper.pid(), "KILL");
        }
        if self.pid != 0 && is_alive(&self.pid.to_string()) {
            crate::support::signal(self.pid, "KILL");
        }
    }
}
