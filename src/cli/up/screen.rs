//! Standard output, never waited for: what does not go is queued, and while the queue is full no
//! more output of tasks is taken. They wait then, and nothing is lost.

use crate::reactor::{Supervisor, WatchId};
use crate::sys::room;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write, stdout};
use std::os::fd::{AsFd, OwnedFd};

/// Above this many bytes the queue is full.
const QUEUE_BYTES_MAX: usize = 256 << 10;

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    out: File,
    /// A regular file cannot be watched, and need not be.
    watch: Option<WatchId>,
    queue: VecDeque<u8>,
    closed: bool,
}

impl Screen {
    /// Opens standard output another time, so that not to wait for it is no concern of those who
    /// share it.
    pub(super) fn open(supervisor: &mut Supervisor) -> io::Result<Screen> {
        let regular = std::fs::metadata("/proc/self/fd/1").is_ok_and(|out| out.is_file());
        let out: OwnedFd = if regular {
            // Another opening would have a position of its own.
            stdout().as_fd().try_clone_to_owned()?
        } else {
            room::open_without_waiting(stdout())?
        };
        // Devices such as /dev/null cannot be watched either.
        let watch = if regular { None } else { supervisor.watch(out.as_fd()).ok() };
        Ok(Screen { out: File::from(out), watch, queue: VecDeque::new(), closed: false })
    }

    /// Under which it becomes ready.
    pub(super) fn watch(&self) -> Option<WatchId> {
        self.watch
    }

    /// Queues a line.
    pub(super) fn print(&mut self, parts: &[&[u8]]) {
        if !self.closed {
            parts.iter().for_each(|part| self.queue.extend(*part));
            self.queue.push_back(b'\n');
        }
    }

    /// Whether no more should be printed.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= QUEUE_BYTES_MAX
    }

    /// Whether all has been written.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether nobody reads it any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes what goes.
    pub(super) fn flush(&mut self) {
        while !self.queue.is_empty() && room::has_room(&self.out) {
            let (front, _) = self.queue.as_slices();
            let piece = front.get(..front.len().min(room::CERTAIN_BYTES)).unwrap_or(front);
            match self.out.write(piece) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.closed = true;
                    self.queue = VecDeque::new();
                }
            }
        }
    }
}
