//! The file for a collector: replaced as a whole, so that nobody sees half of it.

use crate::vocabulary::cause;
use crate::vocabulary::limits::SINK_LOG_EVERY;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

/// The file and the next one, which is being written beside it.
#[derive(Debug)]
pub(super) struct MetricsFile {
    path: PathBuf,
    draft_path: PathBuf,
    draft: Option<File>,
    logged: Option<Instant>,
}

impl MetricsFile {
    /// Finds out whether a file can be written there.
    pub(super) fn new(path: PathBuf) -> io::Result<MetricsFile> {
        let mut draft_path = path.clone().into_os_string();
        draft_path.push(".new");
        let draft_path = PathBuf::from(draft_path);
        if path.is_dir() {
            return Err(io::Error::new(ErrorKind::IsADirectory, "it is a directory"));
        }
        let mut file = MetricsFile { path, draft_path, draft: None, logged: None };
        file.draft = Some(file.make()?);
        file.discard();
        Ok(file)
    }

    /// Whatever stands there from before is not written to: it may be a link that leads elsewhere.
    fn make(&self) -> io::Result<File> {
        match std::fs::remove_file(&self.draft_path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(&self.draft_path)
    }

    /// Begins the next one; whether that was possible.
    pub(super) fn begin(&mut self) -> bool {
        match self.make() {
            Ok(file) => {
                self.draft = Some(file);
                true
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Adds to it; whether that was possible.
    pub(super) fn write(&mut self, piece: &str) -> bool {
        let Some(file) = &mut self.draft else { return false };
        match file.write_all(piece.as_bytes()) {
            Ok(()) => true,
            Err(error) => self.failed(&error),
        }
    }

    /// Puts it in the place of the old one.
    pub(super) fn finish(&mut self) {
        self.draft = None;
        if let Err(error) = std::fs::rename(&self.draft_path, &self.path) {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &io::Error) -> bool {
        self.discard();
        if self.logged.is_none_or(|at| at.elapsed() >= SINK_LOG_EVERY) {
            self.logged = Some(Instant::now());
            log::warn!(
                "cannot write the figures to {:?}, tries again: {}",
                self.path,
                cause(error)
            );
        }
        false
    }

    fn discard(&mut self) {
        self.draft = None;
        // It may not be there, and nobody reads it.
        let _ = std::fs::remove_file(&self.draft_path);
    }
}

impl Drop for MetricsFile {
    /// Figures of a supervisor that is gone would be taken for those of a living one.
    fn drop(&mut self) {
        self.discard();
        let _ = std::fs::remove_file(&self.path);
    }
}
