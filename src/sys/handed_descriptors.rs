//! Descriptors that stay open when this process goes on with another program (execve(2)).

use super::faults;
use super::inherited;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Descriptors that would survive an exec, until this is dropped.
#[derive(Debug)]
pub(crate) struct LetThrough {
    numbers: Vec<RawFd>,
}

/// Has these descriptors of this process survive an exec. All others are closed by it, but those
/// that were never to be.
///
/// # Errors
/// The one with which it failed, of which there is none where all are open. None survives then.
pub(crate) fn let_through(numbers: Vec<RawFd>) -> Result<LetThrough, (RawFd, Errno)> {
    let mut through = LetThrough { numbers: Vec::with_capacity(numbers.len()) };
    for number in numbers {
        set_flags(number, FdFlag::empty()).map_err(|errno| (number, errno))?;
        through.numbers.push(number);
    }
    Ok(through)
}

impl Drop for LetThrough {
    fn drop(&mut self) {
        for &number in &self.numbers {
            // They are open, so that it cannot fail.
            let _ = set_flags(number, FdFlag::FD_CLOEXEC);
        }
    }
}

fn set_flags(number: RawFd, flags: FdFlag) -> Result<(), Errno> {
    faults::check("fcntl(F_SETFD)")?;
    // SAFETY: only flags are changed, and EBADF is told where nothing is open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(fd, FcntlArg::F_SETFD(flags)).map(drop)
}

/// Descriptors that the program before this one has left open, by their numbers there. What is not
/// taken is closed with this.
#[derive(Debug, Default)]
pub(crate) struct HandedDescriptors {
    by_number: HashMap<RawFd, OwnedFd>,
}

impl HandedDescriptors {
    /// Takes them, close-on-exec, away from the low numbers. To be called once, and before anything
    /// else is opened.
    ///
    /// # Errors
    /// The one that is not open, or cannot be moved.
    pub(crate) fn of(numbers: &[RawFd]) -> Result<HandedDescriptors, (RawFd, Errno)> {
        let mut by_number = HashMap::with_capacity(numbers.len());
        for &number in numbers {
            let fd = inherited::take_handed(number).map_err(|errno| (number, errno))?;
            by_number.insert(number, fd);
        }
        Ok(HandedDescriptors { by_number })
    }

    /// The one with this number, once.
    pub(crate) fn take(&mut self, number: RawFd) -> Option<OwnedFd> {
        self.by_number.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};

    fn survives(fd: RawFd) -> bool {
        // SAFETY: the test has it open.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        fcntl(fd, FcntlArg::F_GETFD).unwrap() == 0
    }

    #[test]
    fn they_survive_as_long_as_they_are_let_through() {
        let files = [(); 2].map(|()| File::open("/dev/null").unwrap());
        let numbers = files.each_ref().map(AsRawFd::as_raw_fd);
        let through = let_through(numbers.to_vec()).unwrap();
        assert!(numbers.iter().all(|&number| survives(number)));
        drop(through);
        assert!(!numbers.iter().any(|&number| survives(number)));
        // None survives where one is not open.
        let failed = let_through(vec![numbers[0], 999_999]).unwrap_err();
        assert_eq!(failed, (999_999, Errno::EBADF));
        assert!(!survives(numbers[0]));
    }

    #[test]
    fn each_is_taken_once() {
        let number = File::open("/dev/null").unwrap().into_raw_fd();
        let mut handed = HandedDescriptors::of(&[number]).unwrap();
        assert!(handed.take(number).is_some_and(|fd| !survives(fd.as_raw_fd())));
        assert!(handed.take(number).is_none());
        assert_eq!(HandedDescriptors::of(&[0]).unwrap_err(), (0, Errno::EBADF));
        assert_eq!(HandedDescriptors::of(&[999_999]).unwrap_err(), (999_999, Errno::EBADF));
    }
}
