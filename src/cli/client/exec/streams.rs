//! Bytes on their way through the verb exec, each way as fast as the other side takes them.

use crate::cli::failure::Failure;
use crate::sys::channel::Channel;
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd};

/// What waits at most before no more is taken.
const QUEUE_BYTES: usize = 256 << 10;

/// Bytes that go to one descriptor.
#[derive(Debug)]
pub(super) struct Outflow {
    channel: Channel,
    waiting: Vec<u8>,
}

impl Outflow {
    /// To a descriptor of this process, which stays open.
    pub(super) fn to(fd: BorrowedFd<'_>) -> Result<Outflow, Failure> {
        Ok(Outflow { channel: channel(fd)?, waiting: Vec::new() })
    }

    /// What is to go, to be added to.
    pub(super) fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < QUEUE_BYTES
    }

    /// Sends what goes at once.
    ///
    /// # Errors
    /// Nobody takes them any more: EPIPE where the other side is closed.
    pub(super) fn send(&mut self) -> Result<(), Errno> {
        while !self.waiting.is_empty() {
            match self.channel.write(&self.waiting) {
                Ok(bytes) => drop(self.waiting.drain(..bytes)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl AsFd for Outflow {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// A channel on a descriptor that stays open.
pub(super) fn channel(fd: BorrowedFd<'_>) -> Result<Channel, Failure> {
    let owned = fd.try_clone_to_owned();
    let opened = owned.and_then(|fd| Ok(Channel::new(fd)?));
    opened.map_err(|error| Failure::Other(format!("use the standard streams: {error}")))
}
