//! Exit statuses on their way from a keeper to the daemons that it runs, one after the other.
//!
//! A pipe whose both ends the keeper holds: what one daemon has not taken waits for the next one.
//! A daemon copies the records out (tee(2)), acts on them, and only then consumes them, so that
//! one that is killed in between loses none.

use super::faults;
use crate::vocabulary::{ExitStatus, Pid};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, tee};
use nix::libc;
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{pipe2, read, write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// One record. The pages of a pipe hold a whole number of them: a write of one is atomic.
pub(crate) const RECORD_BYTES: usize = 32;
/// Wanted room, for 32,768 of them; as much as the system allows otherwise.
const PIPE_BYTES: i32 = 1 << 20;
/// Records that are looked at in one piece.
const RECORDS_AT_ONCE: usize = 128;

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

    fn from_bytes(bytes: &[u8; RECORD_BYTES]) -> Option<ExitRecord> {
        let (head, tail) = bytes.split_at(8);
        let mut small = head.as_chunks::<4>().0.iter().map(|number| i32::from_ne_bytes(*number));
        let mut large = tail.as_chunks::<8>().0.iter().map(|number| u64::from_ne_bytes(*number));
        Some(ExitRecord {
            pid: Pid::new(small.next()?)?,
            status: match small.next()? {
                -1 => ExitStatus::Unknown,
                raw => super::pidfd::from_wait_status(raw),
            },
            started_ticks: large.next()?,
            pidfd_inode: large.next()?,
            ended_us: large.next()?,
        })
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

/// The daemon's side.
#[derive(Debug)]
pub(crate) struct ExitReader {
    pipe: OwnedFd,
    /// Copies of records pass through it: a pipe cannot be looked into.
    copies: (OwnedFd, OwnedFd),
    /// Records that were looked at and are still in the pipe.
    seen: usize,
}

impl ExitReader {
    /// Takes the reading end that a keeper has passed.
    pub(crate) fn new(pipe: OwnedFd) -> Result<ExitReader, Errno> {
        faults::check("pipe2")?;
        let copies = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(ExitReader { pipe, copies, seen: 0 })
    }

    /// Looks at the next records, which stay in the pipe until [`ExitReader::consume`]. Until then
    /// there are no others. Empty: there are none now.
    pub(crate) fn look(&mut self) -> Result<Vec<ExitRecord>, Errno> {
        if self.seen > 0 {
            return Ok(Vec::new());
        }
        faults::check("tee")?;
        let most = RECORDS_AT_ONCE * RECORD_BYTES;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        match tee(&self.pipe, &self.copies.1, most, flags) {
            Ok(_) => {}
            Err(Errno::EAGAIN) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
        let mut bytes = [0; RECORDS_AT_ONCE * RECORD_BYTES];
        let got = match read(&self.copies.0, &mut bytes) {
            Err(Errno::EAGAIN) => 0,
            got => got?,
        };
        let (records, _) = bytes.get(..got).unwrap_or_default().as_chunks::<RECORD_BYTES>();
        self.seen = records.len();
        Ok(records.iter().filter_map(ExitRecord::from_bytes).collect())
    }

    /// What was looked at is dealt with.
    pub(crate) fn consume(&mut self) -> Result<(), Errno> {
        let mut bytes = [0; RECORDS_AT_ONCE * RECORD_BYTES];
        if let Some(room) = bytes.get_mut(..self.seen * RECORD_BYTES).filter(|r| !r.is_empty()) {
            faults::check("read(exit pipe)")?;
            read(&self.pipe, room)?;
            self.seen = 0;
        }
        Ok(())
    }

    /// Whether the keeper has gone: nobody else holds the other end.
    pub(crate) fn is_deserted(&self) -> bool {
        let mut fd = libc::pollfd { fd: self.pipe.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        let polled = unsafe { libc::poll(&raw mut fd, 1, 0) };
        polled > 0 && fd.revents & libc::POLLHUP != 0
    }
}

impl AsFd for ExitReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: i32, status: ExitStatus) -> ExitRecord {
        let pid = Pid::new(number).unwrap();
        ExitRecord { pid, status, started_ticks: 7, pidfd_inode: 8, ended_us: u64::MAX }
    }

    fn reader(store: &ExitStore) -> ExitReader {
        ExitReader::new(store.reader().try_clone_to_owned().unwrap()).unwrap()
    }

    #[test]
    fn every_status_comes_as_it_was_told() {
        let store = ExitStore::new().unwrap();
        let told = [
            record(1, ExitStatus::Exited(0)),
            record(i32::MAX, ExitStatus::Exited(255)),
            record(3, ExitStatus::Signaled(64)),
            record(4, ExitStatus::Unknown),
        ];
        for record in &told {
            store.put(record).unwrap();
        }
        assert_eq!(reader(&store).look().unwrap(), told);
    }

    #[test]
    fn what_a_daemon_has_only_looked_at_waits_for_the_next() {
        let store = ExitStore::new().unwrap();
        for number in 1..=200 {
            store.put(&record(number, ExitStatus::Exited(1))).unwrap();
        }
        let mut first = reader(&store);
        let seen = first.look().unwrap();
        assert_eq!(seen.len(), RECORDS_AT_ONCE);
        assert_eq!(first.look().unwrap(), [], "they come once");
        drop(first);
        let mut second = reader(&store);
        assert_eq!(second.look().unwrap(), seen);
        second.consume().unwrap();
        let rest = second.look().unwrap();
        assert_eq!(rest.first().map(|record| record.pid.number()), Some(129));
        assert_eq!(rest.len(), 72);
        second.consume().unwrap();
        second.consume().unwrap();
        assert_eq!(second.look().unwrap(), []);
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
        let mut reader = reader(&store);
        reader.look().unwrap();
        reader.consume().unwrap();
        store.put(&record(1, ExitStatus::Exited(0))).unwrap();
        assert!(!reader.is_deserted());
        drop(store);
        assert!(reader.is_deserted());
    }
}
