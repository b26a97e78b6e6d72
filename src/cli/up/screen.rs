//! Standard output, never waited for: what does not go is queued, and while the queue is full no
//! more output of tasks is taken. They wait then, and nothing is lost.

use crate::reactor::{Supervisor, WatchId};
use crate::sys::channel::Channel;
use crate::sys::pipe::{Again, open_again};
use nix::errno::Errno;
use std::collections::VecDeque;
use std::io::{self, stdout};
use std::os::fd::{AsFd, OwnedFd};

/// Above this many bytes the queue is full.
const QUEUE_BYTES_MAX: usize = 256 << 10;

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    out: Channel,
    /// A regular file cannot be watched, and need not be.
    watch: Option<WatchId>,
    queue: VecDeque<u8>,
    closed: bool,
}

impl Screen {
    /// Opens standard output another time, so that not to wait for it is no concern of those who
    /// share it. What cannot be opened (a socket) or has a position (a file) is copied.
    pub(super) fn open(supervisor: &mut Supervisor) -> io::Result<Screen> {
        let stdout = stdout();
        let regular = std::fs::metadata("/proc/self/fd/1").is_ok_and(|out| out.is_file());
        let opened = open_again(stdout.as_fd(), Again::WriteOnly).ok().filter(|_| !regular);
        let out: OwnedFd = match opened {
            Some(out) => out,
            None => stdout.as_fd().try_clone_to_owned()?,
        };
        // Files, and devices such as /dev/null, cannot be watched and need not be.
        let watch = supervisor.watch(out.as_fd()).ok();
        let (out, queue) = (Channel::new(out)?, VecDeque::new());
        Ok(Screen { out, watch, queue, closed: false })
    }

    /// What is queued, for another program that goes on.
    pub(super) fn queued(&self) -> Vec<u8> {
        self.queue.iter().copied().collect()
    }

    /// Goes on with what another program had queued.
    pub(super) fn go_on(&mut self, queued: Vec<u8>) {
        self.queue = queued.into();
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
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            match self.out.write(front) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => {
                    self.closed = true;
                    self.queue = VecDeque::new();
                }
            }
        }
    }
}
