//! Where relayed bytes go: a FIFO, or a file that is rotated.

use super::budget::Grown;
use super::rotation::RotatedFile;
use crate::sys::pipe::{self, Again};
use crate::vocabulary::{Identity, Mono, StreamKind};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Where the bytes of a stream go.
#[derive(Debug)]
pub(super) enum Target {
    Fifo(Fifo),
    File(Box<RotatedFile>),
}

/// Why a target takes no more.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It has no room now.
    Full,
    /// It fails.
    Failed(Errno),
}

impl Target {
    pub(super) fn path(&self) -> &str {
        match self {
            Target::Fifo(fifo) => fifo.path(),
            Target::File(file) => file.path(),
        }
    }

    pub(super) fn as_fifo(&mut self) -> Option<&mut Fifo> {
        match self {
            Target::Fifo(fifo) => Some(fifo),
            Target::File(_) => None,
        }
    }

    pub(super) fn as_file(&mut self) -> Option<&mut RotatedFile> {
        match self {
            Target::File(file) => Some(file),
            Target::Fifo(_) => None,
        }
    }

    /// Whether it need not be open between two writes.
    pub(super) fn is_sparing(&self) -> bool {
        match self {
            Target::Fifo(_) => false,
            Target::File(file) => file.is_sparing(),
        }
    }

    /// Bytes that nobody has taken out of it yet.
    pub(super) fn unread(&self) -> u64 {
        match self {
            Target::Fifo(fifo) => fifo.unread(),
            Target::File(_) => 0,
        }
    }

    /// Writes as much of `data` as it takes.
    pub(super) fn write(&mut self, data: &[u8], now: Mono) -> (usize, Result<(), Refusal>) {
        match self {
            Target::Fifo(fifo) => fifo.write(data),
            Target::File(file) => {
                let (written, result) = file.write(data, now);
                (written, result.map_err(Refusal::Failed))
            }
        }
    }
}

/// Our end of a FIFO: for reading and writing, so that it needs no reader and we get no SIGPIPE
/// when one leaves. Never blocks, never read.
#[derive(Debug)]
pub(super) struct Fifo {
    identity: Arc<Identity>,
    kind: StreamKind,
    end: OwnedFd,
    /// The end could not be opened again after a look for readers: it only writes.
    write_only: bool,
    /// The loop watches this end.
    pub(super) watched: bool,
    /// It was made larger.
    pub(super) grown: Option<Grown>,
}

impl Fifo {
    pub(super) fn new(identity: &Arc<Identity>, kind: StreamKind, end: OwnedFd) -> Fifo {
        let identity = Arc::clone(identity);
        Fifo { identity, kind, end, write_only: false, watched: false, grown: None }
    }

    /// That of the program before this one.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(
        identity: &Arc<Identity>,
        kind: StreamKind,
        end: OwnedFd,
        write_only: bool,
    ) -> Fifo {
        Fifo { write_only, ..Fifo::new(identity, kind, end) }
    }

    #[cfg(feature = "cli")]
    pub(super) fn is_write_only(&self) -> bool {
        self.write_only
    }

    fn path(&self) -> &str {
        self.identity.sink(self.kind).path().unwrap_or_default()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// An end for a task that holds the FIFO itself: a description of its own, which may block.
    pub(super) fn end_for_task(&self) -> Result<OwnedFd, Errno> {
        pipe::open_again(self.fd(), Again::Blocking)
    }

    /// An end that keeps what is in it, and is no reader: to be held by somebody else.
    pub(super) fn end_for_store(&self) -> Result<OwnedFd, Errno> {
        pipe::open_again(self.fd(), Again::WriteOnly)
    }

    /// Bytes in it.
    pub(super) fn unread(&self) -> u64 {
        // Asking a pipe cannot fail.
        pipe::waiting_bytes(self.fd()).unwrap_or(0) as u64
    }

    /// The end to write to; while there is no reader but ourselves, writing needs that one.
    pub(super) fn writable_end(&mut self) -> Result<BorrowedFd<'_>, Refusal> {
        if self.write_only {
            let end = pipe::open_again(self.fd(), Again::NonBlocking).map_err(Refusal::Failed)?;
            self.replace(end, false);
        }
        Ok(self.end.as_fd())
    }

    fn write(&mut self, data: &[u8]) -> (usize, Result<(), Refusal>) {
        let end = match self.writable_end() {
            Ok(end) => end,
            Err(refusal) => return (0, Err(refusal)),
        };
        let mut written = 0;
        while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
            match pipe::write(end, rest) {
                Ok(bytes) => written += bytes,
                Err(Errno::EAGAIN) => return (written, Err(Refusal::Full)),
                Err(errno) => return (written, Err(Refusal::Failed(errno))),
            }
        }
        (written, Ok(()))
    }

    /// Whether somebody else has it open for reading. For an instant our end is one that only
    /// writes, which the kernel tells of; what is in the FIFO stays.
    ///
    /// The loop does not watch the new end.
    pub(super) fn has_reader(&mut self) -> Result<bool, Errno> {
        if !self.write_only {
            let end = pipe::open_again(self.fd(), Again::WriteOnly)?;
            self.replace(end, true);
        }
        let answer = pipe::has_reader(self.fd());
        if let Ok(end) = pipe::open_again(self.fd(), Again::NonBlocking) {
            self.replace(end, false);
        }
        answer
    }

    fn replace(&mut self, end: OwnedFd, write_only: bool) {
        self.end = end;
        self.write_only = write_only;
        self.watched = false;
    }
}
