//! The descriptors that are kept for the daemon.

use super::message::is_descriptor_name;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of all names together: they go into one variable of the environment (`LISTEN_FDNAMES`),
/// and the kernel takes no string longer than 128 KiB (MAX_ARG_STRLEN).
const NAMES_BYTES_MAX: usize = 120 << 10;

/// What is kept, by name, in the order in which it came.
#[derive(Debug)]
pub(super) struct Store {
    kept: BTreeMap<(Box<str>, u32), Entry>,
    most: usize,
    /// Of the names, each with what parts it from the next.
    bytes: usize,
    next: u32,
}

#[derive(Debug)]
struct Entry {
    fd: OwnedFd,
    watched: bool,
}

/// There is no room for it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Full {
    /// Descriptors that are kept.
    pub(super) kept: usize,
}

impl Store {
    /// One for so many descriptors, whose names may be so long beside others of `bytes`.
    pub(super) fn new(most: usize, bytes: usize) -> Store {
        Store { kept: BTreeMap::new(), most, bytes, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Keeps a descriptor. `watch` is told its number and says whether it is watched.
    pub(super) fn keep(
        &mut self,
        name: &str,
        fd: OwnedFd,
        watch: impl FnOnce(BorrowedFd<'_>, u32) -> bool,
    ) -> Result<(), Full> {
        debug_assert!(is_descriptor_name(name));
        let bytes = self.bytes + name.len() + 1;
        if self.kept.len() >= self.most || bytes > NAMES_BYTES_MAX {
            return Err(Full { kept: self.kept.len() });
        }
        self.bytes = bytes;
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let watched = watch(fd.as_fd(), number);
        self.kept.insert((name.into(), number), Entry { fd, watched });
        Ok(())
    }

    /// Lets go of all of a name: what is watched is handed to `unwatch` before it is closed.
    pub(super) fn forget(&mut self, name: &str, unwatch: impl Fn(BorrowedFd<'_>)) {
        let range = (Box::from(name), 0)..=(Box::from(name), u32::MAX);
        let keys: Vec<_> = self.kept.range(range).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(&key, &unwatch);
        }
    }

    /// Lets go of one that has come to its end; what it was called.
    pub(super) fn ended(
        &mut self,
        number: u32,
        unwatch: impl Fn(BorrowedFd<'_>),
    ) -> Option<Box<str>> {
        let key = self.kept.keys().find(|(_, known)| *known == number)?.clone();
        self.remove(&key, &unwatch);
        Some(key.0)
    }

    fn remove(&mut self, key: &(Box<str>, u32), unwatch: &impl Fn(BorrowedFd<'_>)) {
        if let Some(entry) = self.kept.remove(key) {
            self.bytes = self.bytes.saturating_sub(key.0.len() + 1);
            if entry.watched {
                unwatch(entry.fd.as_fd());
            }
        }
    }

    /// All of them, with their names.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.kept.iter().map(|((name, _), entry)| (&**name, entry.fd.as_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn names(store: &Store) -> Vec<&str> {
        store.all().map(|(name, _)| name).collect()
    }

    #[test]
    fn descriptors_are_kept_by_name_and_go_by_name() {
        let mut store = Store::new(10, 0);
        for name in ["b", "a", "b", "ab"] {
            store.keep(name, null(), |_, _| false).unwrap();
        }
        assert_eq!(names(&store), ["a", "ab", "b", "b"]);
        store.forget("b", |_| panic!("not watched"));
        store.forget("none", |_| {});
        assert_eq!(names(&store), ["a", "ab"]);
        assert_eq!(store.bytes, 5);
    }

    #[test]
    fn one_that_is_watched_is_taken_out_before_it_is_closed() {
        let mut store = Store::new(10, 0);
        let number = Cell::new(0);
        store
            .keep("a", null(), |_, given| {
                number.set(given);
                true
            })
            .unwrap();
        store.keep("b", null(), |_, _| true).unwrap();
        let unwatched = Cell::new(0);
        let count = |_: BorrowedFd<'_>| unwatched.set(unwatched.get() + 1);
        assert_eq!(store.ended(number.get(), count).as_deref(), Some("a"));
        assert_eq!(store.ended(number.get(), count), None);
        store.forget("b", count);
        assert_eq!((unwatched.get(), store.len()), (2, 0));
    }

    #[test]
    fn there_is_room_for_so_many_and_for_names_of_such_length() {
        let mut store = Store::new(2, 0);
        store.keep("a", null(), |_, _| false).unwrap();
        store.keep("a", null(), |_, _| false).unwrap();
        assert_eq!(store.keep("a", null(), |_, _| false), Err(Full { kept: 2 }));
        store.forget("a", |_| {});
        store.keep("a", null(), |_, _| false).unwrap();
        let mut store = Store::new(1000, NAMES_BYTES_MAX - 300);
        let long = "x".repeat(200);
        store.keep(&long, null(), |_, _| false).unwrap();
        assert_eq!(store.keep(&long, null(), |_, _| false), Err(Full { kept: 1 }));
        store.keep("short", null(), |_, _| false).unwrap();
    }
}
