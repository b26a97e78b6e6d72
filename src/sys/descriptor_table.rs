//! Room in this process's table of descriptors, ahead of need.
//!
//! A table that is too small for the next descriptor is replaced by one of twice the size. Where
//! anybody shares it, the kernel waits for a grace period of RCU then, 10 to 40 ms, with whoever
//! wants that descriptor (`expand_fdtable` in fs/file.c). A child that shares our table shares it
//! already when its pidfd is made, so that a launch would be the one to wait. Nobody shares it
//! between launches, where the same costs microseconds.

use super::raw::call;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// So many may be opened between two launches.
const MARGIN: RawFd = 64;

/// What is known of the table.
#[derive(Debug, Default)]
pub(super) struct DescriptorTable {
    /// It has room for descriptors below this.
    room: Cell<RawFd>,
}

impl DescriptorTable {
    /// Makes the table larger where it may soon be too small; `newest` is a descriptor of ours.
    /// Where that cannot be, it stays as it is: it is larger in time anyway.
    pub(super) fn make_room(&self, newest: BorrowedFd<'_>) {
        let number = newest.as_raw_fd();
        if number.saturating_add(MARGIN) < self.room.get() {
            return;
        }
        let room = (number.saturating_add(MARGIN) as u32 + 1).next_power_of_two().max(256);
        self.room.set(RawFd::try_from(room).unwrap_or(RawFd::MAX));
        // None can be had at the limit or above, so the last one below it does as well.
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        let highest = u64::from(room).min(limit).saturating_sub(1) as usize;
        let duplicate =
            call(libc::SYS_fcntl, [number as usize, libc::F_DUPFD_CLOEXEC as usize, highest]);
        if let Ok(duplicate) = duplicate {
            let _ = call(libc::SYS_close, [duplicate]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};

    /// Descriptors that the table has room for, as the kernel says.
    fn size() -> RawFd {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:"));
        line.unwrap().trim().parse().unwrap()
    }

    #[test]
    fn a_table_grows_before_it_is_full() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let at = |lowest: RawFd| {
            let number = call(
                libc::SYS_fcntl,
                [null.as_raw_fd() as usize, libc::F_DUPFD_CLOEXEC as usize, lowest as usize],
            );
            // SAFETY: it has just been made.
            unsafe { OwnedFd::from_raw_fd(number.unwrap() as RawFd) }
        };
        let limit = getrlimit(Resource::RLIMIT_NOFILE).unwrap().0 as RawFd;
        let full = at(size().min(limit - 2) - 1);
        let table = DescriptorTable::default();
        table.make_room(full.as_fd());
        assert!(size() > full.as_raw_fd() + 1, "{} for {full:?}", size());
        // At the limit there is nothing to be had, and nothing happens.
        table.make_room(at(limit - 1).as_fd());
        assert!(size() >= limit);
    }
}
