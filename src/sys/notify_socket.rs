//! The datagrams between a service manager and its services, with descriptors: sd_notify(3), both
//! ends of it.

use super::faults;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, bind, connect, getsockname, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Descriptors in one message at most (SCM_MAX_FD of the kernel).
pub(crate) const MESSAGE_DESCRIPTORS_MAX: usize = 253;
/// Longest message that is taken, as in systemd (PIPE_BUF).
const MESSAGE_BYTES_MAX: usize = 4096;

/// A service's end: connected to its manager.
#[derive(Debug)]
pub(crate) struct NotifySocket(OwnedFd);

impl NotifySocket {
    /// Connects to what `NOTIFY_SOCKET` names: a path, or `@` and an abstract name.
    pub(crate) fn connect(address: &[u8]) -> Result<NotifySocket, Errno> {
        use std::os::unix::ffi::OsStrExt;
        let address = match address {
            [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
            path => UnixAddr::new(Path::new(std::ffi::OsStr::from_bytes(path)))?,
        };
        let fd = datagram_socket()?;
        connect(fd.as_raw_fd(), &address)?;
        Ok(NotifySocket(fd))
    }

    /// Lets [`NotifySocket::send_patiently`] wait for so long.
    pub(crate) fn set_patience(&self, seconds: i32) -> Result<(), Errno> {
        setsockopt(&self.0, sockopt::SendTimeout, &TimeVal::new(seconds.into(), 0))
    }

    /// Sends a message, and copies of these descriptors with it. EAGAIN: the manager does not read.
    pub(crate) fn send(&self, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(text, fds, libc::MSG_DONTWAIT)
    }

    /// Sends a message, and waits for room for as long as the patience allows.
    pub(crate) fn send_patiently(&self, text: &[u8]) -> Result<(), Errno> {
        self.send_with(text, &[], 0)
    }

    fn send_with(&self, text: &[u8], fds: &[BorrowedFd<'_>], flags: i32) -> Result<(), Errno> {
        if fds.len() > MESSAGE_DESCRIPTORS_MAX {
            return Err(Errno::E2BIG);
        }
        faults::check("sendmsg")?;
        let mut part = libc::iovec { iov_base: text.as_ptr() as *mut _, iov_len: text.len() };
        let mut control = Control::default();
        // SAFETY: all zero is a valid header: no address, no parts, nothing beside them.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let bytes = size_of_val(fds) as u32;
            header.msg_control = control.0.as_mut_ptr().cast();
            // SAFETY: only computes sizes.
            header.msg_controllen = unsafe { libc::CMSG_SPACE(bytes) } as usize;
            // SAFETY: the buffer is aligned, and long enough for the most that fds can be.
            unsafe {
                let first = libc::CMSG_FIRSTHDR(&raw const header);
                (*first).cmsg_level = libc::SOL_SOCKET;
                (*first).cmsg_type = libc::SCM_RIGHTS;
                (*first).cmsg_len = libc::CMSG_LEN(bytes) as usize;
                let data = libc::CMSG_DATA(first).cast::<RawFd>();
                for (index, fd) in fds.iter().enumerate() {
                    data.add(index).write_unaligned(fd.as_raw_fd());
                }
            }
        }
        // SAFETY: the header points to what outlives the call.
        let sent = unsafe {
            libc::sendmsg(self.0.as_raw_fd(), &raw const header, flags | libc::MSG_NOSIGNAL)
        };
        Errno::result(sent).map(drop)
    }
}

/// Room for what comes beside a message: descriptors, and who has sent it.
#[repr(align(8))]
struct Control([MaybeUninit<u8>; CONTROL_BYTES]);

/// Two headers of 16 bytes, 253 descriptors of 4, credentials of 12; each padded to 8.
const CONTROL_BYTES: usize = 16 + 1016 + 16 + 16;

impl Default for Control {
    fn default() -> Control {
        Control([MaybeUninit::zeroed(); CONTROL_BYTES])
    }
}

/// The manager's end.
#[derive(Debug)]
pub(crate) struct NotifyReceiver(OwnedFd);

/// A message that has come.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// It as it came.
    pub(crate) text: Vec<u8>,
    /// Who has sent it, as the kernel says; 0 where the sender lives in another pid namespace.
    pub(crate) pid: i32,
    /// As whom.
    pub(crate) uid: u32,
    /// Close-on-exec.
    pub(crate) fds: Vec<OwnedFd>,
    /// It was longer than it may be, or not all of its descriptors could be taken.
    pub(crate) truncated: bool,
}

impl NotifyReceiver {
    /// Binds an abstract name of the kernel's choice, which leaves nothing behind in any directory;
    /// and what `NOTIFY_SOCKET` has to be for it.
    pub(crate) fn bind() -> Result<(NotifyReceiver, String), Errno> {
        let fd = datagram_socket()?;
        setsockopt(&fd, sockopt::PassCred, &true)?;
        faults::check("bind")?;
        bind(fd.as_raw_fd(), &UnixAddr::new_unnamed())?;
        let address = getsockname::<UnixAddr>(fd.as_raw_fd())?;
        let name = address.as_abstract().ok_or(Errno::EADDRNOTAVAIL)?;
        Ok((NotifyReceiver(fd), format!("@{}", String::from_utf8_lossy(name))))
    }

    /// Takes the next message; `None` where there is none.
    pub(crate) fn receive(&self) -> Result<Option<Datagram>, Errno> {
        let mut text = [0_u8; MESSAGE_BYTES_MAX];
        let mut part = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
        let mut control = Control::default();
        // SAFETY: all zero is a valid header.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES;
        faults::check("recvmsg")?;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: the header points to buffers of the lengths that it says, which outlive the call.
        let got = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, flags) };
        let got = match Errno::result(got) {
            Ok(got) => got as usize,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let mut datagram = Datagram {
            text: text.get(..got).unwrap_or_default().to_vec(),
            pid: 0,
            uid: u32::MAX,
            fds: Vec::new(),
            truncated: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        };
        // SAFETY: the kernel has filled in the header and the buffer that it points to.
        unsafe { datagram.take_control(&header) };
        Ok(Some(datagram))
    }
}

impl Datagram {
    /// Takes what came beside the message. All descriptors are owned from here on, so that none is
    /// left open whatever becomes of the message.
    ///
    /// # Safety
    /// recvmsg(2) has filled in the header and its control buffer.
    unsafe fn take_control(&mut self, header: &libc::msghdr) {
        // SAFETY: as the caller promises.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !next.is_null() {
            // SAFETY: a header that these macros hand out lies in the buffer, with its data.
            let (level, kind, data, bytes) = unsafe {
                let bytes = (*next).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                ((*next).cmsg_level, (*next).cmsg_type, libc::CMSG_DATA(next), bytes)
            };
            if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
                for index in 0..bytes / size_of::<RawFd>() {
                    // SAFETY: within the data; the kernel made each of them for us.
                    self.fds.push(unsafe {
                        OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned())
                    });
                }
            } else if level == libc::SOL_SOCKET
                && kind == libc::SCM_CREDENTIALS
                && bytes >= size_of::<libc::ucred>()
            {
                // SAFETY: within the data.
                let sender = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                (self.pid, self.uid) = (sender.pid, sender.uid);
            }
            // SAFETY: as the caller promises.
            next = unsafe { libc::CMSG_NXTHDR(header, next) };
        }
    }
}

impl AsFd for NotifyReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn datagram_socket() -> Result<OwnedFd, Errno> {
    faults::check("socket")?;
    socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn pair() -> (NotifyReceiver, NotifySocket) {
        let (receiver, address) = NotifyReceiver::bind().unwrap();
        (receiver, NotifySocket::connect(address.as_bytes()).unwrap())
    }

    #[test]
    fn a_message_comes_with_its_sender_and_its_descriptors() {
        let (receiver, sender) = pair();
        assert!(receiver.receive().unwrap().is_none());
        let (one, mut two) = std::io::pipe().unwrap();
        sender.send(b"FDSTORE=1\n", &[one.as_fd(), two.as_fd()]).unwrap();
        sender.send(b"READY=1", &[]).unwrap();
        let first = receiver.receive().unwrap().unwrap();
        assert_eq!(first.text, b"FDSTORE=1\n");
        assert_eq!(first.pid, std::process::id() as i32);
        assert_eq!(first.uid, nix::unistd::getuid().as_raw());
        assert_eq!(first.fds.len(), 2);
        assert!(!first.truncated);
        std::io::Write::write_all(&mut two, b"x").unwrap();
        assert_eq!(crate::sys::pipe::waiting_bytes(first.fds[0].as_fd()), Ok(1));
        let second = receiver.receive().unwrap().unwrap();
        assert_eq!((second.text.as_slice(), second.fds.len()), (&b"READY=1"[..], 0));
        assert!(receiver.receive().unwrap().is_none());
    }

    #[test]
    fn the_most_that_the_kernel_carries_comes_whole() {
        let (receiver, sender) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        let many = vec![null.as_fd(); MESSAGE_DESCRIPTORS_MAX];
        sender.send(&[b'x'; MESSAGE_BYTES_MAX], &many).unwrap();
        let datagram = receiver.receive().unwrap().unwrap();
        assert_eq!(datagram.fds.len(), MESSAGE_DESCRIPTORS_MAX);
        assert!(!datagram.truncated);
        let too_many = vec![null.as_fd(); MESSAGE_DESCRIPTORS_MAX + 1];
        assert_eq!(sender.send(b"x", &too_many), Err(Errno::E2BIG));
        sender.send(&[b'x'; MESSAGE_BYTES_MAX + 1], &[null.as_fd()]).unwrap();
        assert!(receiver.receive().unwrap().unwrap().truncated);
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for_longer_than_said() {
        let (receiver, sender) = pair();
        while sender.send(b"x", &[]).is_ok() {}
        assert_eq!(sender.send(b"x", &[]), Err(Errno::EAGAIN));
        sender.set_patience(1).unwrap();
        assert_eq!(sender.send_patiently(b"x"), Err(Errno::EAGAIN));
        receiver.receive().unwrap().unwrap();
        sender.send_patiently(b"x").unwrap();
    }

    #[test]
    fn a_path_and_an_abstract_name_are_connected_to() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let socket = NotifySocket::connect(path.to_str().unwrap().as_bytes()).unwrap();
        socket.send(b"READY=1", &[]).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(manager.recv(&mut buffer).unwrap(), 7);
        drop(manager);
        assert_eq!(socket.send(b"READY=1", &[]), Err(Errno::ECONNREFUSED));
        assert!(NotifySocket::connect(b"@there-is-no-such-name").is_err());
    }
}
