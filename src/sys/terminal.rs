//! The terminal that `ostler run` shares with its task, as a shell does with a job.

use super::faults;
use crate::vocabulary::{Pid, Signal};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd;
use std::io::{Stdin, stdin};

/// The terminal on standard input.
#[derive(Debug)]
pub(crate) struct Terminal {
    fd: Stdin,
    /// Our process group.
    own: unistd::Pid,
}

/// How a terminal was set: echo, raw or line by line, and so on.
#[derive(Clone, Debug)]
pub(crate) struct Modes(Termios);

impl Modes {
    /// The same, but for all that the terminal does to what is typed and written.
    pub(super) fn raw(&self) -> Modes {
        let mut modes = self.0.clone();
        cfmakeraw(&mut modes);
        Modes(modes)
    }
}

impl Terminal {
    /// The terminal on standard input, if there is one, it is that of our session, and we are in
    /// its foreground. In the background it belongs to others.
    pub(crate) fn in_foreground() -> Option<Terminal> {
        let terminal = Terminal { fd: stdin(), own: unistd::getpgrp() };
        terminal.is_ours().then_some(terminal)
    }

    /// The one on standard input, whatever that is.
    pub(super) fn on_stdin() -> Terminal {
        Terminal { fd: stdin(), own: unistd::getpgrp() }
    }

    /// Whether our process group is in the foreground.
    pub(crate) fn is_ours(&self) -> bool {
        unistd::tcgetpgrp(&self.fd) == Ok(self.own)
    }

    /// Whether the group of this process is in the foreground, or was when it ended.
    pub(crate) fn is_of(&self, leader: Pid) -> bool {
        unistd::tcgetpgrp(&self.fd) == Ok(unistd::Pid::from_raw(leader.number()))
    }

    /// Makes our process group the foreground one.
    pub(crate) fn take_back(&self) -> Result<(), Errno> {
        self.give(self.own)
    }

    /// Makes the group of this process the foreground one.
    pub(crate) fn give_to(&self, leader: Pid) -> Result<(), Errno> {
        self.give(unistd::Pid::from_raw(leader.number()))
    }

    fn give(&self, group: unistd::Pid) -> Result<(), Errno> {
        faults::check("ioctl(TIOCSPGRP)")?;
        // Out of the background this sends us SIGTTOU, unless it is blocked.
        blocking_ttou(|| unistd::tcsetpgrp(&self.fd, group))
    }

    /// How it is set now.
    pub(crate) fn modes(&self) -> Option<Modes> {
        tcgetattr(&self.fd).ok().map(Modes)
    }

    /// Sets it so, once all output is written.
    pub(crate) fn set_modes(&self, modes: &Modes) -> Result<(), Errno> {
        faults::check("ioctl(TCSETSW)")?;
        blocking_ttou(|| tcsetattr(&self.fd, SetArg::TCSADRAIN, &modes.0))
    }

    /// The same; in the background it stops us first, until we are in the foreground.
    pub(super) fn set_modes_as_allowed(&self, modes: &Modes) -> Result<(), Errno> {
        faults::check("ioctl(TCSETSW)")?;
        loop {
            match tcsetattr(&self.fd, SetArg::TCSADRAIN, &modes.0) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    /// Sends a signal to every process of our own group.
    pub(crate) fn signal_own_group(&self, signal: Signal) -> Result<(), Errno> {
        nix::sys::signal::killpg(self.own, Some(nix_signal(signal)?))
    }
}

fn blocking_ttou<T>(act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut mask = SigSet::empty();
    mask.add(nix::sys::signal::SIGTTOU);
    let before = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let result = act();
    before.thread_set_mask()?;
    result
}

pub(super) fn nix_signal(signal: Signal) -> Result<nix::sys::signal::Signal, Errno> {
    nix::sys::signal::Signal::try_from(signal.number())
}

/// The signal that has stopped a child since the last look.
pub(crate) fn stopped_by(child: Pid) -> Option<Signal> {
    faults::check("waitid").ok()?;
    let id = Id::Pid(unistd::Pid::from_raw(child.number()));
    match waitid(id, WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG) {
        Ok(WaitStatus::Stopped(_, signal)) => Signal::new(signal as i32),
        _ => None,
    }
}

/// Sends a signal to ourselves; one that stops has done so when this returns, and somebody has
/// continued us.
pub(crate) fn raise(signal: Signal) -> Result<(), Errno> {
    faults::check("kill")?;
    nix::sys::signal::raise(nix_signal(signal)?)
}

/// Whether a signal is ignored: what started us wants it so (nohup).
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.number() - 1) & 1 == 1
}
