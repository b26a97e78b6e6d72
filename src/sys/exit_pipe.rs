//! How processes have ended, written down for the daemons of a keeper: see `exit_reader`.

use super::adopted;
use super::clock;
use super::exit_reader::{ExitRecord, RECORD_BYTES};
use super::faults;
use super::pidfd;
use crate::vocabulary::{ExitStatus, Pid};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Wanted room, for 32,768 records; as much as the system allows otherwise.
const PIPE_BYTES: i32 = 1 << 20;

impl ExitRecord {
    /// What is known of a child that has ended and is not reaped yet.
    pub(crate) fn of_zombie(pid: Pid, status: ExitStatus) -> ExitRecord {
        let inode = pidfd::open(pid).and_then(|fd| adopted::inode(fd.as_fd()));
        ExitRecord {
            pid,
            status,
            started_ticks: adopted::start_ticks(pid).ok().flatten().unwrap_or(0),
            pidfd_inode: inode.ok().flatten().unwrap_or(0),
            time: clock::now().wall,
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
        let numbers = [self.started_ticks, self.pidfd_inode, self.time.as_micros()];
        for (place, number) in tail.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

/// The pipe, both ends of it.
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
    use crate::sys::exit_reader::ExitReader;
    use crate::vocabulary::{ProcessMark, Wall};

    fn record(number: i32, status: ExitStatus) -> ExitRecord {
        let pid = Pid::new(number).unwrap();
        let time = Wall::from_micros(1 << 50);
        ExitRecord { pid, status, started_ticks: 7, pidfd_inode: u64::MAX, time }
    }

    fn reader(store: &ExitStore) -> ExitReader {
        ExitReader::new(store.reader().try_clone_to_owned().unwrap())
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
        for number in 1..=2000 {
            store.put(&record(number, ExitStatus::Exited(1))).unwrap();
        }
        let mut first = reader(&store);
        assert_eq!(first.look().unwrap().len(), 2000);
        assert_eq!(first.look().unwrap(), [], "they come once");
        store.put(&record(2001, ExitStatus::Exited(1))).unwrap();
        let late = first.look().unwrap();
        assert_eq!(late.first().map(|record| record.pid.number()), Some(2001));
        drop(first);
        let mut second = reader(&store);
        assert_eq!(second.look().unwrap().len(), 2001);
        store.put(&record(1, ExitStatus::Exited(1))).unwrap();
        second.consume().unwrap();
        second.consume().unwrap();
        assert_eq!(second.look().unwrap().len(), 1);
        second.consume().unwrap();
        assert_eq!(second.look().unwrap(), []);
        assert!(!second.is_deserted());
        drop(store);
        assert!(second.is_deserted());
    }

    #[test]
    fn a_full_store_says_so_and_has_room_again() {
        let store = ExitStore::new().unwrap();
        let mut room = 0;
        while store.put(&record(1, ExitStatus::Exited(0))).is_ok() {
            room += 1;
        }
        assert_eq!(store.put(&record(1, ExitStatus::Exited(0))), Err(Errno::EAGAIN));
        let mut reader = reader(&store);
        assert_eq!(reader.look().unwrap().len(), room);
        reader.consume().unwrap();
        store.put(&record(1, ExitStatus::Exited(0))).unwrap();
    }

    #[test]
    fn the_dead_are_known_by_more_than_their_number() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        let pidfd = pidfd::open(pid).unwrap();
        let marks = [adopted::mark(pid, None), adopted::mark(pid, Some(pidfd.as_fd()))];
        let seen = ExitRecord::of_zombie(pid, ExitStatus::Exited(0));
        child.wait().unwrap();
        for mark in marks {
            assert!(seen.is_of(mark.unwrap()), "{seen:?} {mark:?}");
        }
        assert!(!seen.is_of(ProcessMark::Inode(1)));
        let gone = ExitRecord::of_zombie(pid, ExitStatus::Exited(0));
        assert_eq!((gone.started_ticks, gone.pidfd_inode), (0, 0));
    }
}
