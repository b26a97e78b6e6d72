//! Copies of descriptors with the service manager, so that what is in them outlives this process:
//! the file descriptor store of systemd (sd_notify(3)), or a keeper's.

use crate::sys::notify_socket::NotifySocket;
use crate::sys::pipe;
use crate::vocabulary::limits::{STORE_WAITING_MAX, STORED_NAMES_BYTES_MAX};
use crate::vocabulary::{Ordered, StreamKind};
use nix::errno::Errno;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// What a service manager offers, and what it has passed: see sd_notify(3) and sd_listen_fds(3).
#[derive(Clone, Debug, Default)]
pub struct Manager {
    /// Its socket, where it has a store for descriptors (`NOTIFY_SOCKET`).
    pub socket: Option<OsString>,
    /// Descriptors that it stores at most (`FDSTORE`).
    pub most: usize,
    /// What an earlier supervisor has stored, by name.
    pub stored: Vec<(String, Arc<OwnedFd>)>,
    /// Where a keeper tells how processes have ended that earlier supervisors have left.
    pub exits: Option<Arc<OwnedFd>>,
}

/// What is stored: short names, since all of them stand in one variable of the environment.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Stored {
    /// The run that it belongs to, or has first written to it.
    pub(super) run: u64,
    pub(super) kind: StreamKind,
    pub(super) end: StoredEnd,
}

/// Which end of a stream.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum StoredEnd {
    /// The pipe that the run writes to.
    Source,
    /// The FIFO that its output goes to.
    Sink,
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match (self.kind, self.end) {
            (StreamKind::Stdout, StoredEnd::Source) => 'o',
            (StreamKind::Stderr, StoredEnd::Source) => 'e',
            (StreamKind::Stdout, StoredEnd::Sink) => 'O',
            (StreamKind::Stderr, StoredEnd::Sink) => 'E',
        };
        write!(f, "{}.{letter}", self.run)
    }
}

impl Stored {
    fn parse(name: &str) -> Option<Stored> {
        let (run, letter) = name.split_once('.')?;
        let (kind, end) = match letter {
            "o" => (StreamKind::Stdout, StoredEnd::Source),
            "e" => (StreamKind::Stderr, StoredEnd::Source),
            "O" => (StreamKind::Stdout, StoredEnd::Sink),
            "E" => (StreamKind::Stderr, StoredEnd::Sink),
            _ => return None,
        };
        let stored = Stored { run: run.parse().ok()?, kind, end };
        (stored.to_string() == name).then_some(stored)
    }

    /// In the list of names, with what parts it from the next.
    fn bytes(self) -> usize {
        self.run.checked_ilog10().unwrap_or(0) as usize + 1 + 2 + 1
    }
}

/// The store, as far as this supervisor uses it. Without one everything is a no-op.
#[derive(Debug, Default)]
pub(super) struct DescriptorStore {
    socket: Option<NotifySocket>,
    most: usize,
    stored: Ordered<Stored>,
    /// Of their names.
    bytes: usize,
    /// What an earlier supervisor has stored and this one has not asked for yet.
    left: Ordered<Stored>,
    /// The FIFOs among it, by device and inode.
    sinks: Ordered<(u64, u64), Stored>,
    /// What else it has stored.
    strange: Vec<String>,
    /// Open, so that nothing of it is lost until all of it has been taken over.
    held: Vec<Arc<OwnedFd>>,
    /// What the manager had no room for.
    waiting: VecDeque<(Stored, Option<OwnedFd>)>,
    /// It was said that there is no room for more.
    full_told: bool,
}

impl DescriptorStore {
    pub(super) fn new(manager: &Manager) -> DescriptorStore {
        let mut store = DescriptorStore { most: manager.most, ..DescriptorStore::default() };
        for (name, fd) in &manager.stored {
            store.held.push(Arc::clone(fd));
            match Stored::parse(name) {
                Some(stored) if store.left.add(stored) => {
                    store.stored.add(stored);
                    store.bytes += stored.bytes();
                    if stored.end == StoredEnd::Sink
                        && let Ok(identity) = pipe::identity(fd.as_fd())
                    {
                        store.sinks.insert(identity, stored);
                    }
                }
                _ => store.strange.push(name.clone()),
            }
        }
        if let Some(address) = &manager.socket {
            match NotifySocket::connect(address.as_bytes()) {
                Ok(socket) => store.socket = Some(socket),
                Err(errno) => {
                    log::warn!("nothing is stored with {address:?}: {}", errno.desc());
                }
            }
        }
        store
    }

    /// Goes on with what the program before this one has stored, and what is still to be removed.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(&mut self, stored: &[String], forgotten: &[String]) {
        for what in stored.iter().filter_map(|name| Stored::parse(name)) {
            if self.stored.add(what) {
                self.bytes += what.bytes();
            }
        }
        let removals = forgotten.iter().filter_map(|name| Stored::parse(name));
        self.waiting.extend(removals.map(|what| (what, None)));
        self.retry();
    }

    /// Names of what is stored, and of what is still to be removed.
    #[cfg(feature = "cli")]
    pub(super) fn names(&self) -> (Vec<String>, Vec<String>) {
        let unsent =
            |what: &Stored| self.waiting.iter().any(|(waits, fd)| waits == what && fd.is_some());
        let stored = self.stored.keys().filter(|what| !unsent(what));
        let forgotten = self.waiting.iter().filter(|(_, fd)| fd.is_none());
        (
            stored.map(ToString::to_string).collect(),
            forgotten.map(|(what, _)| what.to_string()).collect(),
        )
    }

    /// Whether it is stored, by this supervisor or an earlier one.
    pub(super) fn is_stored(&self, what: Stored) -> bool {
        self.stored.contains(&what)
    }

    /// It is needed still, if an earlier supervisor has stored it.
    pub(super) fn claim(&mut self, what: Stored) {
        self.left.remove(&what);
    }

    /// As what an earlier supervisor has stored this FIFO.
    pub(super) fn sink(&self, identity: (u64, u64)) -> Option<Stored> {
        self.sinks.get(&identity).copied()
    }

    /// Has a descriptor stored, unless it is. `end` is asked for it only then.
    pub(super) fn keep(&mut self, what: Stored, end: impl FnOnce() -> Result<OwnedFd, Errno>) {
        if self.socket.is_none() || self.left.remove(&what).is_some() || self.stored.contains(&what)
        {
            return;
        }
        let bytes = self.bytes + what.bytes();
        if self.stored.len() >= self.most || bytes > STORED_NAMES_BYTES_MAX {
            return self.refuse("the service manager stores no more");
        }
        if self.waiting.len() >= STORE_WAITING_MAX {
            return self.refuse("the service manager does not read");
        }
        let fd = match end() {
            Ok(fd) => fd,
            Err(errno) => return self.refuse(errno.desc()),
        };
        self.stored.add(what);
        self.bytes = bytes;
        self.waiting.push_back((what, Some(fd)));
        self.retry();
    }

    fn refuse(&mut self, why: &str) {
        if !std::mem::replace(&mut self.full_told, true) {
            let stored = self.stored.len();
            log::warn!(
                "streams are not stored from here on ({stored} descriptors are): {why}; what is \
                 unread in them is lost if their task ends while no supervisor is there"
            );
        }
    }

    /// Has it let go of.
    pub(super) fn forget(&mut self, what: Stored) {
        if self.stored.remove(&what).is_none() {
            return;
        }
        self.left.remove(&what);
        self.bytes = self.bytes.saturating_sub(what.bytes());
        self.full_told = false;
        let unsent = self.waiting.iter().position(|(waits, fd)| *waits == what && fd.is_some());
        match unsent {
            Some(index) => drop(self.waiting.remove(index)),
            None => {
                self.waiting.push_back((what, None));
                self.retry();
            }
        }
    }

    /// Everything of an earlier supervisor has been taken over: what was not asked for goes.
    pub(super) fn adopted(&mut self) {
        for &what in std::mem::take(&mut self.left).keys() {
            self.forget(what);
        }
        for name in std::mem::take(&mut self.strange) {
            if let Some(socket) = &self.socket {
                // What stays at worst comes again at the next start.
                let _ = socket.send(removal(&name).as_bytes(), &[]);
            }
        }
        self.sinks = Ordered::new();
        self.held.clear();
    }

    /// Whether something waits to be tried again.
    pub(super) fn is_behind(&self) -> bool {
        self.socket.is_some() && !self.waiting.is_empty()
    }

    /// Sends what waits.
    pub(super) fn retry(&mut self) {
        while let Some((what, fd)) = self.waiting.front() {
            let Some(socket) = &self.socket else { break };
            let sent = match fd {
                Some(fd) => socket.send(addition(*what).as_bytes(), &[fd.as_fd()]),
                None => socket.send(removal(&what.to_string()).as_bytes(), &[]),
            };
            match sent {
                Ok(()) => drop(self.waiting.pop_front()),
                // It does not read now, or there are too many under way.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS | Errno::ENOMEM) => return,
                Err(errno) => {
                    log::error!(
                        "the service manager is gone ({}): nothing is stored any longer",
                        errno.desc()
                    );
                    self.socket = None;
                }
            }
        }
        if self.socket.is_none() {
            self.waiting.clear();
        }
    }
}

/// Watched it would be dropped when the last writer has gone, which is when it is needed.
fn addition(what: Stored) -> String {
    format!("FDSTORE=1\nFDPOLL=0\nFDNAME={what}\n")
}

fn removal(name: &str) -> String {
    format!("FDSTOREREMOVE=1\nFDNAME={name}\n")
}

/// A copy of a descriptor of ours.
pub(super) fn copy(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fd.try_clone_to_owned().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn stored(run: u64, kind: StreamKind, end: StoredEnd) -> Stored {
        Stored { run, kind, end }
    }

    fn source(run: u64) -> Stored {
        stored(run, StreamKind::Stdout, StoredEnd::Source)
    }

    fn null() -> Result<OwnedFd, Errno> {
        Ok(std::fs::File::open("/dev/null").unwrap().into())
    }

    struct Bench {
        manager: UnixDatagram,
        options: Manager,
        _directory: tempfile::TempDir,
    }

    fn bench(most: usize, left: &[&str]) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let stored = left.iter().map(|name| ((*name).to_owned(), Arc::new(null().unwrap())));
        let options =
            Manager { socket: Some(path.into()), most, stored: stored.collect(), exits: None };
        Bench { manager, options, _directory: directory }
    }

    impl Bench {
        fn told(&self) -> Vec<String> {
            let mut all = Vec::new();
            let mut buffer = [0; 512];
            while let Ok(count) = self.manager.recv(&mut buffer) {
                all.push(String::from_utf8_lossy(&buffer[..count]).replace('\n', " "));
            }
            all
        }
    }

    #[test]
    fn names_are_short_and_read_as_they_were_written() {
        for kind in [StreamKind::Stdout, StreamKind::Stderr] {
            for end in [StoredEnd::Source, StoredEnd::Sink] {
                for run in [0, 9, 10, 12_345, u64::MAX] {
                    let what = stored(run, kind, end);
                    assert_eq!(Stored::parse(&what.to_string()), Some(what));
                    assert_eq!(what.bytes(), what.to_string().len() + 1);
                }
            }
        }
        for other in ["", "stored", "1", "1.x", "01.o", "1.oo", "-1.o", ".o"] {
            assert_eq!(Stored::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_kept_is_sent_once_and_removed_once() {
        let bench = bench(10, &[]);
        let mut store = DescriptorStore::new(&bench.options);
        store.keep(source(7), null);
        store.keep(source(7), || panic!("it is stored"));
        store.forget(source(7));
        store.forget(source(7));
        assert_eq!(bench.told(), ["FDSTORE=1 FDPOLL=0 FDNAME=7.o ", "FDSTOREREMOVE=1 FDNAME=7.o "]);
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_removed_after_the_adoption() {
        let bench = bench(10, &["6.o", "7.o", "8.o", "8.o", "strange"]);
        let mut store = DescriptorStore::new(&bench.options);
        assert!(store.is_stored(source(7)) && !store.is_stored(source(9)));
        store.keep(source(7), || panic!("it is stored"));
        store.claim(source(6));
        store.keep(source(9), null);
        store.adopted();
        let mut told = bench.told();
        told.sort();
        assert_eq!(
            told,
            [
                "FDSTORE=1 FDPOLL=0 FDNAME=9.o ",
                "FDSTOREREMOVE=1 FDNAME=8.o ",
                "FDSTOREREMOVE=1 FDNAME=8.o ",
                "FDSTOREREMOVE=1 FDNAME=strange "
            ]
        );
        assert!(store.is_stored(source(7)) && !store.is_stored(source(8)));
    }

    #[test]
    fn a_manager_that_does_not_read_is_tried_again_and_one_that_is_gone_is_not() {
        let bench = bench(100_000, &[]);
        let mut store = DescriptorStore::new(&bench.options);
        let mut run = 0;
        while !store.is_behind() {
            run += 1;
            store.keep(source(run), null);
        }
        // Never sent, so that nothing is to be removed.
        store.forget(source(run));
        assert!(!store.is_behind());
        store.forget(source(1));
        assert!(store.is_behind());
        assert!(bench.told().iter().all(|told| told.starts_with("FDSTORE=1")));
        store.retry();
        assert_eq!(bench.told(), ["FDSTOREREMOVE=1 FDNAME=1.o "]);
        drop(bench);
        store.keep(source(run + 1), null);
        assert!(!store.is_behind());
        store.keep(source(run + 2), || panic!("nobody stores it"));
    }

    #[test]
    fn no_more_is_sent_than_is_stored() {
        let bench = bench(2, &["1.o"]);
        let mut store = DescriptorStore::new(&bench.options);
        store.keep(source(1), null);
        store.keep(source(2), null);
        store.keep(source(3), || panic!("there is no room"));
        store.forget(source(1));
        store.keep(source(3), null);
        assert_eq!(bench.told().len(), 3);
        let mut without = DescriptorStore::new(&Manager::default());
        without.keep(source(1), || panic!("there is no store"));
        without.forget(source(1));
        without.adopted();
    }
}
