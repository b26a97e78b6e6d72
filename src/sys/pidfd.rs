//! A descriptor of a process: the one name of it that never means another.

use super::faults;
use crate::vocabulary::{ExitStatus, Pid, Signal};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Opens the process of this id, whoever's child it is (pidfd_open(2), Linux 5.3).
pub(crate) fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    faults::check("pidfd_open")?;
    // SAFETY: plain numbers go in; the kernel hands back a new descriptor (close-on-exec) or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.number(), 0) };
    let fd = Errno::result(fd)? as i32;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Another descriptor of the same process.
pub(crate) fn duplicate(pidfd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    faults::check("fcntl(F_DUPFD_CLOEXEC)")?;
    let duplicate = pidfd.try_clone_to_owned();
    duplicate.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Sends a signal to that very process (pidfd_send_signal(2), Linux 5.1).
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    faults::check("pidfd_send_signal")?;
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means that of kill(2).
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.number(), info, 0)
    };
    Errno::result(result).map(drop)
}

/// `PIDFD_SIGNAL_PROCESS_GROUP`.
const SIGNAL_PROCESS_GROUP: u32 = 1 << 2;

/// Signals every member of the process group that this very process leads, or led while members
/// of it are left (Linux 6.9, EINVAL before). `None` only asks whether there is one: else ESRCH.
pub(crate) fn signal_group(pidfd: BorrowedFd<'_>, signal: Option<Signal>) -> Result<(), Errno> {
    faults::check("pidfd_send_signal")?;
    let number = signal.map_or(0, Signal::number);
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: as above.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            number,
            info,
            SIGNAL_PROCESS_GROUP,
        )
    };
    Errno::result(result).map(drop)
}

/// `struct pidfd_info` of linux/pidfd.h as of Linux 6.15.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`: the exit code is filled in.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

nix::ioctl_readwrite!(pidfd_get_info, 0xFF, 11, PidfdInfo);

/// How a process ended that somebody else has reaped (PIDFD_GET_INFO, Linux 6.15). `None` while
/// nobody has, and on kernels that cannot tell.
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    faults::check("ioctl(PIDFD_GET_INFO)").ok()?;
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the struct is as the kernel has it, and its size is part of the request number.
    unsafe { pidfd_get_info(pidfd.as_raw_fd(), &mut info) }.ok()?;
    (info.mask & PIDFD_INFO_EXIT != 0).then(|| from_wait_status(info.exit_code))
}

/// Decodes the raw status of wait(2).
pub(super) fn from_wait_status(raw: i32) -> ExitStatus {
    if libc::WIFSIGNALED(raw) {
        ExitStatus::Signaled(libc::WTERMSIG(raw) as u8)
    } else {
        ExitStatus::Exited(libc::WEXITSTATUS(raw) as u8)
    }
}
