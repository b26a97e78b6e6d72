//! A process that an earlier supervisor has made: whether it is still that one, and how it ended.
//! It is not our child, so that waitid(2) tells nothing of it.

use super::faults;
use super::pidfd::{self, from_wait_status};
use crate::vocabulary::{ExitStatus, Pid, ProcessMark};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

/// The file system of pidfds that have an inode each (PID_FS_MAGIC, Linux 6.9). Before, all of
/// them share one.
const PIDFS: FsType = FsType(0x5049_4446);
/// Fields of /proc/PID/stat behind the command's name: the state is the first (proc_pid_stat(5)
/// counts it as the third).
const START_TIME: usize = 22 - 3;
const EXIT_CODE: usize = 52 - 3;

/// What a search for a process came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is there, or has ended and is not reaped.
    It(OwnedFd),
    /// It is gone; its number may be another's.
    Gone,
    /// That cannot be told.
    Unknown(Errno),
}

/// How things stand with it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It lives.
    Alive,
    /// It has ended.
    Ended(ExitStatus),
    /// It has ended, and how may become known when its parent reaps it.
    Unreaped,
    /// It has ended, and nobody can tell how.
    Unknown,
}

/// What tells a process from every other one. It must not have been reaped.
pub(crate) fn mark(pid: Pid, pidfd: Option<BorrowedFd<'_>>) -> Option<ProcessMark> {
    if let Some(inode) = pidfd.and_then(|fd| inode(fd).ok().flatten()) {
        return Some(ProcessMark::Inode(inode));
    }
    Some(ProcessMark::Start {
        ticks: start_ticks(pid).ok()??,
        time_namespace: namespace("time").ok()?,
        pid_namespace: namespace("pid").ok()?,
    })
}

/// Looks for a process by its number and its mark.
pub(crate) fn find(pid: Pid, mark: ProcessMark) -> Found {
    let fd = match pidfd::open(pid) {
        Ok(fd) => fd,
        // EINVAL: a thread has the number.
        Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Found::Gone,
        Err(errno) => return Found::Unknown(errno),
    };
    // What cannot be read now says nothing of the process.
    match is_of(&fd, pid, mark) {
        Ok(true) => Found::It(fd),
        Ok(false) => Found::Gone,
        Err(errno) => Found::Unknown(errno),
    }
}

/// Whether the process behind this descriptor has this mark.
fn is_of(fd: &OwnedFd, pid: Pid, mark: ProcessMark) -> Result<bool, Errno> {
    Ok(match mark {
        ProcessMark::Inode(known) => inode(fd.as_fd())? == Some(known),
        ProcessMark::Start { ticks, time_namespace, pid_namespace } => {
            time_namespace == namespace("time")?
                && pid_namespace == namespace("pid")?
                && start_ticks(pid)? == Some(ticks)
                // What was read was this one's, if it is not reaped by now.
                && !readiness(fd.as_fd()).contains(PollFlags::POLLHUP)
        }
    })
}

/// Whether it has ended, and how.
pub(crate) fn ending(pid: Pid, pidfd: BorrowedFd<'_>) -> Ending {
    let ready = readiness(pidfd);
    if !ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
        return Ending::Alive;
    }
    let raw = if ready.contains(PollFlags::POLLHUP) { None } else { zombie_status(pid) };
    // The number was its own as long as it was not reaped.
    let reaped = readiness(pidfd).contains(PollFlags::POLLHUP);
    match (raw, pidfd::exit_status(pidfd)) {
        (_, Some(status)) => Ending::Ended(status),
        (Some(raw), None) if !reaped => Ending::Ended(from_wait_status(raw)),
        (_, None) if reaped => Ending::Unknown,
        (_, None) => Ending::Unreaped,
    }
}

/// The raw status of a process that is not reaped, where we may know it. Others read 0, which is
/// a status as well, so that the right is asked for by another file with the same condition.
fn zombie_status(pid: Pid) -> Option<i32> {
    faults::check("read(/proc/PID/stat)").ok()?;
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read(path).ok()?;
    let fields = fields(&stat)?;
    if !fields.clone().next().is_some_and(|state| matches!(state, "Z" | "X")) {
        return None;
    }
    let status = fields.clone().nth(EXIT_CODE)?.parse().ok()?;
    let denied = std::fs::read_link(format!("/proc/{pid}/ns/user"))
        .is_err_and(|error| error.raw_os_error() != Some(Errno::ENOENT as i32));
    (status != 0 || !denied).then_some(status)
}

/// Its inode, where each pidfd has one of its own.
pub(super) fn inode(pidfd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    faults::check("fstatfs")?;
    if fstatfs(pidfd)?.filesystem_type() != PIDFS {
        return Ok(None);
    }
    faults::check("fstat")?;
    Ok(Some(fstat(pidfd)?.st_ino))
}

/// What poll(2) says of a pidfd: POLLIN once the process has ended, POLLHUP once it is reaped.
fn readiness(pidfd: BorrowedFd<'_>) -> PollFlags {
    let mut asked = [PollFd::new(pidfd, PollFlags::POLLIN)];
    if faults::check("poll").is_err() || poll(&mut asked, PollTimeout::ZERO).is_err() {
        return PollFlags::empty();
    }
    let [asked] = asked;
    asked.revents().unwrap_or(PollFlags::empty())
}

/// Inode of a namespace of ours, 0 where the kernel has none of that kind.
///
/// # Errors
/// It cannot be read now, which says nothing of it.
fn namespace(kind: &str) -> Result<u64, Errno> {
    faults::check("stat(/proc/self/ns)")?;
    match std::fs::metadata(format!("/proc/self/ns/{kind}")) {
        Ok(namespace) => Ok(namespace.ino()),
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT => Ok(0),
            errno => Err(errno),
        },
    }
}

/// Inode of our pid namespace, 0 where there is no /proc.
///
/// # Errors
/// It cannot be read now, which says nothing of it.
#[cfg(feature = "control")]
pub(crate) fn pid_namespace() -> Result<u64, Errno> {
    namespace("pid")
}

/// When a process started, in clock ticks; a zombie as well. None: it is gone.
pub(super) fn start_ticks(pid: Pid) -> Result<Option<u64>, Errno> {
    faults::check("read(/proc/PID/stat)")?;
    match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(fields(&stat).and_then(|mut all| all.nth(START_TIME)?.parse().ok())),
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            // The second: it went between open and read.
            Errno::ENOENT | Errno::ESRCH => Ok(None),
            errno => Err(errno),
        },
    }
}

/// The fields behind the command's name, which may hold anything.
pub(super) fn fields(stat: &[u8]) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    Some(std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sh(script: &str) -> (Child, Pid) {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        (child, pid)
    }

    fn until_ended(pid: Pid, pidfd: &OwnedFd) -> Ending {
        loop {
            match ending(pid, pidfd.as_fd()) {
                Ending::Alive => std::thread::yield_now(),
                ending => return ending,
            }
        }
    }

    #[test]
    fn a_process_is_found_by_either_mark_and_by_no_other() {
        let (mut child, pid) = sh("sleep 60");
        let pidfd = pidfd::open(pid).unwrap();
        let by_start = mark(pid, None).unwrap();
        assert!(matches!(by_start, ProcessMark::Start { ticks: 1.., .. }));
        let marks = [mark(pid, Some(pidfd.as_fd())).unwrap(), by_start];
        for mark in marks {
            assert!(matches!(find(pid, mark), Found::It(_)), "{mark:?}");
        }
        let ProcessMark::Start { ticks, time_namespace, pid_namespace } = by_start else { return };
        for other in [
            ProcessMark::Inode(7),
            ProcessMark::Start { ticks: ticks + 1, time_namespace, pid_namespace },
            ProcessMark::Start { ticks, time_namespace: 1, pid_namespace },
            ProcessMark::Start { ticks, time_namespace, pid_namespace: 1 },
        ] {
            assert!(matches!(find(pid, other), Found::Gone), "{other:?}");
        }
        child.kill().unwrap();
        // A zombie is still that process.
        assert_eq!(until_ended(pid, &pidfd), Ending::Ended(ExitStatus::Signaled(9)));
        assert!(matches!(find(pid, by_start), Found::It(_)));
        child.wait().unwrap();
        assert!(matches!(find(pid, by_start), Found::Gone));
    }

    #[test]
    fn the_end_of_one_that_is_not_ours_to_reap_is_told() {
        for (script, status) in [
            ("exit 7", ExitStatus::Exited(7)),
            ("exit 0", ExitStatus::Exited(0)),
            ("kill -15 $$", ExitStatus::Signaled(15)),
        ] {
            let (mut child, pid) = sh(script);
            let pidfd = pidfd::open(pid).unwrap();
            assert_eq!(until_ended(pid, &pidfd), Ending::Ended(status), "while it is a zombie");
            child.wait().unwrap();
            let reaped = ending(pid, pidfd.as_fd());
            assert!(matches!(reaped, Ending::Ended(_) | Ending::Unknown), "{reaped:?}");
            if crate::sys::own_process::kernel_is_at_least(6, 15) {
                assert_eq!(reaped, Ending::Ended(status), "once it was reaped");
            }
        }
    }
}
