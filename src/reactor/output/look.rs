//! Our view of what stands in a pipe: copied for a look, and left where it is.

use crate::sys::pipe::Peek;
use crate::vocabulary::limits::RELAY_BUFFER_BYTES;
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

/// The one buffer that relayed bytes are seen in, and a pipe to see them by.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Empty until it is first needed.
    pub(super) buffer: Vec<u8>,
    peek: Option<Peek>,
}

impl Look {
    /// Makes room.
    pub(super) fn prepare(&mut self) {
        self.buffer.resize(RELAY_BUFFER_BYTES, 0);
    }

    /// What stands at the beginning of a pipe, at most `most` bytes. Empty: nothing, and nobody
    /// writes; EAGAIN: nothing.
    pub(super) fn look(&mut self, into: BorrowedFd<'_>, most: usize) -> Result<&[u8], Errno> {
        let peek = match self.peek.take() {
            Some(peek) => peek,
            None => Peek::new()?,
        };
        let buffer = self.buffer.get_mut(..most).ok_or(Errno::EINVAL)?;
        // One that failed half-way may hold something: it is not used again.
        let seen = peek.look(into, buffer);
        if matches!(seen, Ok(_) | Err(Errno::EAGAIN)) {
            self.peek = Some(peek);
        }
        seen.map(|bytes| self.buffer.get(..bytes).unwrap_or_default())
    }
}
