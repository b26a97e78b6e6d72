//! Waiting for descriptors, where there is no event loop: epoll(7), level-triggered.

use super::faults;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Ready descriptors that one wait tells at most.
const EVENTS: usize = 16;

/// What is waited for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum For {
    /// Something to read.
    Reading,
    /// Room to write.
    Writing,
    /// Nothing but its end: a hangup or an error.
    End,
}

/// A set of descriptors.
#[derive(Debug)]
pub(crate) struct Readiness(Epoll);

impl Readiness {
    /// An empty one.
    pub(crate) fn new() -> Result<Readiness, Errno> {
        faults::check("epoll_create1")?;
        Ok(Readiness(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds a descriptor under a number of the caller's. EPERM: this kind is always ready.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, what: For, key: u64) -> Result<(), Errno> {
        let flags = match what {
            For::Reading => EpollFlags::EPOLLIN,
            For::Writing => EpollFlags::EPOLLOUT,
            For::End => EpollFlags::empty(),
        };
        faults::check("epoll_ctl")?;
        self.0.add(fd, EpollEvent::new(flags, key))
    }

    /// Takes one out. To be done before it is closed: others may have it open as well.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // It can only be absent already.
        let _ = self.0.delete(fd);
    }

    /// Waits until some are ready, for so long at most; their numbers.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> Result<Vec<u64>, Errno> {
        let patience = match patience {
            None => EpollTimeout::NONE,
            Some(patience) => {
                // Rounded up: a wait that ends too early would be one too many.
                let millis = patience.as_nanos().div_ceil(1_000_000);
                EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX))
                    .unwrap_or(EpollTimeout::ZERO)
            }
        };
        let mut events = [EpollEvent::empty(); EVENTS];
        faults::check("epoll_wait")?;
        match self.0.wait(&mut events, patience) {
            Ok(ready) => Ok(events.iter().take(ready).map(EpollEvent::data).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn each_tells_what_it_was_added_for() {
        let set = Readiness::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (kept, other) = std::io::pipe().unwrap();
        set.add(reader.as_fd(), For::Reading, 1).unwrap();
        set.add(kept.as_fd(), For::End, 2).unwrap();
        assert_eq!(set.wait(Some(Duration::ZERO)), Ok(vec![]));
        writer.write_all(b"x").unwrap();
        assert_eq!(set.wait(None), Ok(vec![1]));
        set.remove(reader.as_fd());
        (&other).write_all(b"x").unwrap();
        assert_eq!(set.wait(Some(Duration::from_micros(1))), Ok(vec![]));
        drop(other);
        assert_eq!(set.wait(None), Ok(vec![2]));
        set.add(writer.as_fd(), For::Writing, 3).unwrap();
        set.remove(kept.as_fd());
        assert_eq!(set.wait(None), Ok(vec![3]));
    }
}
