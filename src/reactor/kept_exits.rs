//! How adopted processes have ended, as a keeper tells it: it is their parent, and writes down the
//! status of each before it reaps it.

use super::token::Owner;
use super::{Due, Supervisor, register};
use crate::sys::exit_reader::{ExitReader, ExitRecord};
use crate::vocabulary::limits::KEEPER_RETRY;
use crate::vocabulary::{ExitStatus, Ordered, Pid, ProcessMark, Wall};
use mio::{Interest, Poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
#[cfg(feature = "cli")]
use std::os::fd::{AsRawFd, RawFd};

/// What the keeper has told.
#[derive(Debug)]
pub(super) struct KeptExits {
    /// None once the keeper has gone.
    reader: Option<ExitReader>,
    /// Told, and not taken down yet.
    known: Ordered<Pid, Vec<ExitRecord>>,
    /// There may be more than could be read.
    more: bool,
    /// It was said that nothing can be read for now.
    failure_told: bool,
}

impl KeptExits {
    pub(super) fn new(poll: &Poll, pipe: &OwnedFd) -> io::Result<KeptExits> {
        let reader = ExitReader::new(pipe.try_clone()?);
        register(poll, reader.as_fd(), Owner::KeptExits, Interest::READABLE)?;
        let known = Ordered::new();
        Ok(KeptExits { reader: Some(reader), known, more: false, failure_told: false })
    }

    /// The pipe in which the keeper tells it.
    #[cfg(feature = "cli")]
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.reader.as_ref().map(|reader| reader.as_fd().as_raw_fd())
    }

    /// Takes in what has been written since.
    fn take_in(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        match reader.look() {
            Ok(records) => {
                self.failure_told = false;
                for record in records {
                    match self.known.get_mut(&record.pid) {
                        Some(known) => known.push(record),
                        None => drop(self.known.insert(record.pid, vec![record])),
                    }
                }
            }
            // Descriptors or memory are scarce: what was told waits.
            Err(errno) => {
                self.more = true;
                if !std::mem::replace(&mut self.failure_told, true) {
                    log::warn!(
                        "what the keeper tells cannot be read, trying again: {}",
                        errno.desc()
                    );
                }
            }
        }
    }

    /// How and when this process has ended, if the keeper has told.
    fn find(&mut self, pid: Pid, mark: ProcessMark) -> Option<(ExitStatus, Wall)> {
        self.take_in();
        let records = self.known.get(&pid)?;
        let record = records.iter().find(|record| record.is_of(mark))?;
        Some((record.status, record.time))
    }

    /// All that was told has been taken down.
    fn consume(&mut self) {
        self.known = Ordered::new();
        let Some(reader) = &mut self.reader else { return };
        match reader.consume() {
            Ok(()) => self.more = reader.has_more(),
            Err(errno) => {
                log::error!("what the keeper tells cannot be consumed: {}", errno.desc());
                self.reader = None;
            }
        }
    }
}

impl Supervisor {
    /// How and when a process has ended that an earlier supervisor has made, if a keeper has told.
    pub(super) fn told_by_keeper(
        &mut self,
        pid: Pid,
        mark: Option<ProcessMark>,
    ) -> Option<(ExitStatus, Wall)> {
        self.kept_exits.as_mut()?.find(pid, mark?)
    }

    /// Whether a keeper tells how adopted processes have ended.
    pub(super) fn has_keeper(&self) -> bool {
        self.kept_exits.as_ref().is_some_and(|exits| exits.reader.is_some())
    }

    /// The keeper has told something, or has gone.
    pub(super) fn keeper_tells(&mut self) {
        let Some(exits) = &mut self.kept_exits else { return };
        exits.take_in();
        if exits.reader.as_ref().is_some_and(ExitReader::is_deserted) {
            log::error!(
                "the keeper is gone: the next supervisor will not know how tasks have ended that \
                 end before it is there, and what is unread in their pipes is lost then"
            );
            exits.reader = None;
        }
        self.read_keeper_again();
    }

    /// Looks once more after a while, where there may be more than could be read.
    fn read_keeper_again(&mut self) {
        if let Some(exits) = &mut self.kept_exits
            && std::mem::take(&mut exits.more)
            && exits.reader.is_some()
        {
            self.deadlines.add(self.now.mono + KEEPER_RETRY, Due::Keeper);
        }
    }

    /// Ends the runs that the keeper has told of. True: that has something follow.
    pub(super) fn follow_keeper(&mut self) -> bool {
        let Some(exits) = &self.kept_exits else { return false };
        let told: Vec<Pid> = exits.known.keys().copied().collect();
        for pid in told {
            if let Some(task) = self.runs.of_pid(pid)
                && self.runs.get(task).is_some_and(|run| run.adopted)
            {
                self.process_ended(task);
            }
        }
        !self.inputs.is_empty()
    }

    /// What the keeper has told is acted upon, and taken down: it need not tell it again.
    pub(super) fn release_keeper(&mut self) {
        if let Some(exits) = &mut self.kept_exits
            && !exits.known.is_empty()
        {
            exits.consume();
            self.read_keeper_again();
        }
    }
}
