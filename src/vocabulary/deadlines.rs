//! The deadlines of many things, nearest first.

use super::ordered::Ordered;
use super::time::Mono;

/// A set of deadlines, each with a key that says what it is for.
///
/// Cancelling removes the entry, so that memory follows what is pending, not what was.
///
/// ```
/// use ostler::{Deadlines, Mono};
/// let mut deadlines = Deadlines::default();
/// deadlines.add(Mono::from_nanos(20), "b");
/// deadlines.add(Mono::from_nanos(10), "a");
/// assert_eq!(deadlines.next(), Some(Mono::from_nanos(10)));
/// assert_eq!(deadlines.expired(Mono::from_nanos(15)), Some("a"));
/// assert_eq!(deadlines.expired(Mono::from_nanos(15)), None);
/// ```
#[derive(Debug, Clone)]
pub struct Deadlines<K: Ord + Copy> {
    set: Ordered<(Mono, K)>,
}

impl<K: Ord + Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines { set: Ordered::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds one; the same pair twice is one.
    pub fn add(&mut self, at: Mono, key: K) {
        self.set.add((at, key));
    }

    /// Takes one back; unknown pairs are ignored.
    pub fn cancel(&mut self, at: Mono, key: K) {
        self.set.remove(&(at, key));
    }

    /// The nearest one.
    pub fn next(&self) -> Option<Mono> {
        self.set.first().map(|&((at, _), ())| at)
    }

    /// Takes out the nearest one if it is due at `now`.
    pub fn expired(&mut self, now: Mono) -> Option<K> {
        let &((at, key), ()) = self.set.first()?;
        if at > now {
            return None;
        }
        self.set.remove(&(at, key));
        Some(key)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}
