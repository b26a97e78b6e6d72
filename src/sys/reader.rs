//! Reads small files of the kernel, again and again, into one buffer.

use super::faults;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::fmt::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Holds any file of one record that is read here; memory.stat, the longest, has about 3 KiB.
const BUFFER_BYTES: usize = 16 << 10;

/// A buffer for paths and one for what stands there. Nothing is allocated for a read.
#[derive(Debug)]
pub(crate) struct Reader {
    path: String,
    buffer: Box<[u8]>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { path: String::new(), buffer: vec![0; BUFFER_BYTES].into_boxed_slice() }
    }
}

impl Reader {
    /// Reads a file of one record, which the kernel hands out in one piece.
    pub(crate) fn read(&mut self, at: At<'_>, path: fmt::Arguments<'_>) -> Result<&[u8], Errno> {
        let file = self.open(at, path)?;
        let got = read_once(&file, &mut self.buffer)?;
        Ok(self.buffer.get(..got).unwrap_or_default())
    }

    /// Opens a file that is read in pieces.
    pub(crate) fn open(&mut self, at: At<'_>, path: fmt::Arguments<'_>) -> Result<OwnedFd, Errno> {
        self.path.clear();
        // Writing to a string does not fail.
        let _ = self.path.write_fmt(path);
        faults::check("openat(/proc or cgroup file)")?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        match at {
            At::Root => nix::fcntl::open(self.path.as_str(), flags, Mode::empty()),
            At::Directory(directory) => openat(directory, self.path.as_str(), flags, Mode::empty()),
        }
    }

    /// The next piece of an open file, at most `bytes` of it; empty at the end.
    pub(crate) fn read_piece(&mut self, file: &OwnedFd, bytes: usize) -> Result<&[u8], Errno> {
        let got = read_once(file, self.buffer.get_mut(..bytes).unwrap_or_default())?;
        Ok(self.buffer.get(..got).unwrap_or_default())
    }
}

/// Where a path begins.
#[derive(Copy, Clone, Debug)]
pub(crate) enum At<'a> {
    Root,
    Directory(BorrowedFd<'a>),
}

fn read_once(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    faults::check("read(/proc or cgroup file)")?;
    loop {
        match nix::unistd::read(file.as_fd(), buffer) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}
