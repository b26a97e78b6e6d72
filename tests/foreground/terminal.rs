//! `ostler run` on a terminal, below a shell with job control.

use crate::support::{PATIENCE, wait_for, with_default_signals};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;
use std::time::Instant;

const PROMPT: &str = "PROMPT> ";

/// A terminal with a shell on it, seen from the side of the one who types.
struct Terminal {
    master: File,
    shell: Child,
    /// What was written and is not yet expected.
    text: String,
}

impl Terminal {
    fn open() -> Terminal {
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

    fn send(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until this was written after what was expected before; returns what came before it.
    #[track_caller]
    fn expect(&mut self, wanted: &str) -> String {
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
    fn wait_until_given(&self) {
        let shell = nix::unistd::Pid::from_raw(self.shell.id() as i32);
        wait_for("the shell", || nix::unistd::tcgetpgrp(&self.master) != Ok(shell));
    }

    /// Types a command and waits for its end; returns what it wrote.
    #[track_caller]
    fn command(&mut self, line: &str) -> String {
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

#[test]
fn the_task_has_the_terminal_and_ctrl_c_is_for_it_alone() {
    let mut terminal = Terminal::open();
    let script =
        r#"trap "echo interrupted; exit 9" INT; echo ready >/dev/tty; while :; do :; done"#;
    terminal.send(&format!("$OSTLER run sh -c '{script}'\n"));
    terminal.expect("ready\r\n");
    terminal.send("\x03");
    terminal.expect("interrupted");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 9\n");
    // A task without a handler dies of it, as below a shell.
    terminal.send("$OSTLER run cat\n");
    terminal.send("echoed\n");
    terminal.expect("echoed\r\nechoed\r\n");
    terminal.send("\x03");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 130\n");
}

#[test]
fn ctrl_z_stops_both_and_fg_goes_on() {
    let mut terminal = Terminal::open();
    terminal.send("$OSTLER run cat\n");
    terminal.send("one\n");
    terminal.expect("one\r\none\r\n");
    for word in ["two", "three"] {
        terminal.send("\x1a");
        terminal.expect("Stopped");
        terminal.expect(PROMPT);
        assert_eq!(terminal.command("echo the shell has it"), "the shell has it\n");
        terminal.send("fg\n");
        terminal.expect("$OSTLER run cat\r\n");
        terminal.send(&format!("{word}\n"));
        terminal.expect(&format!("{word}\r\n{word}\r\n"));
    }
    terminal.send("\x04");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 0\n");
}

#[test]
fn a_job_goes_on_in_the_background_and_comes_back() {
    let mut terminal = Terminal::open();
    // Nothing that starts programs: a shell that Ctrl-Z meets in its vfork never stops.
    let script = r#"trap "exit 9" INT; echo ready; while :; do :; done"#;
    terminal.send(&format!("$OSTLER run sh -c '{script}'\n"));
    terminal.expect("ready\r\n");
    terminal.send("\x1a");
    terminal.expect("Stopped");
    terminal.expect(PROMPT);
    terminal.command("bg");
    terminal.send("jobs\n");
    terminal.expect("Running");
    terminal.expect(PROMPT);
    // The shell keeps the terminal meanwhile: this is not for the job.
    terminal.send("\x03");
    terminal.expect(PROMPT);
    terminal.send("jobs\n");
    terminal.expect("Running");
    terminal.expect(PROMPT);
    terminal.send("fg\n");
    terminal.expect("$OSTLER run");
    terminal.wait_until_given();
    // Until the terminal is the task's again, Ctrl-C reaches ostler, which passes it on.
    terminal.send("\x03");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 9\n");
}

#[test]
fn a_pager_behind_it_gets_the_terminal_when_it_asks() {
    let mut terminal = Terminal::open();
    let pager =
        r#"sh -c 'trap "" INT; read line; echo paged $line; read key </dev/tty; echo key $key'"#;
    terminal.send(&format!("$OSTLER run sh -c 'echo text; exec sleep 1000' | {pager}\n"));
    terminal.expect("paged text\r\n");
    terminal.send("q\n");
    terminal.expect("key q\r\n");
    terminal.send("\x03");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code ${PIPESTATUS[*]}"), "code 130 0\n");
}

#[test]
fn a_task_that_was_killed_leaves_the_terminal_as_it_was() {
    let mut terminal = Terminal::open();
    terminal.command("$OSTLER run sh -c 'stty raw -echo; kill -KILL $$'");
    let modes = terminal.command("stty -a");
    assert!(modes.contains(" icanon") && modes.contains(" echo "), "{modes}");
}

#[test]
fn in_the_background_the_terminal_stays_with_the_shell() {
    let mut terminal = Terminal::open();
    terminal.command("$OSTLER run sleep 1000 &");
    assert_eq!(terminal.command("echo the shell has it"), "the shell has it\n");
    let seen = terminal.command("kill %1; wait %1; echo code $?");
    assert!(seen.contains("code 143\n"), "{seen}");
}

#[test]
fn up_takes_ctrl_c_and_shows_colours_to_people_alone() {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a file");
    let task = "[task.web]\ncommand = '/bin/sh'\nargs = ['-c', 'echo hello; exec sleep 1000']\n";
    std::fs::write(file.path(), task).expect("written");
    let mut terminal = Terminal::open();
    let path = file.path().display();
    terminal.send(&format!("$OSTLER up {path}\n"));
    terminal.expect("\x1b[36mweb |\x1b[0m hello\r\n");
    terminal.send("\x03");
    terminal.expect("web was ended by SIGINT");
    terminal.expect(PROMPT);
    assert_eq!(terminal.command("echo code $?"), "code 0\n");
    for off in ["NO_COLOR=1 $OSTLER up", "$OSTLER up --no-color"] {
        terminal.send(&format!("{off} {path}\n"));
        terminal.expect("\r\nweb | hello\r\n");
        terminal.send("\x03");
        terminal.expect(PROMPT);
    }
    assert_eq!(terminal.command("echo there"), "there\n");
}
