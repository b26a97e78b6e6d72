//! A terminal with a shell with job control on it, seen from the side of the one who types.

use crate::support::{PATIENCE, wait_for, with_default_signals};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::time::Instant;

pub(crate) const PROMPT: &str = "PROMPT> ";

/// A terminal with a shell on it, seen from the side of the one who types.
pub(crate) struct Terminal {
    pub(crate) master: File,
    pub(crate) shell: Child,
    /// What was written and is not yet expected.
    text: String,
}

impl Terminal {
    pub(crate) fn open() -> Terminal {
        let pair = openpty(None, None).expect("a terminal");
        let slave = || pair.slave.try_clone().expect("another descriptor");
        // setsid(1) makes it the terminal of the session; the shell does not edit lines, so that
        // what is typed early is not lost.
        let shell = with_default_signals("setsid")
            .args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "--noediting", "-i"])
            .env("PS1", PROMPT)
            .env("OSTLER", env!("CARGO_BIN_EXE_ostler"))
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .expect("a shell");
        let mut terminal = Terminal { master: File::from(pair.master), shell, text: String::new() };
        terminal.expect(PROMPT);
        terminal
    }

    pub(crate) fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until this was written after what was expected before; returns what came before it.
    #[track_caller]
    pub(crate) fn expect(&mut self, wanted: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text.find(wanted) {
                let rest = self.text.split_off(at + wanted.len());
                return std::mem::replace(&mut self.text, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u16;
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(left)).expect("polled");
            assert!(ready > 0, "{wanted:?} did not come, but {:?}", self.text);
            let mut buffer = [0; 4096];
            let count = self.master.read(&mut buffer).expect("read");
            self.text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }

    /// Waits until the shell has given the terminal to a job.
    #[track_caller]
    pub(crate) fn wait_until_given(&self) {
        let shell = nix::unistd::Pid::from_raw(self.shell.id() as i32);
        wait_for("the shell", || nix::unistd::tcgetpgrp(&self.master) != Ok(shell));
    }

    /// Types a command and waits for its end; returns what it wrote.
    #[track_caller]
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.expect("\r\n");
        let seen = self.expect(PROMPT);
        seen.trim_end_matches(PROMPT).replace("\r\n", "\n")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Closing the other side of a terminal hangs up its session; this is for a shell that
        // does not take notice.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
