//! The text of a journal without a file: for another program of this process, which goes on with
//! the tasks and with the journal.

use super::reading::Place;
use super::{Header, Journal, StateDirectory, add_header, add_note, header, reading};
use crate::reactor::{Counters, Kept, Note, Store};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// All tasks as a journal has them.
#[derive(Debug)]
pub(in crate::control) struct Transcript {
    header: Header,
    lines: Vec<u8>,
}

impl Transcript {
    /// # Errors
    /// Which boot this is cannot be known now.
    pub(in crate::control) fn new(instance: String) -> io::Result<Transcript> {
        Ok(Transcript { header: header(instance, Place::ours()?), lines: Vec::new() })
    }

    pub(in crate::control) fn into_bytes(self) -> Vec<u8> {
        self.lines
    }

    /// What it tells.
    ///
    /// # Errors
    /// What of it is not understood.
    pub(in crate::control) fn read(bytes: &[u8]) -> Result<Kept, String> {
        let mut complaints = Vec::new();
        let told = reading::parse(bytes, &mut complaints)?;
        match complaints.first() {
            Some(complaint) => Err(complaint.clone()),
            None => Ok(told.into_kept(|_| true)),
        }
    }
}

impl Store for Transcript {
    fn note(&mut self, note: Note<'_>) {
        add_note(&mut self.lines, note);
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn wants_snapshot(&self) -> bool {
        false
    }

    fn begin_snapshot(&mut self, counters: Counters) {
        self.lines.clear();
        add_header(&mut self.lines, &mut self.header, counters);
    }
}

/// Goes on with the journal in this directory, which is locked by this descriptor.
///
/// # Errors
/// The descriptor is not that of the lock, or which boot this is cannot be known now.
pub(in crate::control) fn go_on(
    path: &Path,
    lock: OwnedFd,
    instance: String,
) -> io::Result<Box<dyn Store>> {
    let directory = StateDirectory::go_on(path, File::from(lock))?;
    Ok(Box::new(Journal::new(directory, instance, Place::ours()?)))
}
