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

    /// The children that signals name, some at a time; fewer than [`SIGNALS_AT_ONCE`]: there are
    /// no more. Signals coalesce: those of others may be lost.
    pub(crate) fn take_some(&self) -> Vec<Pid> {
        if faults::check("read(signalfd)").is_err() {
            return Vec::new();
        }
        let mut buffer = [0_u8; SIGNALS_AT_ONCE * SIGNAL_BYTES];
        let got = nix::unistd::read(&self.fd, &mut buffer).unwrap_or(0);
        buffer.get(..got).unwrap_or_default().chunks_exact(SIGNAL_BYTES).filter_map(child).collect()
    }
}

/// How many signals one read takes.
pub(crate) const SIGNALS_AT_ONCE: usize = 16;
const SIGNAL_BYTES: usize = size_of::<nix::libc::signalfd_siginfo>();

/// The fourth number of signalfd_siginfo is the pid (signalfd(2)).
fn child(info: &[u8]) -> Option<Pid> {
    let bytes = info.get(12..16)?.try_into().ok()?;
    Pid::new(i32::from_ne_bytes(bytes))
}

impl AsFd for ChildSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
