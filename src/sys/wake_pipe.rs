//! The control pipe: other threads wake the loop with a byte.

use super::faults;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The reading end, in the loop.
#[derive(Debug)]
pub(crate) struct WakeReader(OwnedFd);

/// The writing end, for any thread.
#[derive(Debug)]
pub(crate) struct WakeWriter(OwnedFd);

/// Makes a control pipe.
pub(crate) fn wake_pipe() -> Result<(WakeReader, WakeWriter), Errno> {
    faults::check("pipe2")?;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((WakeReader(reader), WakeWriter(writer)))
}

impl WakeReader {
    /// Takes out every byte: several wakes are one.
    pub(crate) fn drain(&self) {
        let mut buffer = [0_u8; 64];
        while matches!(nix::unistd::read(&self.0, &mut buffer), Ok(got) if got == buffer.len()) {}
    }
}

impl AsFd for WakeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl WakeWriter {
    /// Wakes the loop. A full pipe means that it is about to wake anyway.
    pub(crate) fn wake(&self) {
        let _ = nix::unistd::write(&self.0, &[0]);
    }
}
