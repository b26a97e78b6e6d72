//! The descriptors of a child before its exec. The rules of `child` hold here too.

use super::raw::call;
use nix::libc;

/// Brings `streams`, all above 2, to 0, 1 and 2 and closes everything else but `keep`.
pub(super) fn arrange(streams: [i32; 3], keep: Option<i32>, close_range: bool) -> Result<(), i32> {
    for (target, source) in streams.into_iter().enumerate() {
        call(libc::SYS_dup3, [source as usize, target, 0])?;
    }
    if close_range { close_ranges(keep) } else { close_listed(keep) }
}

fn close_ranges(keep: Option<i32>) -> Result<(), i32> {
    let mut first = 3;
    if let Some(keep) = keep {
        let keep = keep as usize;
        if keep > first {
            call(libc::SYS_close_range, [first, keep.wrapping_sub(1), 0])?;
        }
        first = keep.wrapping_add(1);
    }
    call(libc::SYS_close_range, [first, u32::MAX as usize, 0]).map(drop)
}

/// The way of kernels before 5.9: every descriptor that /proc lists. /proc/self is the child
/// itself, whichever thread of the supervisor made it.
fn close_listed(keep: Option<i32>) -> Result<(), i32> {
    let path = c"/proc/self/fd";
    let flags = (libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as usize;
    let listing = call(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0])?;
    // Entries are aligned to 8 bytes.
    let mut buffer = [0_u64; 128];
    loop {
        let size = size_of_val(&buffer);
        let pointer = buffer.as_mut_ptr() as usize;
        let filled = call(libc::SYS_getdents64, [listing, pointer, size])?;
        if filled == 0 {
            break;
        }
        // SAFETY: the kernel has written `filled` bytes of plain data, at most the buffer's size.
        let entries = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), filled) };
        close_entries(entries, listing, keep);
    }
    call(libc::SYS_close, [listing]).map(drop)
}

/// `struct linux_dirent64`: 16 bytes, the entry's length (u16), a type, and the name.
fn close_entries(mut entries: &[u8], listing: usize, keep: Option<i32>) {
    while let Some(&[low, high]) = entries.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(name) = entries.get(19..length) else { return };
        if let Some(fd) = number(name)
            && fd >= 3
            && fd != listing
            && keep.is_none_or(|keep| keep as usize != fd)
        {
            let _ = call(libc::SYS_close, [fd]);
        }
        let Some(rest) = entries.get(length..) else { return };
        entries = rest;
    }
}

/// The digits before the first NUL; `None` for `.` and `..`.
fn number(name: &[u8]) -> Option<usize> {
    let mut value = None;
    for &byte in name {
        match byte {
            0 => break,
            b'0'..=b'9' => {
                let digit = usize::from(byte.wrapping_sub(b'0'));
                value = Some(value.unwrap_or(0_usize).wrapping_mul(10).wrapping_add(digit));
            }
            _ => return None,
        }
    }
    value
}

/// Makes the process group of this process that in the foreground of the terminal on descriptor 0.
pub(super) fn take_foreground() -> Result<(), i32> {
    let group = call(libc::SYS_getpid, [])? as i32;
    let pointer = std::ptr::from_ref(&group) as usize;
    call(libc::SYS_ioctl, [0, libc::TIOCSPGRP as usize, pointer]).map(drop)
}
