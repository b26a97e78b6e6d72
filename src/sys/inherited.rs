//! Descriptors that whoever started us has passed on, by their number.

use super::faults;
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{FromRawFd, OwnedFd};

/// Low numbers are left to the supervisor, which lays out the streams of its children there.
const FIRST: i32 = 64;

/// Takes a descriptor that was passed to this process when it was started: it gets another number
/// and is closed at exec. To be called once for a number, and before anything else is opened,
/// since a number alone does not say whose it is. Standard output and error are copied, and stay.
///
/// # Errors
/// EBADF where there is no such descriptor, or it is standard input.
pub(crate) fn take(number: i32) -> Result<OwnedFd, Errno> {
    if number <= 0 {
        return Err(Errno::EBADF);
    }
    faults::check("fcntl(F_DUPFD_CLOEXEC)")?;
    // SAFETY: only numbers are passed.
    let copy = Errno::result(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, FIRST) })?;
    if number > 2 {
        // SAFETY: it was passed to this process by number, so that it is ours to close.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, IntoRawFd};

    #[test]
    fn a_descriptor_moves_up() {
        let (reader, _writer) = nix::unistd::pipe().expect("pipe");
        let taken = take(reader.into_raw_fd()).expect("taken");
        assert!(taken.as_raw_fd() >= FIRST);
        assert_eq!(take(0).map(drop), Err(Errno::EBADF));
        assert!(take(1).expect("a copy").as_raw_fd() >= FIRST);
        assert!(take(1).is_ok(), "it is still there");
        assert_eq!(take(19_999).map(drop), Err(Errno::EBADF));
    }
}
