//! Datagrams of services, with descriptors and senders: a manager's end of sd_notify(3).

use super::faults;
use super::notify_socket::{CONTROL_BYTES, Control, datagram_socket};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{UnixAddr, bind, getsockname, setsockopt, sockopt};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Longest message that is taken, as in systemd (PIPE_BUF).
const MESSAGE_BYTES_MAX: usize = 4096;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::notify_socket::{MESSAGE_DESCRIPTORS_MAX, NotifySocket};
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

    extern "C" fn nothing_to_do(_: i32) {}

    #[test]
    fn a_signal_does_not_end_the_patience() {
        use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
        let handler = SigHandler::Handler(nothing_to_do);
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler does nothing, and nobody else here uses this signal.
        unsafe { sigaction(Signal::SIGWINCH, &action) }.unwrap();
        let (_receiver, sender) = pair();
        while sender.send(b"x", &[]).is_ok() {}
        sender.set_patience(1).unwrap();
        // SAFETY: always answers.
        let waiting = unsafe { libc::pthread_self() };
        let signals = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(200));
            // SAFETY: that thread lives until it has joined this one.
            assert_eq!(unsafe { libc::pthread_kill(waiting, libc::SIGWINCH) }, 0);
        });
        assert_eq!(sender.send_patiently(b"x"), Err(Errno::EAGAIN));
        signals.join().unwrap();
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
