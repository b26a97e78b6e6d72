//! Who is at the other end of a Unix socket.

use super::faults;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::{geteuid, getuid};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that connected, as it was then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; empty where the kernel (before 4.13) cannot tell.
    pub(crate) groups: Vec<u32>,
}

impl Peer {
    /// Asks the kernel.
    pub(crate) fn of(socket: BorrowedFd<'_>) -> Result<Peer, Errno> {
        faults::check("getsockopt")?;
        let credentials = getsockopt(&socket, PeerCredentials)?;
        Ok(Peer {
            pid: credentials.pid(),
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: groups(socket),
        })
    }

    /// Root, our own user, and members of `gid` may ask.
    pub(crate) fn may_ask(&self, gid: Option<u32>) -> bool {
        self.uid == 0
            || self.uid == geteuid().as_raw()
            || self.uid == getuid().as_raw()
            || gid.is_some_and(|gid| self.gid == gid || self.groups.contains(&gid))
    }
}

fn groups(socket: BorrowedFd<'_>) -> Vec<u32> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    // Once to learn how many there are, where they are more than that.
    for _ in 0..2 {
        let mut bytes = (groups.len() * size_of::<libc::gid_t>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `bytes` bytes into the vector, and how many it wrote
        // (or would have) into `bytes`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<libc::gid_t>();
        match Errno::result(result) {
            Ok(_) => {
                groups.truncate(count);
                return groups;
            }
            Err(Errno::ERANGE) => groups.resize(count, 0),
            Err(_) => break,
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn we_are_our_own_peer() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let peer = Peer::of(one.as_fd()).expect("a peer");
        assert_eq!(peer.pid, std::process::id() as i32);
        assert_eq!(peer.uid, geteuid().as_raw());
        let mut expected: Vec<u32> =
            nix::unistd::getgroups().expect("groups").iter().map(|gid| gid.as_raw()).collect();
        let mut groups = peer.groups.clone();
        expected.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, expected);
        assert!(peer.may_ask(None));
    }

    #[test]
    fn strangers_may_ask_as_members_of_the_group_only() {
        let stranger = Peer { pid: 1, uid: u32::MAX - 7, gid: 5, groups: vec![6, 7] };
        assert!(!stranger.may_ask(None));
        assert!(!stranger.may_ask(Some(8)));
        assert!(stranger.may_ask(Some(5)));
        assert!(stranger.may_ask(Some(7)));
        assert!(Peer { uid: 0, ..stranger }.may_ask(None));
    }
}
