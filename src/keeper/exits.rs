//! How the children of the keeper have ended: written down for the daemon, then reaped.
//!
//! A child is reaped only once its status stands where this daemon or the next one finds it. Where
//! there is no room the rest stay zombies, which keep their own statuses.

use crate::sys::exit_pipe::ExitStore;
use crate::sys::exit_reader::ExitRecord;
use crate::sys::reap::{self, Keep, Look};
use crate::vocabulary::Pid;
use nix::errno::Errno;
use std::os::fd::BorrowedFd;

/// Children that are reaped before anything else is looked at again.
const AT_ONCE: usize = 256;

/// The statuses.
#[derive(Debug)]
pub(super) struct Exits {
    store: ExitStore,
}

/// How a sweep has ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Swept {
    /// No child is left that has ended.
    All,
    /// There may be more.
    More,
    /// There is no room for the next one.
    Full,
}

impl Exits {
    pub(super) fn new() -> Result<Exits, Errno> {
        Ok(Exits { store: ExitStore::new()? })
    }

    /// What each daemon gets.
    pub(super) fn reader(&self) -> BorrowedFd<'_> {
        self.store.reader()
    }

    /// Becomes writable when there is room again.
    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.store.writer()
    }

    /// Takes children that have ended, but not the daemon.
    pub(super) fn sweep(&self, daemon: Option<Pid>) -> Swept {
        for _ in 0..AT_ONCE {
            let Some(pid) = reap::any_zombie().filter(|&pid| Some(pid) != daemon) else {
                return Swept::All;
            };
            let Look::Ended(status) = reap::look(pid, None, Keep::Zombie) else { continue };
            if self.store.put(&ExitRecord::of_zombie(pid, status)).is_err() {
                return Swept::Full;
            }
            reap::look(pid, None, Keep::Nothing);
        }
        Swept::More
    }
}
