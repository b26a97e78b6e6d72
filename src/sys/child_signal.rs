//! SIGCHLD as something to read, in a process that belongs to the supervisor alone.

use super::faults;
use crate::vocabulary::Pid;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// SIGCHLD, blocked and read from a signalfd.
#[derive(Debug)]
pub(crate) struct ChildSignal {
    fd: SignalFd,
}

impl ChildSignal {
    /// Sets SIGCHLD to its default (an ignored one is inherited, and makes the kernel reap the
    /// children itself), blocks it and opens a signalfd for it.
    pub(crate) fn take() -> Result<ChildSignal, Errno> {
        faults::check("rt_sigaction")?;
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours.
        unsafe { sigaction(Signal::SIGCHLD, &default) }?;
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        faults::check("rt_sigprocmask")?;
        mask.thread_block()?;
        faults::check("signalfd4")?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(ChildSignal { fd })
    }

    /// The next child that a signal names. Signals coalesce: those of others may be lost.
    pub(crate) fn next(&self) -> Option<Pid> {
        faults::check("read(signalfd)").ok()?;
        let info = self.fd.read_signal().ok().flatten()?;
        Pid::new(i32::try_from(info.ssi_pid).ok()?)
    }
}

impl AsFd for ChildSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
