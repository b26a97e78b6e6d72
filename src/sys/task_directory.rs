//! The task directory as the child finds it, and the execute bits of a command in it. The rules of
//! `child` hold here too.
//!
//! Bits are only ever changed by descriptor, beneath the task directory, on a regular file that has
//! one name and belongs to the task's user or to us: a link that the task made must not make
//! another's file readable. Nor must one on the way to the task directory. Without openat2(2)
//! (Linux 5.6) they are left as they are.

use super::program::TaskDirectory;
use super::raw::{self, Answer, call};
use super::trusted_path;
use nix::libc;
use std::ffi::CStr;

/// Checks that the directory is there, and makes the first command that is found in it executable.
pub(super) fn prepare(directory: &TaskDirectory) -> Result<(), i32> {
    let parent = match trusted_path::open(&directory.path, libc::O_DIRECTORY) {
        // Somebody's link leads there, if anything does: nothing there is ours to change.
        Err(libc::ELOOP) => return is_there(&directory.path),
        parent => parent?,
    };
    for command in &directory.commands {
        match open_beneath(parent, command) {
            Ok(file) => {
                add_execute_bits(file, directory);
                close(file);
                break;
            }
            Err(libc::ENOENT | libc::ENOTDIR) => {}
            // Whatever is there is what will be executed, or refused, as it is.
            Err(_) => break,
        }
    }
    close(parent);
    Ok(())
}

fn is_there(path: &CStr) -> Result<(), i32> {
    let flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    let path = path.as_ptr() as usize;
    call(libc::SYS_openat, [libc::AT_FDCWD as usize, path, flags, 0]).map(close)
}

fn close(fd: usize) {
    let _ = call(libc::SYS_close, [fd]);
}

fn open_beneath(parent: usize, path: &CStr) -> Answer {
    // Non-blocking, since it may be a FIFO.
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    raw::openat2(parent, path, flags, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS)
}

fn add_execute_bits(file: usize, directory: &TaskDirectory) {
    // SAFETY: all zeros are a valid struct statx.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let wanted =
        (libc::STATX_TYPE | libc::STATX_MODE | libc::STATX_NLINK | libc::STATX_UID) as usize;
    let (empty, pointer) = (c"".as_ptr() as usize, std::ptr::from_mut(&mut status) as usize);
    let answer =
        call(libc::SYS_statx, [file, empty, libc::AT_EMPTY_PATH as usize, wanted, pointer]);
    let mode = u32::from(status.stx_mode);
    let ours = status.stx_uid == directory.user || status.stx_uid == directory.own_user;
    let plain = mode & libc::S_IFMT == libc::S_IFREG && status.stx_nlink == 1;
    if answer.is_err() || !ours || !plain || may_execute(mode, status.stx_uid, directory.user) {
        return;
    }
    // Where it cannot be done (read-only file system), the exec says what is wrong.
    let _ = call(libc::SYS_fchmod, [file, (mode & 0o7777 | 0o555) as usize]);
}

fn may_execute(mode: u32, owner: u32, user: u32) -> bool {
    let needed = if user == 0 {
        0o111
    } else if user == owner {
        0o100
    } else {
        0o001
    };
    mode & needed != 0
}
