//! Signals of a program that waits in a loop of its own: blocked, and read when it is ready for
//! them.

use super::faults;
use super::terminal::nix_signal;
use crate::vocabulary::Signal;
use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal as Number, sigaction, sigprocmask,
};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// Signals that are blocked as long as this lives, and read from a signalfd. One that is ignored
/// does not come.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    fd: SignalFd,
    /// The mask as it was, which a child is to have.
    before: SigSet,
}

impl BlockedSignals {
    /// Blocks these signals in this thread, which has to be the only one. SIGCHLD among them also
    /// gets its default action: an ignored one makes the kernel reap children itself.
    pub(crate) fn block(signals: &[Signal]) -> Result<BlockedSignals, Errno> {
        let mut mask = SigSet::empty();
        for &signal in signals {
            mask.add(nix_signal(signal)?);
        }
        if mask.contains(Number::SIGCHLD) {
            faults::check("rt_sigaction")?;
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: the default action runs no code of ours.
            unsafe { sigaction(Number::SIGCHLD, &default) }?;
        }
        faults::check("signalfd4")?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let mut before = SigSet::empty();
        faults::check("rt_sigprocmask")?;
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before))?;
        Ok(BlockedSignals { fd, before })
    }

    /// Takes the next one, if there is any.
    pub(crate) fn take(&self) -> Option<Signal> {
        faults::check("read(signalfd)").ok()?;
        let info = self.fd.read_signal().ok().flatten()?;
        Signal::new(i32::try_from(info.ssi_signo).ok()?)
    }

    /// Lets a signal do to all processes of our group what it does by default; returns once it has
    /// been survived, such as a stop that somebody has continued.
    pub(crate) fn deliver_to_group(&self, signal: Signal) -> Result<(), Errno> {
        let mut mask = SigSet::empty();
        mask.add(nix_signal(signal)?);
        faults::check("kill")?;
        nix::sys::signal::killpg(nix::unistd::getpgrp(), Some(nix_signal(signal)?))?;
        // It is pending, and comes here.
        mask.thread_unblock()?;
        mask.thread_block()
    }

    /// The mask as it was.
    pub(super) fn before(&self) -> &SigSet {
        &self.before
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // One that came late does now what it does by default.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

impl AsFd for BlockedSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
