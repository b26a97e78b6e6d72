//! Signals as something to read, in a program that has nothing else to do.

use super::faults;
use crate::vocabulary::Signal;
use nix::errno::Errno;
use nix::sys::signal::{
    SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal as Number, sigaction, sigprocmask,
};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// Signals of this process, blocked and read one by one.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    fd: SignalFd,
    /// The mask as it was, which a child is to have.
    before: SigSet,
}

impl BlockedSignals {
    /// Blocks these. SIGCHLD also gets its default action: an ignored one is inherited, and makes
    /// the kernel reap children itself.
    pub(crate) fn take(signals: &[Signal]) -> Result<BlockedSignals, Errno> {
        let mut mask = SigSet::empty();
        for signal in signals {
            mask.add(Number::try_from(signal.number())?);
        }
        faults::check("rt_sigaction")?;
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours.
        unsafe { sigaction(Number::SIGCHLD, &default) }?;
        let mut before = SigSet::empty();
        faults::check("rt_sigprocmask")?;
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before))?;
        faults::check("signalfd4")?;
        let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(BlockedSignals { fd, before })
    }

    /// The next one that has come.
    pub(crate) fn next(&self) -> Option<Signal> {
        faults::check("read(signalfd)").ok()?;
        let info = self.fd.read_signal().ok().flatten()?;
        Signal::new(i32::try_from(info.ssi_signo).ok()?)
    }

    /// The mask as it was.
    pub(super) fn before(&self) -> &SigSet {
        &self.before
    }
}

impl AsFd for BlockedSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
