//! Signals of a program that waits in a loop of its own: blocked, and read when it is ready for
//! them.

use super::faults;
use super::terminal::nix_signal;
use crate::vocabulary::Signal;
use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// Signals that are blocked as long as this lives, and read from a signalfd. One that is ignored
/// does not come.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    fd: SignalFd,
    mask: SigSet,
}

impl BlockedSignals {
    /// Blocks these signals in this thread, which has to be the only one.
    pub(crate) fn block(signals: &[Signal]) -> Result<BlockedSignals, Errno> {
        let mut mask = SigSet::empty();
        for &signal in signals {
            mask.add(nix_signal(signal)?);
        }
        faults::check("signalfd4")?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        faults::check("rt_sigprocmask")?;
        mask.thread_block()?;
        Ok(BlockedSignals { fd, mask })
    }

    /// Takes the next one, if there is any.
    pub(crate) fn take(&self) -> Option<Signal> {
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
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // One that came late does now what it does by default.
        let _ = self.mask.thread_unblock();
    }
}

impl AsFd for BlockedSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
