//! The files and FIFOs that output goes to: found, checked, made and renamed without following a
//! link that somebody else may have put there.

use super::faults;
use super::pipe::{Ids, give_to, reopen, set_nonblocking};
use super::trusted_path::{self, is_trusted};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::uio::pread;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, geteuid, mkfifoat, unlinkat};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// Why a sink cannot be used: what was tried, and why it failed.
#[derive(Debug)]
pub(crate) struct SinkError {
    /// `None` where the kernel had no part in it.
    pub(crate) errno: Option<Errno>,
    /// What was tried, on what; or what is wrong.
    pub(crate) what: String,
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match self.errno {
            Some(errno) => write!(f, ": {}", errno.desc()),
            None => Ok(()),
        }
    }
}

fn failed(what: impl Into<String>) -> impl FnOnce(Errno) -> SinkError {
    move |errno| SinkError { errno: Some(errno), what: what.into() }
}

fn refused(what: impl Into<String>) -> SinkError {
    SinkError { errno: None, what: what.into() }
}

/// A name in a directory that is held open.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    directory: OwnedFd,
    /// The last part of the path.
    pub(crate) name: &'a str,
}

/// Somebody may make and remove the name while we look for it; after so many times we give up.
const ATTEMPTS: usize = 8;
/// A longer number is not ours: counting on from it must not overflow.
const NUMBER_DIGITS_MAX: usize = 15;

impl<'a> Place<'a> {
    /// Where an absolute path leads. Inside `task_dir`, where the task's user may have put
    /// anything, no symbolic link is followed.
    pub(crate) fn find(path: &'a str, task_dir: Option<&str>) -> Result<Place<'a>, SinkError> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Err(refused("does not name a file"));
        }
        let inside = task_dir
            .map(|dir| dir.trim_end_matches('/'))
            .and_then(|dir| Some((dir, parent.strip_prefix(dir)?)))
            .filter(|(_, rest)| rest.is_empty() || rest.starts_with('/'));
        let directory = match inside {
            Some((dir, rest)) => descend(open_directory(dir)?, rest)?,
            None => open_directory(parent)?,
        };
        Ok(Place { directory, name })
    }

    /// Our own end of the FIFO here, for reading and writing, never blocking. Made if absent.
    pub(crate) fn open_fifo(&self, owner: Option<Ids>) -> Result<OwnedFd, SinkError> {
        for _ in 0..ATTEMPTS {
            match self.look(self.name) {
                Ok((fd, stat)) => {
                    must_be(SFlag::S_IFIFO, &stat)?;
                    self.must_be_harmless(&stat, owner)?;
                    return reopen(fd.as_fd(), OFlag::O_RDWR | OFlag::O_NONBLOCK)
                        .map_err(failed("open it by way of /proc/thread-self/fd"));
                }
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed("open it")(errno)),
            }
            match self.make_fifo(owner) {
                Ok(()) | Err(SinkError { errno: Some(Errno::EEXIST), .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(failed("open it")(Errno::EAGAIN))
    }

    fn make_fifo(&self, owner: Option<Ids>) -> Result<(), SinkError> {
        faults::check("mkfifoat").map_err(failed("make the FIFO"))?;
        mkfifoat(&self.directory, self.name, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(failed("make the FIFO"))?;
        let given = self.give_fifo(owner);
        if given.is_err() {
            // The first failure is what is told.
            let _ = self.remove(self.name);
        }
        given.map_err(failed("give the FIFO to the task's user"))
    }

    /// Only what we have just made changes hands: another's FIFO may have taken its name.
    fn give_fifo(&self, owner: Option<Ids>) -> Result<(), Errno> {
        let Some((uid, gid)) = owner else { return Ok(()) };
        let (fd, stat) = self.look(self.name)?;
        let ours = kind(&stat) == SFlag::S_IFIFO
            && stat.st_uid == geteuid().as_raw()
            && stat.st_nlink == 1;
        if !ours {
            return Ok(());
        }
        faults::check("fchownat")?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        fchownat(&fd, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH)
    }

    /// The regular file `name` in this directory, for appending, blocking. Made if absent.
    pub(crate) fn open_file(&self, name: &str, owner: Option<Ids>) -> Result<OwnedFd, SinkError> {
        let append = OFlag::O_WRONLY | OFlag::O_APPEND;
        for _ in 0..ATTEMPTS {
            match self.look(name) {
                Ok((fd, stat)) => {
                    must_be(SFlag::S_IFREG, &stat)?;
                    self.must_be_harmless(&stat, owner)?;
                    // A lease on the file would hold a blocking open.
                    let file = reopen(fd.as_fd(), append | OFlag::O_NONBLOCK)
                        .map_err(failed("open it by way of /proc/thread-self/fd"))?;
                    set_nonblocking(file.as_fd(), false).map_err(failed("open it"))?;
                    return Ok(file);
                }
                Err(Errno::ENOENT) => {}
                Err(errno) => return Err(failed("open it")(errno)),
            }
            let make = append | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            faults::check("openat").map_err(failed("make the file"))?;
            let mode = Mode::S_IRUSR | Mode::S_IWUSR;
            match openat(&self.directory, name, make | OFlag::O_CLOEXEC, mode) {
                Ok(file) => {
                    let given = give_to(file.as_fd(), owner);
                    if given.is_err() {
                        // The first failure is what is told.
                        let _ = self.remove(name);
                    }
                    given.map_err(failed("give the file to the task's user"))?;
                    return Ok(file);
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(failed("make the file")(errno)),
            }
        }
        Err(failed("open it")(Errno::EAGAIN))
    }

    /// What a name stands for, without opening it.
    fn look(&self, name: &str) -> Result<(OwnedFd, FileStat), Errno> {
        faults::check("openat")?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.directory, name, flags, Mode::empty())?;
        faults::check("fstat")?;
        let stat = fstat(&fd)?;
        Ok((fd, stat))
    }

    /// The regular file `name` in this directory, for reading; `None` where there is none.
    #[cfg(feature = "control")]
    pub(crate) fn open_to_read(&self, name: &str) -> Result<Option<OwnedFd>, SinkError> {
        let (fd, stat) = match self.look(name) {
            Ok(found) => found,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed("open it")(errno)),
        };
        must_be(SFlag::S_IFREG, &stat)?;
        reopen(fd.as_fd(), OFlag::O_RDONLY | OFlag::O_NONBLOCK)
            .map(Some)
            .map_err(failed("open it by way of /proc/thread-self/fd"))
    }

    /// What is there may be somebody's trap where others can make files: another name of a file
    /// that they may not write to themselves, or a file of theirs that waits for what we write. As
    /// the kernel guards what is made (proc_sys_fs(5): protected_hardlinks, protected_regular).
    fn must_be_harmless(&self, stat: &FileStat, owner: Option<Ids>) -> Result<(), SinkError> {
        faults::check("fstat").map_err(failed("look at its directory"))?;
        let directory = fstat(&self.directory).map_err(failed("look at its directory"))?;
        let is_open = directory.st_mode & 0o022 != 0;
        let is_ours = is_trusted(directory.st_uid);
        if is_ours && !is_open {
            return Ok(());
        }
        if stat.st_nlink > 1 && (is_ours || stat.st_uid != directory.st_uid) {
            let links = stat.st_nlink;
            return Err(refused(format!(
                "has {links} names, in a directory that others may write to: it could be another's \
                 file"
            )));
        }
        let is_sticky = directory.st_mode & Mode::S_ISVTX.bits() != 0;
        let of_task = owner.is_some_and(|(uid, _)| uid == stat.st_uid);
        let of_directory = stat.st_uid == directory.st_uid;
        if is_open && is_sticky && !of_task && !of_directory && !is_trusted(stat.st_uid) {
            let user = stat.st_uid;
            return Err(refused(format!(
                "belongs to user {user}, in a directory that all may write to: it could be a trap"
            )));
        }
        Ok(())
    }

    /// Whether the directory has this name.
    pub(crate) fn has(&self, name: &str) -> Result<bool, SinkError> {
        let look = || {
            faults::check("fstatat")?;
            fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        };
        match look() {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed(format!("look for {name:?}"))(errno)),
        }
    }

    /// Renames within the directory; what had the new name is gone.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), SinkError> {
        faults::check("renameat")
            .and_then(|()| renameat(&self.directory, from, &self.directory, to))
            .map_err(failed(format!("rename {from:?} to {to:?}")))
    }

    /// Removes a name; one that is not there is no error.
    pub(crate) fn remove(&self, name: &str) -> Result<(), SinkError> {
        let remove = || {
            faults::check("unlinkat")?;
            unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir)
        };
        match remove() {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed(format!("remove {name:?}"))(errno)),
        }
    }

    /// Every N of which the directory has a `NAME.N`, in no order.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, SinkError> {
        let failed = |error: std::io::Error| SinkError {
            errno: error.raw_os_error().map(Errno::from_raw),
            what: "read its directory".to_owned(),
        };
        faults::check("readdir").map_err(|errno| failed(errno.into()))?;
        let path = format!("/proc/thread-self/fd/{}", self.directory.as_raw_fd());
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix(self.name)?.strip_prefix('.'))
                .filter(|digits| digits.len() <= NUMBER_DIGITS_MAX)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
                .filter(|digits| *digits == "0" || !digits.starts_with('0'));
            numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
        }
        Ok(numbers)
    }
}

/// What tells a file from every other one: device and inode.
pub(crate) type FileIdentity = (u64, u64);

/// The file that was opened before, for appending, and its size: in half as many calls as
/// `Place::open_file`, for one that is open only while it is written. It stays non-blocking, of
/// which regular files know nothing. `None`: it is to be opened in the other way, which also tells
/// what is wrong.
pub(crate) fn open_known(path: &str, known: FileIdentity) -> Option<(OwnedFd, u64)> {
    let found = trusted_path::open_without_links(Path::new(path)).ok()?;
    faults::check("fstat").ok()?;
    let stat = fstat(&found).ok()?;
    if (stat.st_dev, stat.st_ino) != known || kind(&stat) != SFlag::S_IFREG {
        return None;
    }
    let append = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK;
    let file = reopen(found.as_fd(), append).ok()?;
    Some((file, u64::try_from(stat.st_size).unwrap_or(0)))
}

/// What tells an open file from every other one.
pub(crate) fn identity_of(file: &OwnedFd) -> Option<FileIdentity> {
    faults::check("fstat").ok()?;
    fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Bytes in an open file.
pub(crate) fn file_size(file: &OwnedFd) -> Result<u64, SinkError> {
    let stat =
        faults::check("fstat").and_then(|()| fstat(file)).map_err(failed("ask for its size"))?;
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Has every write go to the end of an open file, or to where it is told.
pub(crate) fn set_appending(file: &OwnedFd, on: bool) -> Result<(), Errno> {
    faults::check("fcntl")?;
    let mut flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_APPEND, on);
    fcntl(file, FcntlArg::F_SETFL(flags)).map(drop)
}

/// Bytes after the last line end of an open file of this size, 0 where it cannot be read. `None`:
/// they are `most` or more.
pub(crate) fn last_line(file: &OwnedFd, size: u64, most: usize, buffer: &mut [u8]) -> Option<u64> {
    let mut line = 0;
    while line < most as u64 {
        let part = tail(file, size.saturating_sub(line), buffer);
        if let Some(at) = part.iter().rposition(|&byte| byte == b'\n') {
            return Some(line + (part.len() - at - 1) as u64);
        }
        if part.is_empty() {
            return Some(line);
        }
        line += part.len() as u64;
    }
    None
}

/// The last bytes before this place in an open file, as many as fit; less where it cannot be read.
fn tail<'b>(file: &OwnedFd, size: u64, buffer: &'b mut [u8]) -> &'b [u8] {
    let start = size.saturating_sub(buffer.len() as u64);
    let mut read = || {
        let reader = reopen(file.as_fd(), OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        faults::check("pread")?;
        pread(&reader, buffer, i64::try_from(start).unwrap_or(i64::MAX))
    };
    let read = read().unwrap_or(0);
    buffer.get(..read).unwrap_or_default()
}

/// A directory by its absolute path. Whose links are on the way matters: what we make there belongs
/// to the task's user in the end.
fn open_directory(path: &str) -> Result<OwnedFd, SinkError> {
    let path = if path.is_empty() { "/" } else { path };
    trusted_path::open_directory(path.as_ref()).map_err(|errno| {
        let how = match errno {
            Errno::ELOOP => " without following a link that neither root nor we have made",
            _ => "",
        };
        failed(format!("open directory {path:?}{how}"))(errno)
    })
}

/// Goes down part by part, never through a symbolic link and never up.
fn descend(mut directory: OwnedFd, parts: &str) -> Result<OwnedFd, SinkError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    for part in parts.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return Err(refused("must not contain .. inside task_dir"));
        }
        let what = || format!("open directory {part:?} inside task_dir without following links");
        faults::check("openat").map_err(failed(what()))?;
        directory =
            openat(&directory, part, flags, Mode::empty()).map_err(|e| failed(what())(e))?;
    }
    Ok(directory)
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn must_be(wanted: SFlag, stat: &FileStat) -> Result<(), SinkError> {
    let found = kind(stat);
    if found == wanted {
        return Ok(());
    }
    Err(refused(format!("is {}, not {}", name_of(found), name_of(wanted))))
}

fn name_of(kind: SFlag) -> &'static str {
    match kind {
        SFlag::S_IFREG => "a regular file",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFSOCK => "a socket",
        SFlag::S_IFCHR | SFlag::S_IFBLK => "a device",
        _ => "of an unknown kind",
    }
}
