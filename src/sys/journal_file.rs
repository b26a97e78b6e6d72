//! A file of the state directory that is only added to, and takes the place of another.

use super::faults;
use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes of one write(2). In tests the system takes little at a time, as one does whose disk
/// becomes full.
const PIECE_BYTES: usize = if cfg!(test) { 400 } else { usize::MAX };

/// Open for adding. A signal interrupts none of its calls.
#[derive(Debug)]
pub(crate) struct JournalFile(File);

impl JournalFile {
    /// Opens it (0600); made where there is none.
    ///
    /// # Errors
    /// What open(2) says.
    pub(crate) fn open(path: &Path) -> io::Result<JournalFile> {
        let mut open = OpenOptions::new();
        open.append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
        call("open(journal)", || open.open(path)).map(JournalFile)
    }

    /// Adds all of it. After an error a part of it may be there.
    ///
    /// # Errors
    /// What write(2) says.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = rest.get(..PIECE_BYTES).unwrap_or(rest);
            match call("write(journal)", || self.0.write(piece))? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => rest = rest.get(written..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Cuts off what stands behind this size.
    ///
    /// # Errors
    /// What ftruncate(2) says.
    pub(crate) fn cut(&mut self, size: u64) -> io::Result<()> {
        call("ftruncate(journal)", || self.0.set_len(size))
    }

    /// Its bytes.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub(crate) fn size(&self) -> io::Result<u64> {
        call("fstat(journal)", || self.0.metadata()).map(|found| found.len())
    }
}

/// Puts a file in the place of another one, in one step.
///
/// # Errors
/// What rename(2) says.
pub(crate) fn replace(new: &Path, path: &Path) -> io::Result<()> {
    call("rename(journal)", || std::fs::rename(new, path))
}

/// Makes a call, again where a signal has interrupted it.
fn call<T>(name: &'static str, mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match faults::check(name).map_err(io::Error::from).and_then(|()| make()) {
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
            made => return made,
        }
    }
}
