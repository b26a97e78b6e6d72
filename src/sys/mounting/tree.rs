//! Calls on detached trees of mounts and on paths inside a root, for the child before its exec: the
//! rules of `child` hold here.

use crate::sys::raw::{self, Answer, call};
use crate::sys::trusted_path;
use nix::libc;
use std::ffi::CStr;

/// MOUNT_ATTR_* of linux/mount.h.
pub(in crate::sys) const READ_ONLY: u64 = 1;
/// See [`READ_ONLY`].
pub(super) const NO_SUID: u64 = 1 << 1;
/// See [`READ_ONLY`].
pub(super) const NO_DEVICES: u64 = 1 << 2;
/// See [`READ_ONLY`].
pub(super) const NO_EXEC: u64 = 1 << 3;

/// Of a device node of the host that is mounted. The device is written to all the same; the node,
/// which is the host's own, is not changed.
pub(super) const OF_NODES: u64 = READ_ONLY | NO_SUID | NO_EXEC;

/// MS_PRIVATE and MS_SLAVE of mount(2).
pub(super) const PRIVATE: u64 = 1 << 18;
/// See [`PRIVATE`].
pub(super) const SLAVE: u64 = 1 << 19;

const AT_RECURSIVE: usize = 0x8000;
const OPEN_TREE_CLONE: usize = 1;
const CLOEXEC: usize = libc::O_CLOEXEC as usize;
const EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;
/// MOVE_MOUNT_F_EMPTY_PATH and MOVE_MOUNT_T_EMPTY_PATH.
const BOTH_EMPTY: usize = 0x4 | 0x40;
/// Of fsconfig(2).
const SET_STRING: usize = 1;
/// See [`SET_STRING`].
const CREATE: usize = 6;
/// Of fsopen(2) and fsmount(2).
const FS_CLOEXEC: usize = 1;
/// Links and magic links: none is followed.
const NO_LINKS: u64 = libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;

const EMPTY: &CStr = c"";

fn at(path: &CStr) -> usize {
    path.as_ptr() as usize
}

/// A detached copy of what is mounted at `path`, or at the descriptor `from` where that is empty,
/// with all that is mounted below.
pub(in crate::sys) fn copy(from: usize, path: &CStr) -> Answer {
    let flags = OPEN_TREE_CLONE | CLOEXEC | AT_RECURSIVE | EMPTY_PATH;
    call(libc::SYS_open_tree, [from, at(path), flags])
}

/// The same of what a descriptor is about.
pub(super) fn copy_of(fd: usize) -> Answer {
    copy(fd, EMPTY)
}

/// The same of a path of the host, to which nobody's links lead but root's and ours: whoever may
/// change a directory on the way could have other places of the host shown to a task.
pub(super) fn copy_of_path(path: &CStr) -> Answer {
    let found = trusted_path::open(path, 0)?;
    let copy = copy_of(found);
    close(found);
    copy
}

/// On the whole tree. `propagation`: [`PRIVATE`], [`SLAVE`], or 0 to leave it.
pub(in crate::sys) fn set_attributes(tree: usize, add: u64, propagation: u64) -> Answer {
    // struct mount_attr: what is added, what is taken away, propagation, a user namespace.
    let attributes = [add, 0, propagation, 0];
    let (pointer, size) = (attributes.as_ptr() as usize, size_of_val(&attributes));
    let flags = AT_RECURSIVE | EMPTY_PATH;
    call(libc::SYS_mount_setattr, [tree, at(EMPTY), flags, pointer, size])
}

/// Mounts a detached tree on what `target` is about.
pub(super) fn attach(tree: usize, target: usize) -> Answer {
    call(libc::SYS_move_mount, [tree, at(EMPTY), target, at(EMPTY), BOTH_EMPTY])
}

/// A new file system, detached.
pub(super) fn make(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Answer {
    let context = call(libc::SYS_fsopen, [at(kind), FS_CLOEXEC])?;
    let made = configure(context, options)
        .and_then(|_| call(libc::SYS_fsmount, [context, FS_CLOEXEC, attributes as usize]));
    close(context);
    made
}

fn configure(context: usize, options: &[(&CStr, &CStr)]) -> Answer {
    for (name, value) in options {
        call(libc::SYS_fsconfig, [context, SET_STRING, at(name), at(value), 0])?;
    }
    call(libc::SYS_fsconfig, [context, CREATE, 0, 0, 0])
}

/// A path as if `root` were `/`: links and `..` stay inside. Without `follow` a link is an error.
pub(super) fn open_in(root: usize, path: &CStr, follow: bool) -> Answer {
    let links = if follow { libc::RESOLVE_NO_MAGICLINKS } else { NO_LINKS };
    raw::openat2(root, path, libc::O_PATH, libc::RESOLVE_IN_ROOT | links)
}

/// A path of the host.
pub(super) fn open(path: &CStr) -> Answer {
    let flags = (libc::O_PATH | libc::O_CLOEXEC) as usize;
    call(libc::SYS_openat, [libc::AT_FDCWD as usize, at(path), flags, 0])
}

pub(super) fn is_directory(fd: usize) -> bool {
    let flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    match call(libc::SYS_openat, [fd, at(c"."), flags, 0]) {
        Ok(itself) => {
            close(itself);
            true
        }
        Err(errno) => errno != libc::ENOTDIR,
    }
}

pub(super) fn make_directory(inside: usize, name: &CStr) -> Answer {
    call(libc::SYS_mkdirat, [inside, at(name), 0o755])
}

/// An empty file, as a place to mount a file on. Whatever is there already is an error, a link too.
pub(super) fn make_file(inside: usize, name: &CStr) -> Answer {
    call(libc::SYS_mknodat, [inside, at(name), (libc::S_IFREG | 0o644) as usize, 0])
}

pub(super) fn link(inside: usize, name: &CStr, to: &CStr) -> Answer {
    call(libc::SYS_symlinkat, [at(to), inside, at(name)])
}

pub(super) fn close(fd: usize) {
    let _ = call(libc::SYS_close, [fd]);
}

/// Everything below `/` gets what the host mounts, and the host nothing of ours.
pub(super) fn separate() -> Answer {
    let flags = libc::MS_SLAVE | libc::MS_REC;
    call(libc::SYS_mount, [0, at(c"/"), 0, flags as usize, 0])
}

/// The tree that covers `/` becomes the root. Where the root cannot be exchanged, in an initramfs,
/// it stays below, out of reach without CAP_SYS_ADMIN.
pub(super) fn enter(root: usize) -> Answer {
    call(libc::SYS_fchdir, [root])?;
    let here = at(c".");
    match call(libc::SYS_pivot_root, [here, here]) {
        // The old root lies on the new one now: pivot_root(2).
        Ok(_) => call(libc::SYS_umount2, [here, libc::MNT_DETACH as usize])?,
        Err(libc::EINVAL) => call(libc::SYS_chroot, [here])?,
        Err(errno) => return Err(errno),
    };
    call(libc::SYS_chdir, [at(c"/")])
}
