//! Room for the low descriptors of a process that belongs to the supervisor alone.

use super::faults;
use super::raw::call;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};

/// Highest descriptor that is moved out of the way.
const LOW_MAX: i32 = 64;

/// Puts /dev/null on those of 0 to 2 that are missing, and moves what was inherited at 3 to 64
/// above that, so that the spawner's own descriptors are low ones. For a program that does nothing
/// but supervise, first of all in it. Returns where things have gone: (from, to).
///
/// # Errors
/// No descriptor is left.
pub fn clear_low_descriptors() -> io::Result<Vec<(i32, i32)>> {
    loop {
        faults::check("open /dev/null")?;
        let null = open("/dev/null", OFlag::O_RDWR, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            break;
        }
        // It stays, as a stream of ours.
        let _ = null.into_raw_fd();
    }
    let mut moved = Vec::new();
    for from in 3..=LOW_MAX {
        let Ok(flags) = call(libc::SYS_fcntl, [from as usize, libc::F_GETFD as usize]) else {
            continue;
        };
        let duplicate = match flags as i32 & libc::FD_CLOEXEC {
            0 => libc::F_DUPFD,
            _ => libc::F_DUPFD_CLOEXEC,
        };
        faults::check("fcntl(F_DUPFD)")?;
        let above = LOW_MAX as usize + 1;
        let to = call(libc::SYS_fcntl, [from as usize, duplicate as usize, above])
            .map_err(Errno::from_raw)?;
        let _ = call(libc::SYS_close, [from as usize]);
        moved.push((from, to as i32));
    }
    Ok(moved)
}
