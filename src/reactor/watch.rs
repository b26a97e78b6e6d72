//! Descriptors that the loop watches for the layers above and for the host.

use super::Supervisor;
use super::token::{GENERATION_MASK, Key, Owner};
use crate::vocabulary::cause;
use mio::Interest;
use mio::event::Source;
use mio::unix::SourceFd;
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A descriptor that the supervisor's loop watches for somebody else.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatchId(Key);

/// A watched descriptor became ready (edge-triggered: read or write until `WouldBlock`).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Which.
    pub id: WatchId,
    /// There may be something to read, or the other side has closed.
    pub readable: bool,
    /// There may be room to write, or the other side has closed.
    pub writable: bool,
}

#[derive(Debug, Default)]
pub(super) struct Watches {
    generations: Slab<u32>,
    next_generation: u32,
    pub(super) ready: VecDeque<Ready>,
}

impl Watches {
    /// Queues what became ready, unless the watch has ended meanwhile.
    pub(super) fn note(&mut self, key: Key, readable: bool, writable: bool) {
        if self.generations.get(key.index as usize) == Some(&key.generation) {
            self.ready.push_back(Ready { id: WatchId(key), readable, writable });
        }
    }
}

impl Supervisor {
    /// Watches a descriptor in this loop, for reading and writing, edge-triggered, until
    /// [`Supervisor::unwatch`]. What it finds comes out of [`Supervisor::next_ready`].
    ///
    /// # Errors
    /// What epoll_ctl(2) refuses: regular files (EPERM), or a descriptor watched already (EEXIST).
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::os::fd::AsFd;
    /// let mut supervisor = ostler::Supervisor::new(ostler::Options::default())?;
    /// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let watch = supervisor.watch(ours.as_fd())?;
    /// std::io::Write::write_all(&mut &theirs, b"hello")?;
    /// supervisor.turn(None, &mut Vec::new())?;
    /// let ready = supervisor.next_ready().ok_or("nothing")?;
    /// assert!(ready.id == watch && ready.readable);
    /// supervisor.unwatch(watch, ours.as_fd());
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<WatchId> {
        self.watch_source(&mut SourceFd(&fd.as_raw_fd()))
    }

    pub(super) fn watch_source(&mut self, source: &mut impl Source) -> io::Result<WatchId> {
        let watches = &mut self.watches;
        watches.next_generation = watches.next_generation.wrapping_add(1) & GENERATION_MASK;
        let generation = watches.next_generation;
        let index = watches.generations.insert(generation);
        let key = Key { index: index as u32, generation };
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self.registry().register(source, Owner::Watch(key).into(), interest) {
            Ok(()) => Ok(WatchId(key)),
            Err(error) => {
                self.watches.generations.remove(index);
                Err(error)
            }
        }
    }

    /// Ends a watch; call it before the descriptor is closed.
    pub fn unwatch(&mut self, id: WatchId, fd: BorrowedFd<'_>) {
        let index = id.0.index as usize;
        if self.watches.generations.get(index) != Some(&id.0.generation) {
            return;
        }
        self.watches.generations.remove(index);
        self.watches.ready.retain(|ready| ready.id != id);
        if let Err(error) = self.registry().deregister(&mut SourceFd(&fd.as_raw_fd())) {
            log::debug!("cannot end the watch of descriptor {}: {}", fd.as_raw_fd(), cause(&error));
        }
    }

    /// The next watched descriptor that became ready.
    pub fn next_ready(&mut self) -> Option<Ready> {
        self.watches.ready.pop_front()
    }
}
