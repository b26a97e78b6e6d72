//! How adopted processes have ended, as a keeper tells it: it is their parent, and writes down the
//! status of each before it reaps it.

use super::token::Owner;
use super::{Supervisor, register};
use crate::sys::exit_reader::{ExitReader, ExitRecord};
use crate::vocabulary::{ExitStatus, Ordered, Pid, ProcessMark};
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
}

impl KeptExits {
    pub(super) fn new(poll: &Poll, pipe: &OwnedFd) -> io::Result<KeptExits> {
        let reader = ExitReader::new(pipe.try_clone()?);
        register(poll, reader.as_fd(), Owner::KeptExits, Interest::READABLE)?;
        Ok(KeptExits { reader: Some(reader), known: Ordered::new() })
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
                for record in records {
                    match self.known.get_mut(&record.pid) {
                        Some(known) => known.push(record),
                        None => drop(self.known.insert(record.pid, vec![record])),
                    }
                }
            }
            Err(errno) => {
                log::error!(
                    "what the keeper tells cannot be read ({}): how adopted tasks end may not \
                     become known",
                    errno.desc()
                );
                self.reader = None;
            }
        }
    }

    /// How this process has ended, if the keeper has told.
    fn find(&mut self, pid: Pid, mark: ProcessMark) -> Option<ExitStatus> {
        self.take_in();
        let records = self.known.get(&pid)?;
        records.iter().find(|record| record.is_of(mark)).map(|record| record.status)
    }

    /// All that was told has been taken down.
    fn consume(&mut self) {
        self.known = Ordered::new();
        if let Some(reader) = &mut self.reader
            && let Err(errno) = reader.consume()
        {
            log::error!("what the keeper tells cannot be consumed: {}", errno.desc());
            self.reader = None;
        }
    }
}

impl Supervisor {
    /// How a process has ended that an earlier supervisor has made, if a keeper has told.
    pub(super) fn told_by_keeper(
        &mut self,
        pid: Pid,
        mark: Option<ProcessMark>,
    ) -> Option<ExitStatus> {
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
        }
    }
}
