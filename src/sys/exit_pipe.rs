//! Exit statuses on their way from a keeper to the daemons that it runs, one after the other.
//!
//! A pipe whose both ends the keeper holds: what one daemon has not taken waits for the next one.
//! A daemon copies the records out (tee(2)), acts on them, and only then consumes them, so that
//! one that is killed in between loses none.

use super::faults;
use crate::vocabulary::{ExitStatus, Pid};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{pipe2, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One record. The pages of a pipe hold a whole number of them: a write of one is atomic.
pub(crate) const RECORD_BYTES: usize = 32;
/// Wanted room, for 32,768 of them; as much as the system allows otherwise.
const PIPE_BYTES: i32 = 1 << 20;

/// A process that has ended, with what tells it from a later one of its number.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ExitRecord {
    /// Its number.
    pub(crate) pid: Pid,
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// When it started, in clock ticks (field 22 of proc_pid_stat(5)); 0 where /proc did not tell.
    pub(crate) started_ticks: u64,
    /// Inode of its pidfd where that is unique (pidfs, Linux 6.9), else 0.
    pub(crate) pidfd_inode: u64,
    /// When it was seen to have ended, in microseconds since 1970.
    pub(crate) ended_us: u64,
}

impl ExitRecord {
    /// What is known of a child that has ended and is not reaped yet.
    pub(crate) fn of_zombie(pid: Pid, status: ExitStatus) -> ExitRecord {
        ExitRecord {
            pid,
            status,
            started_ticks: started_ticks(pid).unwrap_or(0),
            pidfd_inode: pidfd_inode(pid).unwrap_or(0),
            ended_us: super::clock::now().wall.as_micros(),
        }
    }

    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let (head, tail) = bytes.split_at_mut(8);
        let raw = match self.status {
            ExitStatus::Exited(code) => i32::from(code) << 8,
            ExitStatus::Signaled(signal) => i32::from(signal),
            ExitStatus::Unknown => -1,
        };
        for (place, number) in head.chunks_exact_mut(4).zip([self.pid.number(), raw]) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        let numbers = [self.started_ticks, self.pidfd_inode, self.ended_us];
        for (place, number) in tail.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

/// Field 22 of proc_pid_stat(5), counted behind the command's name, which may hold anything.
fn started_ticks(pid: Pid) -> Option<u64> {
    faults::check("read(/proc/PID/stat)").ok()?;
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The file system of pidfds that have an inode each (PID_FS_MAGIC, Linux 6.9).
const PIDFS: FsType = FsType(0x5049_4446);

fn pidfd_inode(pid: Pid) -> Option<u64> {
    let fd = super::pidfd::open(pid).ok()?;
    (fstatfs(&fd).ok()?.filesystem_type() == PIDFS).then(|| fstat(&fd).ok())?.map(|s| s.st_ino)
}

/// The keeper's side.
#[derive(Debug)]
pub(crate) struct ExitStore {
    /// For the daemons. Open here, so that the records outlive each of them.
    reader: OwnedFd,
    writer: OwnedFd,
}

impl ExitStore {
    /// An empty one.
    pub(crate) fn new() -> Result<ExitStore, Errno> {
        faults::check("pipe2")?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // It holds fewer where the system does not let us.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(ExitStore { reader, writer })
    }

    /// Writes a record down. EAGAIN: there is no room until a daemon has taken some.
    pub(crate) fn put(&self, record: &ExitRecord) -> Result<(), Errno> {
        faults::check("write(exit pipe)")?;
        write(&self.writer, &record.to_bytes()).map(drop)
    }

    /// What each daemon gets.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// Becomes writable when there is room.
    pub(crate) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::read;

    fn record(number: i32, status: ExitStatus) -> ExitRecord {
        let pid = Pid::new(number).unwrap();
        ExitRecord { pid, status, started_ticks: 7, pidfd_inode: 8, ended_us: u64::MAX }
    }

    #[test]
    fn a_full_store_says_so_and_has_room_again() {
        let store = ExitStore::new().unwrap();
        let mut room = 0;
        while store.put(&record(1, ExitStatus::Exited(0))).is_ok() {
            room += 1;
        }
        assert!(room >= 4096 / RECORD_BYTES, "{room}");
        assert_eq!(store.put(&record(1, ExitStatus::Exited(0))), Err(Errno::EAGAIN));
        read(store.reader(), &mut [0; 4096]).unwrap();
        store.put(&record(1, ExitStatus::Exited(0))).unwrap();
    }

    #[test]
    fn the_dead_are_known_by_more_than_their_number() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        let seen = ExitRecord::of_zombie(pid, ExitStatus::Exited(0));
        child.wait().unwrap();
        assert!(seen.started_ticks > 0 && seen.ended_us > 0, "{seen:?}");
        let gone = ExitRecord::of_zombie(pid, ExitStatus::Exited(0));
        assert_eq!((gone.started_ticks, gone.pidfd_inode), (0, 0));
    }
}
