//! A listening Unix socket that nobody but those it is for can ever connect to.

use super::faults;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, Backlog as AcceptQueue, SockFlag, SockType, UnixAddr, bind, getsockname,
    getsockopt, listen, socket, sockopt,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, chown};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Binds a socket of mode 0600, or 0660 for the group `gid`. At no moment is it open to others:
/// Linux takes the mode of the file from that of the unbound socket.
pub(crate) fn bind_private(path: &Path, gid: Option<u32>) -> Result<UnixListener, Errno> {
    faults::check("bind")?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    let opened = match gid {
        None => Ok(()),
        Some(gid) => share(path, gid, 0o660),
    };
    let listening = opened.and_then(|()| listen(&fd, AcceptQueue::new(BACKLOG)?));
    match listening {
        Ok(()) => Ok(fd.into()),
        Err(errno) => {
            let _ = std::fs::remove_file(path);
            Err(errno)
        }
    }
}

/// A directory that is locked for others who ask for the same, as long as this lives (flock(2)).
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _locked: Flock<File>,
}

impl DirectoryLock {
    /// Locks a directory; none: somebody else has.
    pub(crate) fn take(directory: &Path) -> Result<Option<DirectoryLock>, Errno> {
        faults::check("flock")?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(directory);
        let opened = opened.map_err(|error| errno_of(&error))?;
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(_locked) => Ok(Some(DirectoryLock { _locked })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno),
        }
    }
}

/// Makes a listener that an earlier process has made one of this process: clients are told whom
/// they are connected to (SO_PEERCRED).
pub(crate) fn listen_again(listener: &UnixListener) -> Result<(), Errno> {
    faults::check("listen")?;
    listen(listener, AcceptQueue::new(BACKLOG)?)?;
    listener
        .set_nonblocking(true)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Gives a file to a group, then lets the group in.
pub(crate) fn share(path: &Path, gid: u32, mode: u32) -> Result<(), Errno> {
    faults::check("chown")?;
    chown(path, None::<Uid>, Some(Gid::from_raw(gid)))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|error| errno_of(&error))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Holds on to a file without opening it: while this lives, its inode number is not used again.
pub(crate) fn pin(path: &Path) -> io::Result<File> {
    faults::check("open")?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Whether it is a Unix stream socket that listens.
pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::AcceptConn) == Ok(true)
        && getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream)
        && getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok()
}

/// Whether it is an end of a stream. Whoever is at the other end may have left already.
pub(crate) fn is_stream(fd: BorrowedFd<'_>) -> bool {
    getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream)
        && getsockopt(&fd, sockopt::AcceptConn) == Ok(false)
}
