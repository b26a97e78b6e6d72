//! Waiting for a handful of descriptors, in a program without a supervisor (poll(2)).

use super::faults;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What is waited for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// There is something to read, or the other end is gone.
    Read,
    /// There is room to write, or nobody reads any more.
    Write,
}

/// Waits until one of the descriptors is ready, for so long at most (none: without limit), and
/// says of each whether it is. A signal ends the wait, too.
pub(crate) fn wait(
    wanted: &[(BorrowedFd<'_>, Interest)],
    timeout: Option<Duration>,
) -> Result<Vec<bool>, Errno> {
    faults::check("poll")?;
    let flags = |interest| match interest {
        Interest::Read => PollFlags::POLLIN,
        Interest::Write => PollFlags::POLLOUT,
    };
    let mut fds: Vec<PollFd<'_>> =
        wanted.iter().map(|&(fd, interest)| PollFd::new(fd, flags(interest))).collect();
    match poll(&mut fds, timeout.map_or(PollTimeout::NONE, rounded_up)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno),
    }
    Ok(fds.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}

/// In whole milliseconds: one that is cut off would be waited for again and again.
fn rounded_up(timeout: Duration) -> PollTimeout {
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
    i32::try_from(milliseconds)
        .ok()
        .and_then(|milliseconds| PollTimeout::try_from(milliseconds).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_ready_is_told_apart() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let wanted = [(ours.as_fd(), Interest::Read), (ours.as_fd(), Interest::Write)];
        assert_eq!(wait(&wanted, Some(Duration::ZERO)), Ok(vec![false, true]));
        assert_eq!(wait(&wanted[..1], Some(Duration::from_micros(1))), Ok(vec![false]));
        theirs.write_all(b"x").expect("room");
        assert_eq!(wait(&wanted[..1], None), Ok(vec![true]));
        drop(theirs);
        assert_eq!(wait(&wanted[..1], None), Ok(vec![true]));
    }

    #[test]
    fn a_wait_is_never_cut_to_nothing() {
        assert_eq!(rounded_up(Duration::from_nanos(1)), PollTimeout::from(1_u8));
        assert_eq!(rounded_up(Duration::from_secs(1 << 40)), PollTimeout::MAX);
    }
}
