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

/// Takes a descriptor that the program before this one of the same process has left open: it is
/// closed at exec, and gets another number where its own is a low one and another can be had. To be
/// called once for a number.
///
/// # Errors
/// EBADF where there is no such descriptor, or it is a standard stream.
#[cfg(feature = "cli")]
pub(crate) fn take_handed(number: i32) -> Result<OwnedFd, Errno> {
    match number {
        ..=2 => Err(Errno::EBADF),
        // Where no more descriptors may be had, low numbers are no better than others.
        3..FIRST => take(number).or_else(|_| take_in_place(number)),
        _ => take_in_place(number),
    }
}

/// A descriptor that our service manager has passed.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Its name, where it has one (`LISTEN_FDNAMES`).
    pub(crate) name: Option<String>,
    /// It, close-on-exec.
    pub(crate) fd: OwnedFd,
}

/// The first that is passed (sd_listen_fds(3)).
const FIRST_PASSED: i32 = 3;

/// Takes the descriptors that our service manager has passed (`LISTEN_FDS`, where `LISTEN_PID` is
/// us). To be called once, and before anything else is opened.
///
/// # Errors
/// The number that is not open, or cannot be moved.
pub(crate) fn passed() -> Result<Vec<Passed>, (i32, Errno)> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let ours = number("LISTEN_PID").and_then(|pid| u32::try_from(pid).ok());
    let count = number("LISTEN_FDS").filter(|_| ours == Some(std::process::id()));
    let end = FIRST_PASSED.saturating_add(count.unwrap_or(0));
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    // All are there, so that none is moved to the number of one that is still to come.
    (FIRST_PASSED..end).try_for_each(|number| is_open(number).map_err(|errno| (number, errno)))?;
    let mut all = Vec::new();
    for number in FIRST_PASSED..end {
        let fd = if number < FIRST { take(number) } else { take_in_place(number) };
        let name = names.next().filter(|name| !name.is_empty()).map(str::to_owned);
        all.push(Passed { name, fd: fd.map_err(|errno| (number, errno))? });
    }
    Ok(all)
}

fn is_open(number: i32) -> Result<(), Errno> {
    // SAFETY: only numbers are passed.
    Errno::result(unsafe { libc::fcntl(number, libc::F_GETFD) }).map(drop)
}

/// One whose number is out of the way.
fn take_in_place(number: i32) -> Result<OwnedFd, Errno> {
    faults::check("fcntl(F_SETFD)")?;
    // SAFETY: only numbers are passed.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it was passed to this process by number, so that it is ours.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
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
