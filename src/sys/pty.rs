//! Pseudo-terminals (pty(7)) for commands that are run in a task.

use super::faults;
use super::pipe::{Ids, set_nonblocking};
use crate::vocabulary::WindowSize;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::{Mode, fchmod};
#[cfg(feature = "control")]
use nix::sys::termios::{SpecialCharacterIndices, tcgetattr};
use nix::unistd::{Uid, fchown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// As grantpt(3) leaves it: others, and write(1) by way of the group tty.
const MODE: u32 = 0o620;

/// A new one: our side, which never blocks, and that of the command, which belongs to `owner`, so
/// that it can open it again by its name.
pub(crate) fn open_pair(size: WindowSize, owner: Option<Ids>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    faults::check("open /dev/ptmx")?;
    let master = open("/dev/ptmx", flags, Mode::empty())?;
    let locked: libc::c_int = 0;
    faults::check("ioctl(TIOCSPTLCK)")?;
    // SAFETY: TIOCSPTLCK reads one int at the address given, which is that of a living one.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) })?;
    // By descriptor, whatever is mounted at /dev/pts (Linux 4.13).
    faults::check("ioctl(TIOCGPTPEER)")?;
    // SAFETY: TIOCGPTPEER takes flags, and hands back a new descriptor or -1.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    let slave = Errno::result(slave)?;
    // SAFETY: the descriptor is new and nobody else's.
    let slave = unsafe { OwnedFd::from_raw_fd(slave) };
    if let Some((uid, _)) = owner {
        faults::check("fchown")?;
        fchown(&slave, Some(Uid::from_raw(uid)), None)?;
    }
    faults::check("fchmod")?;
    fchmod(&slave, Mode::from_bits_truncate(MODE))?;
    resize(master.as_fd(), size)?;
    set_nonblocking(master.as_fd(), true)?;
    Ok((master, slave))
}

/// Sets the size of a terminal; where it changes, its foreground processes get SIGWINCH.
pub(crate) fn resize(terminal: BorrowedFd<'_>, size: WindowSize) -> Result<(), Errno> {
    faults::check("ioctl(TIOCSWINSZ)")?;
    let size =
        libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize at the address given, which is that of a living
    // one.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop)
}

/// The size of a terminal; `None` where it is none, or does not know it.
#[cfg(feature = "cli")]
pub(crate) fn size(terminal: BorrowedFd<'_>) -> Option<WindowSize> {
    faults::check("ioctl(TIOCGWINSZ)").ok()?;
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one struct winsize to the address given, which is that of a living
    // one.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    let found = WindowSize { rows: size.ws_row, columns: size.ws_col };
    (result == 0 && found.rows > 0 && found.columns > 0).then_some(found)
}

/// The character that means end of file on a terminal, as it is set now.
#[cfg(feature = "control")]
pub(crate) fn end_of_file(terminal: BorrowedFd<'_>) -> u8 {
    /// Ctrl-D, which it is unless somebody has changed it.
    const DEFAULT: u8 = 4;
    if faults::check("ioctl(TCGETS)").is_err() {
        return DEFAULT;
    }
    let character = tcgetattr(terminal)
        .ok()
        .and_then(|modes| modes.control_chars.get(SpecialCharacterIndices::VEOF as usize).copied());
    character.filter(|&character| character != 0).unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use nix::unistd::{read, write};

    #[test]
    fn what_is_written_to_one_side_comes_out_of_the_other() {
        let size = WindowSize { rows: 7, columns: 70 };
        let (master, slave) = open_pair(size, Some((54_321, 0))).expect("a terminal");
        let status = fstat(&slave).expect("a status");
        assert_eq!((status.st_mode & 0o777, status.st_uid), (MODE, 54_321));
        let mut buffer = [0; 64];
        assert_eq!(read(&master, &mut buffer), Err(Errno::EAGAIN));
        write(&slave, b"hello").unwrap();
        assert_eq!(read(&master, &mut buffer), Ok(5));
        #[cfg(feature = "cli")]
        assert_eq!(super::size(slave.as_fd()), Some(size));
        drop(slave);
        assert_eq!(read(&master, &mut buffer), Err(Errno::EIO), "its end is told so");
    }

    #[test]
    #[cfg(feature = "control")]
    fn the_end_of_file_is_a_character() {
        let (master, _slave) = open_pair(WindowSize::default(), None).expect("a terminal");
        assert_eq!(end_of_file(master.as_fd()), 4);
    }
}
