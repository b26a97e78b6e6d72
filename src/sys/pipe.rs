//! Pipes and FIFOs: making, reading, writing, moving between two of them, and looking into them.

use super::faults;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, open, splice, tee};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown, mkfifo, pipe2, unlink};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// User and group ids.
pub(crate) type Ids = (u32, u32);

#[allow(unreachable_pub, missing_docs)]
mod request {
    nix::ioctl_read_bad!(fionread, nix::libc::FIONREAD, nix::libc::c_int);
}

/// The reading end, which never blocks, and the writing end, which does. Both belong to `owner`,
/// so that it can open /dev/stdout.
pub(crate) fn make_pipe(owner: Option<Ids>) -> Result<(OwnedFd, OwnedFd), Errno> {
    faults::check("pipe2")?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(reader.as_fd(), true)?;
    give_to(reader.as_fd(), owner)?;
    Ok((reader, writer))
}

/// The reading end, which blocks and belongs to `owner`, and the writing end, which never does: for
/// what a task reads.
pub(crate) fn make_input_pipe(owner: Option<Ids>) -> Result<(OwnedFd, OwnedFd), Errno> {
    faults::check("pipe2")?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    set_nonblocking(writer.as_fd(), true)?;
    give_to(reader.as_fd(), owner)?;
    Ok((reader, writer))
}

/// Lets everyone who holds an end open it again (/dev/stdout), whatever user it has become. Nobody
/// else can reach a pipe.
#[cfg(feature = "cli")]
pub(crate) fn let_holders_reopen(end: BorrowedFd<'_>) -> Result<(), Errno> {
    faults::check("fchmod")?;
    nix::sys::stat::fchmod(end, Mode::from_bits_truncate(0o666))
}

/// A pipe by way of a FIFO at `path`, which must not exist: whoever has the writing end has a
/// reader too, so that it outlives us. On failure no file is left.
pub(crate) fn make_named_pipe(
    path: &Path,
    owner: Option<Ids>,
) -> Result<(OwnedFd, OwnedFd), Errno> {
    faults::check("mkfifo")?;
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let opened = open_named_pipe(path, owner);
    if opened.is_err() {
        // The first failure is what is told; a name left behind is not worth a second one.
        let _ = unlink(path);
    }
    opened
}

fn open_named_pipe(path: &Path, owner: Option<Ids>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    let reader = open_named_reader(path)?;
    give_to(reader.as_fd(), owner)?;
    faults::check("open")?;
    let writer = open(path, flags | OFlag::O_RDWR, Mode::empty())?;
    Ok((reader, writer))
}

/// The reading end of the FIFO at `path`, never blocking.
pub(crate) fn open_named_reader(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    faults::check("open")?;
    open(path, flags | OFlag::O_RDONLY, Mode::empty())
}

/// Takes away the name of a FIFO.
pub(crate) fn remove_named_pipe(path: &Path) -> Result<(), Errno> {
    faults::check("unlink")?;
    unlink(path)
}

/// How a descriptor is opened again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    /// Reading and writing, each may block: for a task.
    Blocking,
    /// Reading and writing, never blocking: for us.
    NonBlocking,
    /// Writing only, never blocking.
    WriteOnly,
}

/// A new description of the FIFO behind `fd`, with flags of its own.
pub(crate) fn open_again(fd: BorrowedFd<'_>, how: Again) -> Result<OwnedFd, Errno> {
    reopen(
        fd,
        match how {
            Again::Blocking => OFlag::O_RDWR,
            Again::NonBlocking => OFlag::O_RDWR | OFlag::O_NONBLOCK,
            Again::WriteOnly => OFlag::O_WRONLY | OFlag::O_NONBLOCK,
        },
    )
}

/// /proc/self would be gone once the host's main thread has ended.
pub(super) fn reopen(fd: BorrowedFd<'_>, flags: OFlag) -> Result<OwnedFd, Errno> {
    faults::check("reopen")?;
    let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
    open(path.as_str(), flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())
}

/// Sets or clears O_NONBLOCK of the description.
pub(super) fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    faults::check("fcntl")?;
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags)).map(drop)
}

/// Makes `owner` the owner of what is open.
pub(super) fn give_to(fd: BorrowedFd<'_>, owner: Option<Ids>) -> Result<(), Errno> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    faults::check("fchown")?;
    fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

/// Reads; 0 is the end.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    faults::check("read")?;
    uninterrupted(|| nix::unistd::read(fd, buffer))
}

/// Writes some of `data`.
pub(crate) fn write(fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize, Errno> {
    faults::check("write")?;
    uninterrupted(|| nix::unistd::write(fd, data))
}

/// Moves at most `bytes` from one pipe into another without copying; EAGAIN where the one is empty
/// or the other full.
pub(crate) fn move_bytes(
    from: BorrowedFd<'_>,
    into: BorrowedFd<'_>,
    bytes: usize,
) -> Result<usize, Errno> {
    faults::check("splice")?;
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    uninterrupted(|| splice(from, None, into, None, bytes, flags))
}

/// Moves at most `bytes` from a pipe into a regular file, to `offset`. Whatever becomes of us, what
/// has left the pipe is in the file. EINVAL where the file system cannot, or the file is open for
/// appending.
pub(crate) fn move_bytes_to_file(
    from: BorrowedFd<'_>,
    into: BorrowedFd<'_>,
    offset: u64,
    bytes: usize,
) -> Result<usize, Errno> {
    faults::check("splice")?;
    let mut offset = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    uninterrupted(|| splice(from, None, into, Some(&mut offset), bytes, flags))
}

/// A pipe of our own: to look at what stands in another one, and to carry bulk out of it. Empty
/// between two uses.
#[derive(Debug)]
pub(crate) struct OwnPipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl OwnPipe {
    /// Makes one that holds as much as it may, at most `bytes`.
    pub(crate) fn new(bytes: usize) -> Result<OwnPipe, Errno> {
        faults::check("pipe2")?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // One that stays small carries less at a time.
        let _ = set_capacity(reader.as_fd(), bytes);
        Ok(OwnPipe { reader, writer })
    }

    /// Copies what stands at the beginning of another pipe into `buffer`, and leaves it there. How
    /// much that is; 0 where nothing is in it and nobody writes.
    pub(crate) fn look(&self, into: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
        faults::check("tee")?;
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK;
        let bytes = uninterrupted(|| tee(into, self.writer.as_fd(), buffer.len(), flags))?;
        let mut seen = 0;
        while seen < bytes {
            match buffer.get_mut(seen..bytes).map(|rest| read(self.reader.as_fd(), rest)) {
                Some(Ok(read)) if read > 0 => seen += read,
                Some(Err(errno)) => return Err(errno),
                _ => return Err(Errno::EIO),
            }
        }
        Ok(bytes)
    }

    /// Takes at most `bytes` out of another pipe. 0: nothing is in it and nobody writes; EAGAIN:
    /// nothing.
    pub(crate) fn take(&self, from: BorrowedFd<'_>, bytes: usize) -> Result<usize, Errno> {
        move_bytes(from, self.writer.as_fd(), bytes)
    }

    /// Where it is emptied.
    pub(crate) fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn uninterrupted(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The device and inode that tell a pipe or FIFO from every other one.
pub(crate) fn identity(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    faults::check("fstat")?;
    nix::sys::stat::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Whether it is a pipe or a FIFO.
#[cfg(feature = "cli")]
pub(crate) fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    let mode = fstat(fd).map_or(0, |stat| stat.st_mode);
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFIFO
}

/// How many bytes wait in a pipe, asked of either end.
pub(crate) fn waiting_bytes(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    faults::check("ioctl")?;
    let mut bytes: nix::libc::c_int = 0;
    // SAFETY: FIONREAD writes one int to the address given, which is that of a living one.
    unsafe { request::fionread(fd.as_raw_fd(), &raw mut bytes) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Whether something can be read from a pipe, its end included, and whether something can be
/// written to another one (true without one). Takes no lock, which a writer holds while it copies.
pub(crate) fn readiness(
    reader: BorrowedFd<'_>,
    writer: Option<BorrowedFd<'_>>,
) -> Result<(bool, bool), Errno> {
    faults::check("poll")?;
    let asked = PollFd::new(reader, PollFlags::POLLIN);
    let target = PollFd::new(writer.unwrap_or(reader), PollFlags::POLLOUT);
    let mut both = [asked, target];
    let count = 1 + usize::from(writer.is_some());
    poll(both.get_mut(..count).unwrap_or_default(), PollTimeout::ZERO)?;
    let told = both.map(|one| one.revents().is_some_and(|events| !events.is_empty()));
    let [readable, writable] = told;
    Ok((readable, writable || writer.is_none()))
}

/// Whether a pipe has a reader, asked of an end that is open for writing only.
pub(crate) fn has_reader(writer: BorrowedFd<'_>) -> Result<bool, Errno> {
    faults::check("poll")?;
    let mut asked = [PollFd::new(writer, PollFlags::empty())];
    poll(&mut asked, PollTimeout::ZERO)?;
    let [asked] = asked;
    Ok(!asked.revents().unwrap_or(PollFlags::empty()).contains(PollFlags::POLLERR))
}

/// Sets what a pipe can hold; EBUSY where more is in it, EPERM past the limits of the user.
pub(crate) fn set_capacity(fd: BorrowedFd<'_>, bytes: usize) -> Result<(), Errno> {
    faults::check("fcntl")?;
    let bytes = i32::try_from(bytes).map_err(|_| Errno::EINVAL)?;
    fcntl(fd, FcntlArg::F_SETPIPE_SZ(bytes)).map(drop)
}

/// What a pipe can hold.
#[cfg(feature = "cli")]
pub(crate) fn capacity(fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    faults::check("fcntl")?;
    fcntl(fd, FcntlArg::F_GETPIPE_SZ).map(|bytes| usize::try_from(bytes).unwrap_or_default())
}

/// Pages that the pipes of an unprivileged user may hold before new ones get one page only;
/// `None`: no such limit, or not for us.
pub(crate) fn user_pages_soft() -> Option<usize> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    let text = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").ok()?;
    text.trim().parse().ok().filter(|&pages| pages > 0)
}
