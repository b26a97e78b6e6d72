//! Low descriptors that are kept for the streams of a child.
//!
//! A child that shares our descriptor table takes a copy of its low part only, whatever else is
//! open above: so its streams are brought down there first.

use super::failure::start_error;
use super::faults;
use super::raw::call;
use crate::vocabulary::{Stage, StartError};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::libc;
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// What becomes standard input, output and error of a task; `None`: /dev/null.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<RawFd>,
    pub(crate) stdout: Option<RawFd>,
    pub(crate) stderr: Option<RawFd>,
}

/// The reserved descriptors. All are /dev/null, close-on-exec, while no child is being made.
#[derive(Debug)]
pub(super) struct Staging {
    null: OwnedFd,
    slots: [OwnedFd; 3],
}

/// The streams of one child in their places; the places are /dev/null again once this is dropped,
/// or the writing end of a pipe would stay open here.
pub(super) struct Staged<'a> {
    staging: &'a Staging,
    /// What the child has to bring to 0, 1 and 2; all are above 2.
    pub(super) streams: [i32; 3],
}

impl Staging {
    pub(super) fn new() -> io::Result<Staging> {
        faults::check("open /dev/null")?;
        let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
        let low = || -> io::Result<OwnedFd> {
            faults::check("fcntl(F_DUPFD_CLOEXEC)")?;
            let fd = fcntl(&null, FcntlArg::F_DUPFD_CLOEXEC(3))?;
            // SAFETY: the descriptor is new and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        Ok(Staging { slots: [low()?, low()?, low()?], null: low()? })
    }

    /// The one that no child is given.
    pub(super) fn null(&self) -> BorrowedFd<'_> {
        self.null.as_fd()
    }

    /// The highest of them.
    pub(super) fn top(&self) -> i32 {
        self.slots.iter().map(AsRawFd::as_raw_fd).fold(self.null.as_raw_fd(), i32::max)
    }

    pub(super) fn stage(&self, streams: &Streams) -> Result<Staged<'_>, StartError> {
        let mut staged = Staged { staging: self, streams: [self.null.as_raw_fd(); 3] };
        let wanted = [("stdin", streams.stdin), ("stdout", streams.stdout)];
        let wanted = wanted.into_iter().chain([("stderr", streams.stderr)]);
        for (((name, source), slot), place) in
            wanted.zip(&self.slots).zip(staged.streams.iter_mut())
        {
            let Some(source) = source else { continue };
            duplicate(source, slot).map_err(|errno| {
                start_error(Stage::Output, errno, format!("hand its {name} to the task"))
            })?;
            *place = slot.as_raw_fd();
        }
        Ok(staged)
    }
}

/// dup3(2), which leaves nothing changed where it fails.
fn duplicate(source: RawFd, slot: &OwnedFd) -> Result<(), Errno> {
    faults::check("dup3")?;
    replace(source, slot)
}

fn replace(source: RawFd, slot: &OwnedFd) -> Result<(), Errno> {
    let (source, target) = (source as usize, slot.as_raw_fd() as usize);
    loop {
        match call(libc::SYS_dup3, [source, target, libc::O_CLOEXEC as usize]) {
            Ok(_) => return Ok(()),
            // EBUSY: another thread is just opening something, at any number.
            Err(libc::EINTR | libc::EBUSY) => {}
            Err(errno) => return Err(Errno::from_raw(errno)),
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        for slot in &self.staging.slots {
            if self.streams.contains(&slot.as_raw_fd()) {
                // Cannot fail: both are open, and stay so.
                let _ = replace(self.staging.null.as_raw_fd(), slot);
            }
        }
    }
}
