//! Reading and writing without waiting, on descriptors whose flags may be shared with others.

use super::faults;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use nix::sys::stat::{SFlag, fstat};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A pipe that is ready to be written takes this much without waiting (PIPE_BUF).
const PIPE_WRITE_BYTES: usize = 4096;

/// A descriptor to be read, written, or both. O_NONBLOCK is never set: it would be set for
/// everyone who shares the open file, such as the shell that lent us its terminal.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Socket,
    /// Never waits: read and written as it is.
    File,
    /// Pipes and terminals: asked first.
    Other,
}

impl Channel {
    pub(crate) fn new(fd: OwnedFd) -> Result<Channel, Errno> {
        faults::check("fstat")?;
        let mode = SFlag::from_bits_truncate(fstat(&fd)?.st_mode) & SFlag::S_IFMT;
        let kind = match mode {
            SFlag::S_IFSOCK => Kind::Socket,
            SFlag::S_IFREG => Kind::File,
            _ => Kind::Other,
        };
        Ok(Channel { fd, kind })
    }

    /// One that is known to be a socket.
    pub(crate) fn of_socket(fd: OwnedFd) -> Channel {
        Channel { fd, kind: Kind::Socket }
    }

    /// Reads what is there; 0 is the end. EAGAIN: nothing yet.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        faults::check("read")?;
        match self.kind {
            Kind::Socket => recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT),
            Kind::File => nix::unistd::read(&self.fd, buffer),
            Kind::Other => {
                if !self.is_ready(PollFlags::POLLIN) {
                    return Err(Errno::EAGAIN);
                }
                nix::unistd::read(&self.fd, buffer)
            }
        }
    }

    /// Writes what fits. EAGAIN: nothing yet.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        faults::check("write")?;
        match self.kind {
            Kind::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(self.fd.as_raw_fd(), bytes, flags)
            }
            Kind::File => nix::unistd::write(&self.fd, bytes),
            Kind::Other => {
                if !self.is_ready(PollFlags::POLLOUT) {
                    return Err(Errno::EAGAIN);
                }
                let piece = bytes.get(..PIPE_WRITE_BYTES).unwrap_or(bytes);
                nix::unistd::write(&self.fd, piece)
            }
        }
    }

    /// Nobody is at the other end: a socket that was closed (not only for writing), a pipe without
    /// a reader.
    pub(crate) fn is_deserted(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds.iter().any(|fd| fd.revents().is_some_and(|seen| seen.intersects(gone)))
    }

    fn is_ready(&self, what: PollFlags) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), what)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use nix::unistd::pipe;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_pipe_is_neither_waited_for_nor_changed() {
        let (reader, writer) = pipe().expect("a pipe");
        let (reader, writer) = (Channel::new(reader).unwrap(), Channel::new(writer).unwrap());
        let mut buffer = [0; 1 << 17];
        assert_eq!(reader.read(&mut buffer), Err(Errno::EAGAIN));
        let mut written = 0;
        let full = loop {
            match writer.write(&[1; 10_000]) {
                Ok(bytes) => written += bytes,
                Err(errno) => break errno,
            }
        };
        assert_eq!(full, Errno::EAGAIN);
        assert_eq!(reader.read(&mut buffer), Ok(written));
        for channel in [&reader, &writer] {
            let flags = fcntl(channel, FcntlArg::F_GETFL).unwrap();
            assert!(!OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK));
        }
        assert!(!writer.is_deserted());
        drop(reader);
        assert!(writer.is_deserted());
    }

    #[test]
    fn a_socket_closed_for_writing_alone_is_not_deserted() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let channel = Channel::new(ours.into()).unwrap();
        assert_eq!(channel.read(&mut [0; 9]), Err(Errno::EAGAIN));
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(channel.read(&mut [0; 9]), Ok(0));
        assert!(!channel.is_deserted());
        assert_eq!(channel.write(b"x"), Ok(1));
        drop(theirs);
        assert!(channel.is_deserted());
        assert_eq!(channel.write(b"x"), Err(Errno::EPIPE));
    }

    #[test]
    fn a_file_is_always_ready() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"abc").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let channel = Channel::new(file.into()).unwrap();
        let mut buffer = [0; 9];
        assert_eq!(channel.read(&mut buffer), Ok(3));
        assert_eq!(channel.read(&mut buffer), Ok(0));
    }
}
