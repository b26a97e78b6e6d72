//! Files that need not be open between two writes. Where descriptors are scarce a file stays open
//! as long as there is one for it, and gives it back when something else needs it.

use super::{RotatedFile, numbered};
use crate::reactor::output::cut::Fill;
use crate::reactor::output::{Relay, RelayOptions};
use crate::reactor::token::Key;
use crate::sys::sink::{self, FileIdentity, Place, SinkError, file_size};
use crate::vocabulary::Numbering;
use crate::vocabulary::limits::{FILES_CLOSED_PER_CHANGE, FILES_LOOKED_AT_PER_CHANGE};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

/// Whether a file may be closed between two writes, and what is known of it then.
#[derive(Debug, Default)]
pub(super) struct Resting {
    /// It may.
    sparing: bool,
    /// It was written since this was last looked at.
    used: bool,
    /// The file, once it was closed to be opened again.
    known: Option<FileIdentity>,
}

impl Resting {
    /// There was a rotation.
    pub(super) fn is_another(&mut self) {
        self.known = None;
    }
}

impl RotatedFile {
    /// From now on it need not stay open, if descriptors are scarce: the lowest free one is given
    /// out first, so that its number tells how many there are.
    pub(in crate::reactor::output) fn spare(mut self, options: &RelayOptions) -> RotatedFile {
        self.resting.sparing = match &self.file {
            None => true,
            Some(file) => options.scarce_from.is_some_and(|from| file.as_raw_fd() >= from),
        };
        self.rest(options.files_until);
        self.resting.used = false;
        self
    }

    /// Whether it need not stay open.
    pub(in crate::reactor::output) fn is_sparing(&self) -> bool {
        self.resting.sparing
    }

    #[cfg(test)]
    pub(in crate::reactor::output) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Nothing is to be written for now: it stays open if its descriptor is below `until`. True: it
    /// was closed.
    pub(in crate::reactor::output) fn rest(&mut self, until: RawFd) -> bool {
        self.resting.used = true;
        let high = self.file.as_ref().is_some_and(|file| file.as_raw_fd() >= until);
        high && self.close()
    }

    /// Closes it, if it may be. True: it was open.
    fn close(&mut self) -> bool {
        let Some(file) = self.file.take_if(|_| self.resting.sparing) else { return false };
        self.resting.known = self.resting.known.or_else(|| sink::identity_of(&file));
        true
    }

    /// Opens the current file again, if it is not open.
    pub(super) fn wake(&mut self) -> Result<(), Errno> {
        if self.file.is_some() {
            return Ok(());
        }
        self.open_again().map_err(|error| {
            if self.trouble.is_none() {
                let complaint = format!("cannot open {:?} again: {error}", self.path());
                self.trouble().complaint = Some(complaint);
            }
            error.errno.unwrap_or(Errno::EIO)
        })
    }

    fn open_again(&mut self) -> Result<(), SinkError> {
        let identity = Arc::clone(&self.identity);
        let path = identity.sink(self.kind).path().unwrap_or_default();
        let known = self.resting.known.and_then(|known| match self.numbering {
            Numbering::Shift => sink::open_known(path, known),
            Numbering::Count => sink::open_known(&numbered(path, self.number), known),
        });
        let (file, size) = match known {
            Some(found) => found,
            None => {
                self.resting.known = None;
                let place = Place::find(path, identity.task_dir())?;
                let file = match self.numbering {
                    Numbering::Shift => place.open_file(place.name, self.owner)?,
                    Numbering::Count => {
                        place.open_file(&numbered(place.name, self.number), self.owner)?
                    }
                };
                let size = file_size(&file)?;
                (file, size)
            }
        };
        if size != self.fill.size {
            // It is another one, or somebody has written to it.
            self.fill = Fill { size, line: 0 };
            self.line_unknown = size > 0;
        }
        self.file = Some(file);
        self.appending = true;
        self.trouble = None;
        Ok(())
    }
}

impl Relay {
    /// From which descriptor on files that are opened need not stay open; returns what held before.
    pub(crate) fn spare_files_from(&mut self, from: Option<RawFd>) -> Option<RawFd> {
        std::mem::replace(&mut self.options.scarce_from, from)
    }

    /// All that there was of a stream was moved: its file is closed where descriptors are too few.
    pub(in crate::reactor::output) fn rest(&mut self, key: Key) {
        let until = self.options.files_until;
        let file = self.streams.get_mut(key).and_then(|stream| stream.target.as_file());
        if file.is_some_and(|file| file.rest(until)) {
            self.files_closed = self.files_closed.wrapping_add(1);
            if self.files_closed.is_multiple_of(FILES_CLOSED_PER_CHANGE) {
                self.change_files();
            }
        }
    }

    /// Closes a file that was not written for a while, if there is one nearby: another one gets its
    /// place. Not always, and not for each: where all are written in turn, each would be closed
    /// just before it is written again.
    fn change_files(&mut self) {
        for _ in 0..FILES_LOOKED_AT_PER_CHANGE {
            let file = self.streams.step().and_then(|stream| stream.target.as_file());
            if file.is_some_and(|file| !std::mem::take(&mut file.resting.used) && file.close()) {
                return;
            }
        }
    }

    /// Closes files that can be opened again, up to `count`, since something else needs their
    /// descriptors. How many were closed.
    pub(crate) fn give_back(&mut self, count: usize) -> usize {
        let mut closed = 0;
        for _ in 0..self.streams.round() {
            if closed >= count {
                break;
            }
            let file = self.streams.step().and_then(|stream| stream.target.as_file());
            closed += usize::from(file.is_some_and(RotatedFile::close));
        }
        closed
    }
}
