//! A new journal in the making, beside the one that holds until it is done: to write down ten
//! thousand tasks at once would hold up the loop.

use super::line::{Written, WrittenTask};
use super::state::StateLine;
use super::{add_line, add_note};
use crate::engine::Change;
use crate::reactor::Note;
use crate::sys::journal_file::{self, JournalFile};
use std::io;
use std::path::{Path, PathBuf};

/// The new journal as far as it has come.
#[derive(Debug)]
pub(super) struct Renewal {
    path: PathBuf,
    file: JournalFile,
    /// Lines that are not in the file yet.
    lines: Vec<u8>,
    /// Bytes in the file.
    size: u64,
}

impl Renewal {
    /// In a file of this name, which is overwritten; `head` begins it.
    pub(super) fn begin(path: PathBuf, head: Vec<u8>) -> io::Result<Renewal> {
        let mut file = JournalFile::open(&path)?;
        file.cut(0)?;
        Ok(Renewal { path, file, lines: head, size: 0 })
    }

    /// Something that the old journal is told as well. A task may not stand here yet, so that a
    /// change of its state is told with all of it.
    pub(super) fn note(&mut self, note: Note<'_>) {
        let Note::Change(Change::State(saved)) = note else {
            return add_note(&mut self.lines, note);
        };
        let state = StateLine::of(saved);
        let spec = saved.identity.spec();
        add_line(&mut self.lines, &Written::Task(&WrittenTask::of(saved, &spec, &state)));
    }

    /// Writes what was noted.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.add(&self.lines)?;
        self.size += self.lines.len() as u64;
        self.lines.clear();
        Ok(())
    }

    /// Takes the place of the journal: its file, and how long it is.
    pub(super) fn finish(mut self, journal: &Path) -> io::Result<(JournalFile, u64)> {
        match self.flush().and_then(|()| journal_file::replace(&self.path, journal)) {
            Ok(()) => Ok((self.file, self.size)),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// It is of no use any more, and the disk may be full of it.
    pub(super) fn give_up(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
