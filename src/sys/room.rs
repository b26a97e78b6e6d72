//! Writing to a pipe or terminal of somebody else's without ever waiting for its reader.

use super::faults;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What a pipe that has room takes for certain without waiting (PIPE_BUF).
pub(crate) const CERTAIN_BYTES: usize = 4096;

/// Whether a write of up to [`CERTAIN_BYTES`] would not wait, or would fail at once.
pub(crate) fn has_room(fd: impl AsFd) -> bool {
    if faults::check("poll").is_err() {
        return false;
    }
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(ready) if ready > 0)
}

/// Another way to the same terminal or pipe that does not wait; `fd` itself, which may be shared
/// with others, stays as it is. A socket cannot be opened so: its own descriptor is copied.
pub(crate) fn open_without_waiting(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    faults::check("openat")?;
    let path = format!("/proc/thread-self/fd/{}", fd.as_fd().as_raw_fd());
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    nix::fcntl::open(path.as_str(), flags, Mode::empty()).or_else(|_| {
        let copied = fd.as_fd().try_clone_to_owned();
        copied.map_err(|error| error.raw_os_error().map_or(Errno::EBADF, Errno::from_raw))
    })
}

/// A pipe whose reading end does not wait, and whose writing end does, as programs expect it.
/// Whoever holds the writing end may open it again (/dev/stdout), whatever user it has become.
pub(crate) fn relay_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    faults::check("pipe2")?;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    faults::check("fcntl(F_SETFL)")?;
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    faults::check("fchmod")?;
    nix::sys::stat::fchmod(&writer, Mode::from_bits_truncate(0o666))?;
    Ok((reader, writer))
}
