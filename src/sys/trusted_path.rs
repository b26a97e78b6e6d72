//! Paths that others may have a hand in. A symbolic link leads to wherever its maker wants, with
//! our rights and not with theirs: it is followed where root or we have made it.
//!
//! The rules of `child` hold here: raw calls, and nothing is allocated.

use super::faults;
use super::raw::{self, Answer, call};
use nix::errno::Errno;
use nix::libc;
use std::ffi::{CStr, CString};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Symbolic links that the kernel follows in one path.
const LINKS_MAX: u32 = 40;
/// Longest path, with its NUL.
const PATH_BYTES: usize = libc::PATH_MAX as usize;
/// PROC_SUPER_MAGIC of linux/magic.h.
const PROC: u64 = 0x9fa0;

/// A directory by its path (O_PATH).
///
/// # Errors
/// ELOOP where somebody else's symbolic link is on the way, or one that is none (/proc/PID/root).
pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    faults::check("openat2")?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let fd = open(&path, libc::O_DIRECTORY).map_err(Errno::from_raw)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: it was opened just now, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A file by its path (O_PATH), on which there is no symbolic link at all.
///
/// # Errors
/// ELOOP where there is one, ENOSYS before Linux 5.6.
pub(crate) fn open_without_links(path: &Path) -> Result<OwnedFd, Errno> {
    faults::check("openat2")?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let start = libc::AT_FDCWD as usize;
    let fd = raw::openat2(start, &path, libc::O_PATH, libc::RESOLVE_NO_SYMLINKS)
        .map_err(Errno::from_raw)?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: it was opened just now, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether what this user has made is as good as our own: root, we, and whoever has the root
/// directory (in a user namespace, where root is not to be seen, its owner stands for root).
pub(crate) fn is_trusted(uid: u32) -> bool {
    let own = || call(libc::SYS_geteuid, []).is_ok_and(|own| own == uid as usize);
    let of_root = || status(libc::AT_FDCWD as usize, c"/").is_ok_and(|root| root.stx_uid == uid);
    uid == 0 || own() || of_root()
}

/// Opens a path (O_PATH); `flags` may be O_DIRECTORY.
pub(super) fn open(path: &CStr, flags: i32) -> Answer {
    let start = libc::AT_FDCWD as usize;
    match raw::openat2(start, path, libc::O_PATH | flags, libc::RESOLVE_NO_SYMLINKS) {
        // A link is there, or this kernel (before 5.6) or a filter does not know the call.
        Err(libc::ELOOP | libc::ENOSYS | libc::EPERM) => Walk::along(path)?.arrive(flags),
        answer => answer,
    }
}

/// A walk along a path, part by part.
struct Walk {
    /// What is still ahead stands at the end, so that a link's target goes before it. The last byte
    /// stays NUL.
    ahead: [u8; 2 * PATH_BYTES],
    from: usize,
    links: u32,
}

impl Walk {
    fn along(path: &CStr) -> Result<Walk, i32> {
        let mut walk = Walk { ahead: [0; 2 * PATH_BYTES], from: 2 * PATH_BYTES - 1, links: 0 };
        walk.put_ahead(path.to_bytes())?;
        Ok(walk)
    }

    fn put_ahead(&mut self, path: &[u8]) -> Result<(), i32> {
        let from = self.from.checked_sub(path.len()).ok_or(libc::ENAMETOOLONG)?;
        let room = self.ahead.get_mut(from..self.from).ok_or(libc::ENAMETOOLONG)?;
        room.copy_from_slice(path);
        self.from = from;
        Ok(())
    }

    fn is_absolute(&self) -> bool {
        self.ahead.get(self.from) == Some(&b'/')
    }

    /// The next part, with its NUL in the place of what parts it from the one behind it.
    fn next(&mut self) -> Option<&CStr> {
        let end = self.ahead.len() - 1;
        while self.from < end && self.ahead.get(self.from) == Some(&b'/') {
            self.from += 1;
        }
        let begin = self.from;
        while self.from < end && self.ahead.get(self.from) != Some(&b'/') {
            self.from += 1;
        }
        let part = self.from;
        if part == begin {
            return None;
        }
        if let Some(slash) = self.ahead.get_mut(part) {
            *slash = 0;
        }
        self.from = (part + 1).min(end);
        CStr::from_bytes_with_nul(self.ahead.get(begin..=part)?).ok()
    }

    fn arrive(mut self, flags: i32) -> Answer {
        let start = if self.is_absolute() { c"/" } else { c"." };
        let mut here = open_part(libc::AT_FDCWD as usize, start)?;
        loop {
            match self.step(here) {
                Ok(Step::Into(next)) => {
                    close(here);
                    here = next;
                }
                Ok(Step::Stay) => {}
                Ok(Step::Over) => break,
                Err(errno) => {
                    close(here);
                    return Err(errno);
                }
            }
        }
        let wrong =
            |status: libc::statx| flags & libc::O_DIRECTORY != 0 && kind(&status) != libc::S_IFDIR;
        match status(here, c"").map(wrong) {
            Ok(false) => Ok(here),
            Ok(true) => {
                close(here);
                Err(libc::ENOTDIR)
            }
            Err(errno) => {
                close(here);
                Err(errno)
            }
        }
    }

    fn step(&mut self, here: usize) -> Result<Step, i32> {
        let Some(part) = self.next() else { return Ok(Step::Over) };
        let next = open_part(here, part)?;
        match status(next, c"") {
            Ok(status) if kind(&status) == libc::S_IFLNK => {
                let followed = self.follow(next, &status);
                close(next);
                followed
            }
            Ok(_) => Ok(Step::Into(next)),
            Err(errno) => {
                close(next);
                Err(errno)
            }
        }
    }

    fn follow(&mut self, link: usize, status: &libc::statx) -> Result<Step, i32> {
        self.links += 1;
        if self.links > LINKS_MAX || !is_trusted(status.stx_uid) {
            return Err(libc::ELOOP);
        }
        let mut target = [0_u8; PATH_BYTES];
        let (empty, pointer) = (c"".as_ptr() as usize, target.as_mut_ptr() as usize);
        let bytes = call(libc::SYS_readlinkat, [link, empty, pointer, PATH_BYTES])?;
        let target = target.get(..bytes).filter(|target| target.len() < PATH_BYTES);
        let target = target.ok_or(libc::ENAMETOOLONG)?;
        // What links of /proc say is not where they lead, but for the relative ones.
        if target.first() == Some(&b'/') && is_of_proc(link)? {
            return Err(libc::ELOOP);
        }
        // Behind it comes what is left of the path.
        self.put_ahead(b"/")?;
        self.put_ahead(target)?;
        match self.is_absolute() {
            true => Ok(Step::Into(open_part(libc::AT_FDCWD as usize, c"/")?)),
            false => Ok(Step::Stay),
        }
    }
}

enum Step {
    Into(usize),
    /// A link, whose target is ahead now.
    Stay,
    Over,
}

fn open_part(directory: usize, part: &CStr) -> Answer {
    let flags = (libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC) as usize;
    call(libc::SYS_openat, [directory, part.as_ptr() as usize, flags, 0])
}

fn close(fd: usize) {
    let _ = call(libc::SYS_close, [fd]);
}

fn kind(status: &libc::statx) -> u32 {
    u32::from(status.stx_mode) & libc::S_IFMT
}

fn status(directory: usize, path: &CStr) -> Result<libc::statx, i32> {
    // SAFETY: all zeros are a valid struct statx.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    let wanted = (libc::STATX_TYPE | libc::STATX_UID) as usize;
    let pointer = std::ptr::from_mut(&mut status) as usize;
    let flags = libc::AT_EMPTY_PATH as usize;
    call(libc::SYS_statx, [directory, path.as_ptr() as usize, flags, wanted, pointer])?;
    Ok(status)
}

fn is_of_proc(fd: usize) -> Result<bool, i32> {
    // SAFETY: all zeros are a valid struct statfs.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    call(libc::SYS_fstatfs, [fd, std::ptr::from_mut(&mut found) as usize])?;
    Ok(found.f_type as u64 == PROC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    fn opened(path: &Path) -> Result<PathBuf, Errno> {
        let fd = open_directory(path)?;
        Ok(fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap())
    }

    /// The walk alone, as where the kernel has no openat2(2).
    fn walked(path: &Path) -> Result<PathBuf, Errno> {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        let walk = Walk::along(&path).map_err(Errno::from_raw)?;
        let fd = walk.arrive(libc::O_DIRECTORY).map_err(Errno::from_raw)?;
        let path = fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        close(fd);
        Ok(path)
    }

    #[test]
    fn our_own_links_lead_where_they_say() {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b/c")).unwrap();
        symlink("b", base.join("a/relative")).unwrap();
        symlink(base.join("a"), base.join("absolute")).unwrap();
        symlink("../absolute/relative", base.join("a/up")).unwrap();
        fs::write(base.join("file"), "").unwrap();
        for open in [opened, walked] {
            for path in ["a/b/c", "a/relative/c", "absolute/b/c/", "a/up/c", "a/b/../b//./c"] {
                assert_eq!(open(&base.join(path)), Ok(base.join("a/b/c")), "{path}");
            }
            assert_eq!(open(Path::new("/")), Ok("/".into()));
            assert_eq!(open(&base.join("missing")), Err(Errno::ENOENT));
            assert_eq!(open(&base.join("file")), Err(Errno::ENOTDIR));
            assert_eq!(open(&base.join("file/x")), Err(Errno::ENOTDIR));
        }
    }

    #[test]
    fn links_without_end_and_those_of_proc_lead_nowhere() {
        let place = tempfile::tempdir().unwrap();
        symlink("loop", place.path().join("loop")).unwrap();
        let root = format!("/proc/{}/root", std::process::id());
        for open in [opened, walked] {
            assert_eq!(open(&place.path().join("loop")), Err(Errno::ELOOP));
            assert_eq!(open(Path::new(&root)), Err(Errno::ELOOP));
            // Not one that names another file of /proc.
            assert!(open(Path::new("/proc/self/task")).is_ok());
        }
        let long = format!("/{}", "x/".repeat(PATH_BYTES));
        assert_eq!(opened(Path::new(&long)), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn a_link_of_somebody_else_is_not_followed() {
        if !super::super::own_process::is_root() {
            println!("skipped: a link of another user: not root");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        symlink("a", base.join("link")).unwrap();
        symlink("link", base.join("outer")).unwrap();
        let outer = base.join("outer/b");
        for open in [opened, walked] {
            assert_eq!(open(&outer), Ok(base.join("a/b")));
        }
        std::os::unix::fs::lchown(base.join("link"), Some(1000), None).unwrap();
        for open in [opened, walked] {
            assert_eq!(open(&outer), Err(Errno::ELOOP));
        }
    }
}
