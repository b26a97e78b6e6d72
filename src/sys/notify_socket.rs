//! Datagrams to a service manager, with descriptors: a service's end of sd_notify(3).

use super::faults;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// Descriptors in one message at most (SCM_MAX_FD of the kernel).
pub(crate) const MESSAGE_DESCRIPTORS_MAX: usize = 253;

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
    #[cfg(feature = "cli")]
    pub(crate) fn set_patience(&self, seconds: i32) -> Result<(), Errno> {
        use nix::sys::{socket::setsockopt, socket::sockopt, time::TimeVal};
        setsockopt(&self.0, sockopt::SendTimeout, &TimeVal::new(seconds.into(), 0))
    }

    /// Sends a message, and copies of these descriptors with it. EAGAIN: the manager does not read.
    pub(crate) fn send(&self, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(text, fds, libc::MSG_DONTWAIT)
    }

    /// Sends a message, and waits for room for as long as the patience allows.
    #[cfg(feature = "cli")]
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
        loop {
            // SAFETY: the header points to what outlives the call.
            let sent = unsafe {
                libc::sendmsg(self.0.as_raw_fd(), &raw const header, flags | libc::MSG_NOSIGNAL)
            };
            match Errno::result(sent) {
                // Not restarted where there is a timeout, whatever the handler says: signal(7).
                Err(Errno::EINTR) => {}
                answer => return answer.map(drop),
            }
        }
    }
}

/// Room for what comes beside a message: descriptors, and who has sent it.
#[repr(align(8))]
pub(super) struct Control(pub(super) [MaybeUninit<u8>; CONTROL_BYTES]);

/// Two headers of 16 bytes, 253 descriptors of 4, credentials of 12; each padded to 8.
pub(super) const CONTROL_BYTES: usize = 16 + 1016 + 16 + 16;

impl Default for Control {
    fn default() -> Control {
        Control([MaybeUninit::zeroed(); CONTROL_BYTES])
    }
}

pub(super) fn datagram_socket() -> Result<OwnedFd, Errno> {
    faults::check("socket")?;
    socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
}
