//! How processes have ended, as a keeper tells the daemons that it runs, one after the other.
//!
//! A pipe whose both ends the keeper holds: what one daemon has not taken waits for the next one.
//! Records are copied out (tee(2)), acted upon, and only then consumed, so that a daemon that is
//! killed in between loses none. docs/keeper.md has the format.

use super::faults;
use super::pidfd::from_wait_status;
use super::pipe::{self, waiting_bytes};
use crate::vocabulary::{ExitStatus, Pid, ProcessMark, Wall};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of a record. The pages of a pipe hold a whole number of them: a write of one is atomic.
pub(crate) const RECORD_BYTES: usize = 32;

/// A process that has ended, with what tells it from a later one of its number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExitRecord {
    /// Its number.
    pub(crate) pid: Pid,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// When it started, in clock ticks (field 22 of proc_pid_stat(5)); 0: not known.
    pub(crate) started_ticks: u64,
    /// Inode of its pidfd where that is unique (pidfs, Linux 6.9), else 0.
    pub(crate) pidfd_inode: u64,
    /// When it was seen to have ended.
    pub(crate) time: Wall,
}

impl ExitRecord {
    /// Whether it is of the process with this mark.
    pub(crate) fn is_of(&self, mark: ProcessMark) -> bool {
        match mark {
            ProcessMark::Inode(inode) => inode == self.pidfd_inode,
            // The keeper reads it in our namespaces, or it would not be our parent's parent.
            ProcessMark::Start { ticks, .. } => ticks == self.started_ticks,
        }
    }

    fn read(bytes: &[u8; RECORD_BYTES]) -> Option<ExitRecord> {
        let (head, tail) = bytes.split_at(8);
        let mut small = head.as_chunks::<4>().0.iter().map(|number| i32::from_ne_bytes(*number));
        let mut large = tail.as_chunks::<8>().0.iter().map(|number| u64::from_ne_bytes(*number));
        Some(ExitRecord {
            pid: Pid::new(small.next()?)?,
            status: match small.next()? {
                -1 => ExitStatus::Unknown,
                raw => from_wait_status(raw),
            },
            started_ticks: large.next()?,
            pidfd_inode: large.next()?,
            time: Wall::from_micros(large.next()?),
        })
    }
}

/// The reading end of the pipe.
#[derive(Debug)]
pub(crate) struct ExitReader {
    pipe: OwnedFd,
    /// Bytes that were looked at and are still in it.
    seen: usize,
}

impl ExitReader {
    /// Takes what a keeper has passed.
    pub(crate) fn new(pipe: OwnedFd) -> ExitReader {
        ExitReader { pipe, seen: 0 }
    }

    /// The records that were not looked at yet. They stay in the pipe until
    /// [`ExitReader::consume`].
    pub(crate) fn look(&mut self) -> Result<Vec<ExitRecord>, Errno> {
        if !self.has_more() {
            return Ok(Vec::new());
        }
        let bytes = self.copy()?;
        let (records, _) = bytes.get(self.seen..).unwrap_or_default().as_chunks::<RECORD_BYTES>();
        self.seen += size_of_val(records);
        Ok(records.iter().filter_map(ExitRecord::read).collect())
    }

    /// What is in the pipe, from its beginning on: all of it where a pipe as large can be had, else
    /// what has been consumed makes room for the rest.
    fn copy(&self) -> Result<Vec<u8>, Errno> {
        faults::check("pipe2")?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        faults::check("fcntl(F_GETPIPE_SZ)")?;
        let size = fcntl(&self.pipe, FcntlArg::F_GETPIPE_SZ)?;
        if fcntl(&writer, FcntlArg::F_GETPIPE_SZ)? < size {
            // Refused to a user with many pipes (pipe-user-pages-soft).
            let _ = faults::check("fcntl(F_SETPIPE_SZ)")
                .and_then(|()| fcntl(&writer, FcntlArg::F_SETPIPE_SZ(size)));
        }
        faults::check("tee")?;
        let size = usize::try_from(size).unwrap_or(0);
        let copied = tee(&self.pipe, &writer, size, SpliceFFlags::SPLICE_F_NONBLOCK)?;
        drop(writer);
        let mut bytes = vec![0; copied];
        let mut got = 0;
        while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match pipe::read(reader.as_fd(), rest)? {
                0 => return Err(Errno::EIO),
                more => got += more,
            }
        }
        Ok(bytes)
    }

    /// What was looked at has been dealt with.
    pub(crate) fn consume(&mut self) -> Result<(), Errno> {
        let mut buffer = [0; 128 * RECORD_BYTES];
        while self.seen > 0 {
            let most = self.seen.min(buffer.len());
            match buffer.get_mut(..most).map(|buffer| pipe::read(self.pipe.as_fd(), buffer)) {
                Some(Ok(0)) | None => self.seen = 0,
                Some(Ok(got)) => self.seen = self.seen.saturating_sub(got),
                // Somebody else has taken them.
                Some(Err(Errno::EAGAIN)) => self.seen = 0,
                Some(Err(errno)) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether there are records that were not looked at.
    pub(crate) fn has_more(&self) -> bool {
        waiting_bytes(self.pipe.as_fd()).is_ok_and(|waiting| waiting >= self.seen + RECORD_BYTES)
    }

    /// Whether the keeper has gone: nobody else has the other end.
    pub(crate) fn is_deserted(&self) -> bool {
        let mut asked = [PollFd::new(self.pipe.as_fd(), PollFlags::empty())];
        poll(&mut asked, PollTimeout::ZERO).is_ok()
            && asked.iter().any(|fd| fd.revents().is_some_and(|r| r.contains(PollFlags::POLLHUP)))
    }
}

impl AsFd for ExitReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
