//! A task that shares our terminal, as a job of a shell does: it is in the foreground, and when it
//! is stopped (Ctrl-Z), we stop with it.

use crate::sys::processes;
use crate::sys::terminal::{Modes, Terminal, raise, stopped_by};
use crate::vocabulary::{Exit, ExitStatus, Pid, Signal};

/// See signal(7); the vocabulary names only those that tasks are told with.
const TSTP: i32 = 20;
const TTIN: i32 = 21;
const TTOU: i32 = 22;

/// The signals that mean something to us, and are not for the task.
pub(super) fn signals() -> Vec<Signal> {
    [Signal::new(TTIN), Signal::new(TTOU), Some(Signal::CONT)].into_iter().flatten().collect()
}

/// A terminal and the task that has it.
#[derive(Debug)]
pub(super) struct Job {
    terminal: Terminal,
    /// How it was set when we were started.
    before: Option<Modes>,
    /// Another program of our process group (`ostler run ... | less`) needs the terminal, so that
    /// it is no longer the task's.
    yielded: bool,
}

impl Job {
    /// The terminal on standard input, if we are in its foreground.
    pub(super) fn new() -> Option<Job> {
        let terminal = Terminal::in_foreground()?;
        let before = terminal.modes();
        Some(Job { terminal, before, yielded: false })
    }

    /// Stops with the task where it was stopped, and goes on with it.
    pub(super) fn look_after(&mut self, task: Pid) {
        let Some(signal) = stopped_by(task) else { return };
        let modes = self.terminal.modes();
        self.take_from(task);
        // A shell shows Ctrl-Z as such. The others are caught by us; none but STOP is sure then.
        stop_with(if signal.number() == TSTP { signal } else { Signal::STOP });
        // Somebody has continued us: in the foreground, or in the background (`bg`).
        if self.terminal.is_ours() {
            if let Some(modes) = &modes {
                let _ = self.terminal.set_modes(modes);
            }
            self.yielded = false;
            let _ = self.terminal.give_to(task);
        }
        if let Err(errno) = processes::kill_group(task, Signal::CONT) {
            log::debug!("cannot continue the task: {}", errno.desc());
        }
    }

    /// One of [`signals`] came.
    pub(super) fn signaled(&mut self, signal: Signal, task: Option<Pid>) {
        let Some(task) = task else { return };
        if signal == Signal::CONT {
            // From the background to the foreground (`fg`).
            if !self.yielded && self.terminal.is_ours() {
                let _ = self.terminal.give_to(task);
            }
        } else if self.take_from(task) {
            // It stopped others of our group, which wanted the terminal.
            self.yielded = true;
            let _ = self.terminal.signal_own_group(Signal::CONT);
        } else if !self.terminal.is_ours() {
            // All of us are in the background.
            stop_with(Signal::STOP);
        }
    }

    /// A run has ended. Until the next one Ctrl-C is for us.
    pub(super) fn run_ended(&mut self, exit: Exit) {
        // What a signal ended had no time to tidy up.
        if self.take_from(exit.pid)
            && let (ExitStatus::Signaled(_), Some(before)) = (exit.status, &self.before)
        {
            let _ = self.terminal.set_modes(before);
        }
    }

    /// Takes the terminal back, unless it is with somebody else, such as the shell. What fails is
    /// a terminal that has gone; then there is nothing to take.
    fn take_from(&self, task: Pid) -> bool {
        self.terminal.is_of(task) && self.terminal.take_back().is_ok()
    }
}

fn stop_with(signal: Signal) {
    if let Err(errno) = raise(signal) {
        log::warn!("cannot stop with the task: {}", errno.desc());
    }
}
