//! The reactor: the only place where events of the kernel meet the engine, and the only user of mio.
//!
//! Readiness becomes inputs, the engine's actions become system calls.

mod options;
mod output;
mod token;

pub use options::{CgroupMode, ExitNotification, Facts, Figures, LaunchWay, Options};

use crate::vocabulary::{Event, Identity, Reply, Request, Status, TaskId, Ticket};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A descriptor that the supervisor's loop watches for somebody else.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchId(token::Key);

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

/// The tasks of a host, in the host's own thread.
#[derive(Debug)]
pub struct Supervisor {}

#[allow(clippy::todo, missing_docs, unused_variables)]
impl Supervisor {
    pub fn new(options: Options) -> io::Result<Supervisor> {
        todo!()
    }

    /// Asks for something; exactly one reply with this ticket comes out of a later
    /// [`Supervisor::next_reply`], unless it is abandoned.
    pub fn submit(&mut self, request: Request) -> Ticket {
        todo!()
    }

    /// The next answer to what was submitted.
    pub fn next_reply(&mut self) -> Option<(Ticket, Reply)> {
        todo!()
    }

    /// The asker does not wait any more. What was asked for goes on.
    pub fn abandon(&mut self, ticket: Ticket) {
        todo!()
    }

    /// One turn of the loop: waits until something happens or `timeout` is over (`None`: for
    /// ever), handles it, and appends the events. Returns early when replies or watched
    /// descriptors are ready.
    pub fn turn(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        todo!()
    }

    /// How long `turn` may wait at most: until the nearest deadline. `None`: for ever.
    pub fn next_deadline(&self) -> Option<Duration> {
        todo!()
    }

    /// Watches a descriptor in this loop, for reading and writing, edge-triggered, until
    /// `unwatch`. Regular files cannot be watched.
    pub fn watch(&mut self, fd: BorrowedFd<'_>) -> io::Result<WatchId> {
        todo!()
    }

    /// Ends a watch; call it before the descriptor is closed.
    pub fn unwatch(&mut self, id: WatchId, fd: BorrowedFd<'_>) {
        todo!()
    }

    /// The next watched descriptor that became ready.
    pub fn next_ready(&mut self) -> Option<Ready> {
        todo!()
    }

    pub fn find(&self, name: &str) -> Option<TaskId> {
        todo!()
    }

    pub fn status(&self, task: TaskId) -> Option<Status> {
        todo!()
    }

    /// Every task that is remembered.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        std::iter::empty()
    }

    /// Number of the last event.
    pub fn sequence(&self) -> u64 {
        todo!()
    }

    /// The printed form of a launch's id.
    pub fn launch_id(&self, identity: &Identity) -> String {
        todo!()
    }

    /// The group of a task's current run, absolute path, while it has one.
    pub fn cgroup_of(&self, status: &Status) -> Option<String> {
        todo!()
    }

    /// What this supervisor and this system can do.
    pub fn facts(&self) -> Facts {
        todo!()
    }

    /// What it costs.
    pub fn figures(&self) -> Figures {
        todo!()
    }
}

impl AsFd for Supervisor {
    /// One descriptor that becomes readable when `turn` has something to do.
    #[allow(clippy::todo)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
