//! Which follower of logs waits for which file.

use super::follow::LogReader;
use crate::sys::file_watch::{Changed, FileWatch, WatchNumber};
use nix::errno::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};

/// Every file and directory that a follower waits for. Followers go by number.
#[derive(Debug)]
pub(crate) struct Watching {
    watch: FileWatch,
    followers: HashMap<WatchNumber, Vec<usize>>,
}

/// What one follower waits for.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    numbers: Vec<WatchNumber>,
    /// Of the reader, when this was set up.
    switches: Option<u64>,
}

impl Watching {
    pub(crate) fn new() -> Result<Watching, Errno> {
        Ok(Watching { watch: FileWatch::new()?, followers: HashMap::new() })
    }

    /// Whether `watched` is about another file than `reader` reads by now.
    pub(crate) fn is_outdated(watched: &Watched, reader: &LogReader) -> bool {
        watched.switches != Some(reader.switches())
    }

    /// Watches what `reader` waits for, for `follower`. Look again afterwards: it may have come in
    /// between.
    pub(crate) fn set(
        &mut self,
        watched: &mut Watched,
        follower: usize,
        reader: &LogReader,
    ) -> Result<(), Errno> {
        self.forget(watched, follower);
        watched.switches = Some(reader.switches());
        let directory = self.watch.directory(reader.directory())?;
        self.add(watched, directory, follower);
        if let Some(file) = reader.current() {
            let file = self.watch.file(file)?;
            self.add(watched, file, follower);
        }
        Ok(())
    }

    fn add(&mut self, watched: &mut Watched, number: WatchNumber, follower: usize) {
        self.followers.entry(number).or_default().push(follower);
        watched.numbers.push(number);
    }

    /// Ends what was set up.
    pub(crate) fn forget(&mut self, watched: &mut Watched, follower: usize) {
        for number in watched.numbers.drain(..) {
            let Some(followers) = self.followers.get_mut(&number) else { continue };
            if let Some(place) = followers.iter().position(|&other| other == follower) {
                followers.swap_remove(place);
            }
            if followers.is_empty() {
                self.followers.remove(&number);
                self.watch.forget(number);
            }
        }
        watched.switches = None;
    }

    /// The followers whose files changed.
    pub(crate) fn changed(&self) -> Vec<usize> {
        let mut changed = Vec::new();
        for change in self.watch.changes() {
            match change {
                Changed::One(number) => {
                    changed.extend(self.followers.get(&number).into_iter().flatten());
                }
                Changed::Anything => changed.extend(self.followers.values().flatten()),
            }
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

impl AsFd for Watching {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
