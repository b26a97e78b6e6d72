//! Our view of what stands in a pipe: copied for a look, and left where it is.

use crate::sys::pipe::OwnPipe;
use crate::vocabulary::limits::{RELAY_BUFFER_BYTES, RELAY_BULK_BYTES};
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

/// The one buffer that relayed bytes are seen in, and a pipe to see them by and to carry bulk.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Empty until it is first needed.
    pub(super) buffer: Vec<u8>,
    pipe: Option<OwnPipe>,
}

impl Look {
    /// Makes room.
    pub(super) fn prepare(&mut self) {
        self.buffer.resize(RELAY_BUFFER_BYTES, 0);
    }

    /// Takes out the pipe, which is empty. It is to be given back, empty again, or dropped.
    pub(super) fn take_pipe(&mut self) -> Result<OwnPipe, Errno> {
        match self.pipe.take() {
            Some(pipe) => Ok(pipe),
            None => OwnPipe::new(RELAY_BULK_BYTES),
        }
    }

    /// Gives back a pipe that is empty.
    pub(super) fn give_back(&mut self, pipe: OwnPipe) {
        self.pipe = Some(pipe);
    }

    /// What stands at the beginning of a pipe, at most `most` bytes. Empty: nothing, and nobody
    /// writes; EAGAIN: nothing.
    pub(super) fn look(&mut self, into: BorrowedFd<'_>, most: usize) -> Result<&[u8], Errno> {
        let pipe = self.take_pipe()?;
        let buffer = self.buffer.get_mut(..most).ok_or(Errno::EINVAL)?;
        // One that failed half-way may hold something: it is not used again.
        let seen = pipe.look(into, buffer);
        if matches!(seen, Ok(_) | Err(Errno::EAGAIN)) {
            self.give_back(pipe);
        }
        seen.map(|bytes| self.buffer.get(..bytes).unwrap_or_default())
    }
}
