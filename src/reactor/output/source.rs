//! The reading end of what one run of a task writes.

use super::budget::Grown;
use super::path_of_pipe;
use crate::sys::failure::start_error;
use crate::sys::pipe::{self, Ids};
use crate::vocabulary::{Stage, StartError, StreamKind};
use nix::errno::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The reading end of what one run of a task writes; never blocks.
#[derive(Debug)]
pub(super) struct Source {
    fd: OwnedFd,
    /// Of this run.
    pub(super) run: u64,
    /// The name of it in the state directory.
    file: Option<Box<Path>>,
    /// A short read does not mean that there is no more: the end may stand behind it.
    pub(super) read_on: bool,
    /// It carries bulk.
    pub(super) bulk: bool,
    /// It was seen full.
    pub(super) seen_full: bool,
    /// It was made larger.
    pub(super) grown: Option<Grown>,
    /// An earlier supervisor has made it, and nobody was seen to hold it since.
    pub(super) orphaned: bool,
    /// It is watched with those of the crowd.
    pub(super) gathered: bool,
}

impl Source {
    /// Makes a pipe, in the state directory where there is one: our end and the task's.
    pub(super) fn make(
        state_dir: Option<&Path>,
        (name, run, kind): (&str, u64, StreamKind),
        owner: Option<Ids>,
    ) -> Result<(Source, OwnedFd), StartError> {
        let file = state_dir.map(|dir| dir.join(path_of_pipe(name, run, kind)).into_boxed_path());
        let made = match &file {
            None => pipe::make_pipe(owner),
            Some(path) => match pipe::make_named_pipe(path, owner) {
                // Of a supervisor that died before it noted the run.
                Err(Errno::EEXIST) => {
                    pipe::remove_named_pipe(path).and_then(|()| pipe::make_named_pipe(path, owner))
                }
                made => made,
            },
        };
        let (fd, task_end) = made.map_err(|errno| {
            let what = match &file {
                Some(path) => format!("make the FIFO {path:?} for {}", kind.as_str()),
                None => format!("make a pipe for {}", kind.as_str()),
            };
            start_error(Stage::Output, errno, what)
        })?;
        Ok((Source::new(fd, run, file), task_end))
    }

    /// Our end of a pipe that the program before this one has made.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(
        fd: OwnedFd,
        state_dir: Option<&Path>,
        (name, run, kind): (&str, u64, StreamKind),
        orphaned: bool,
    ) -> Source {
        let file = state_dir.map(|dir| dir.join(path_of_pipe(name, run, kind)).into_boxed_path());
        Source { orphaned, read_on: true, ..Source::new(fd, run, file) }
    }

    fn new(fd: OwnedFd, run: u64, file: Option<Box<Path>>) -> Source {
        Source {
            fd,
            run,
            file,
            read_on: false,
            bulk: false,
            seen_full: false,
            grown: None,
            orphaned: false,
            gathered: false,
        }
    }

    /// Our end of a pipe that an earlier supervisor has made in the state directory. `stored`:
    /// somebody has held it all the time.
    pub(super) fn reopen(
        state_dir: &Path,
        (name, run, kind): (&str, u64, StreamKind),
        stored: bool,
    ) -> Result<Source, Errno> {
        let file = state_dir.join(path_of_pipe(name, run, kind)).into_boxed_path();
        let fd = pipe::open_named_reader(&file)?;
        Ok(Source { orphaned: !stored, read_on: true, ..Source::new(fd, run, Some(file)) })
    }

    /// It outlives us: what leaves it must not pass through our memory, which does not.
    pub(super) fn is_durable(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bytes in it.
    pub(super) fn waiting_bytes(&self) -> u64 {
        // Asking a pipe cannot fail; if it does, reading tells.
        pipe::waiting_bytes(self.fd()).unwrap_or(0) as u64
    }

    /// Closes it, its name goes too. Merely dropped, it stays for the next supervisor.
    pub(super) fn discard(self) {
        if let Some(path) = &self.file
            && let Err(errno) = pipe::remove_named_pipe(path)
            && errno != Errno::ENOENT
        {
            log::warn!("cannot remove {path:?}: {}", errno.desc());
        }
    }
}
