//! Sets and maps in order, in little code: a map of the standard library is 5 KB of machine code
//! for each type that it is used with, and this one 1 KB.

use std::borrow::Borrow;
use std::fmt;

/// Entries of one chunk at most: so many are moved at most to make room for one.
const CHUNK: usize = 128;

/// Room that stays when nothing is left.
const KEPT: usize = 8;

/// A map; without values a set. Entries lie in sorted chunks, so that a search halves twice and
/// what is added or taken moves the entries of one chunk.
#[derive(Clone)]
pub(crate) struct Ordered<K, V = ()> {
    /// None is empty, but perhaps the only one: what comes and goes needs no new room each time.
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

/// Where an entry is, or belongs: the chunk, and the place in it.
type Place = (usize, usize);

impl<K, V> Ordered<K, V> {
    pub(crate) const fn new() -> Ordered<K, V> {
        Ordered { chunks: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flatten()
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The first entry.
    pub(crate) fn first(&self) -> Option<&(K, V)> {
        self.chunks.first()?.first()
    }
}

impl<K: Ord, V> Ordered<K, V> {
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        let begins_behind =
            |chunk: &Vec<(K, V)>| chunk.first().is_none_or(|(first, _)| first.borrow() > key);
        let behind = self.chunks.partition_point(|chunk| !begins_behind(chunk));
        let at = behind.saturating_sub(1);
        let Some(chunk) = self.chunks.get(at) else { return Err((0, 0)) };
        match chunk.binary_search_by(|(other, _)| other.borrow().cmp(key)) {
            Ok(index) => Ok((at, index)),
            Err(index) => Err((at, index)),
        }
    }

    pub(crate) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, index) = self.find(key).ok()?;
        self.chunks.get(chunk)?.get(index).map(|(_, value)| value)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (chunk, index) = self.find(key).ok()?;
        self.chunks.get_mut(chunk)?.get_mut(index).map(|(_, value)| value)
    }

    /// The entries from the first one on that is not below `key`.
    pub(crate) fn from<'a, Q: Ord + ?Sized>(
        &'a self,
        key: &Q,
    ) -> impl Iterator<Item = &'a (K, V)> + use<'a, K, V, Q>
    where
        K: Borrow<Q>,
    {
        let (chunk, index) = self.find(key).unwrap_or_else(|place| place);
        self.chunks.get(chunk..).unwrap_or_default().iter().flatten().skip(index)
    }

    /// The value that the key had before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((chunk, index)) => {
                let entry = self.chunks.get_mut(chunk)?.get_mut(index)?;
                Some(std::mem::replace(&mut entry.1, value))
            }
            Err((chunk, index)) => {
                self.put(chunk, index, (key, value));
                None
            }
        }
    }

    #[inline(never)]
    fn put(&mut self, at: usize, index: usize, entry: (K, V)) {
        self.len += 1;
        let is_last = at + 1 == self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(at) else { return self.chunks.push(vec![entry]) };
        if chunk.len() < CHUNK {
            return chunk.insert(index, entry);
        }
        if is_last && index == CHUNK {
            // What comes in order fills each chunk.
            return self.chunks.push(vec![entry]);
        }
        let mut upper = chunk.split_off(CHUNK / 2);
        match index.checked_sub(CHUNK / 2) {
            Some(index) => upper.insert(index, entry),
            None => chunk.insert(index, entry),
        }
        self.chunks.insert(at + 1, upper);
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, index) = self.find(key).ok()?;
        self.take(chunk, index).map(|(_, value)| value)
    }

    #[inline(never)]
    fn take(&mut self, at: usize, index: usize) -> Option<(K, V)> {
        let is_only = self.chunks.len() == 1;
        let chunk = self.chunks.get_mut(at).filter(|chunk| index < chunk.len())?;
        let entry = chunk.remove(index);
        self.len -= 1;
        if chunk.is_empty() && !(is_only && chunk.capacity() <= KEPT) {
            self.chunks.remove(at);
        } else if !is_only && chunk.len() <= CHUNK / 4 {
            self.join(at);
            self.join(at.saturating_sub(1));
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to_fit();
        }
        Some(entry)
    }

    /// Makes one of this chunk and the next one, where that leaves room.
    fn join(&mut self, lower: usize) {
        if let Some([first, second]) = self.chunks.get_mut(lower..lower.saturating_add(2))
            && first.len() + second.len() <= CHUNK / 2
        {
            first.append(second);
            self.chunks.remove(lower + 1);
        }
    }
}

impl<K: Ord> Ordered<K> {
    /// Adds a key to a set; false: it was there.
    pub(crate) fn add(&mut self, key: K) -> bool {
        self.insert(key, ()).is_none()
    }
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Ordered<K, V> {
        Ordered::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Ordered<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Numbers that look like chance, the same ones each time.
    fn numbers() -> impl Iterator<Item = u32> {
        let mut state = 1_u32;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        })
    }

    fn compare(ours: &Ordered<u32, u32>, std: &BTreeMap<u32, u32>) {
        let entries: Vec<(u32, u32)> = ours.iter().copied().collect();
        assert_eq!(entries, std.iter().map(|(&key, &value)| (key, value)).collect::<Vec<_>>());
        assert_eq!(ours.len(), std.len());
        let full = |chunk: &Vec<_>| (1..=CHUNK).contains(&chunk.len());
        assert!(ours.is_empty() || ours.chunks.iter().all(full));
    }

    #[test]
    fn it_does_what_the_map_of_the_standard_library_does() {
        let (mut ours, mut std) = (Ordered::new(), BTreeMap::new());
        let mut numbers = numbers();
        let mut number = |below: u32| numbers.next().expect("endless") % below;
        // More are added than taken, then more are taken.
        for (share_added, steps) in [(80, 6_000), (50, 3_000), (10, 9_000)] {
            for step in 0..steps {
                let key = number(4_000);
                match number(100) < share_added {
                    true => assert_eq!(ours.insert(key, step), std.insert(key, step)),
                    false => assert_eq!(ours.remove(&key), std.remove(&key)),
                }
                let key = number(4_000);
                assert_eq!(ours.get(&key), std.get(&key));
                assert_eq!(ours.get_mut(&key), std.get_mut(&key));
                assert_eq!(ours.contains(&key), std.contains_key(&key));
                let next = ours.from(&key).next().map(|&(key, _)| key);
                assert_eq!(next, std.range(key..).next().map(|(&key, _)| key));
                assert_eq!(ours.first().map(|entry| entry.0), std.keys().next().copied());
            }
            compare(&ours, &std);
        }
        for key in 0..4_000 {
            assert_eq!(ours.remove(&key), std.remove(&key));
        }
        assert!(ours.is_empty() && ours.chunks.is_empty() && ours.chunks.capacity() == 0);
        for key in 0..10 {
            ours.insert(key, key);
            assert_eq!((ours.remove(&key), ours.first(), ours.get(&key)), (Some(key), None, None));
        }
        assert_eq!(ours.chunks.len(), 1, "its room is kept");
    }

    #[test]
    fn what_comes_in_order_fills_every_chunk() {
        let (mut ours, mut std) = (Ordered::new(), BTreeMap::new());
        for key in 0..10 * CHUNK as u32 {
            ours.insert(key, key);
            std.insert(key, key);
        }
        compare(&ours, &std);
        assert_eq!(ours.chunks.len(), 10);
        let from: Vec<u32> = ours.from(&127).take(3).map(|&(key, _)| key).collect();
        assert_eq!(from, [127, 128, 129]);
        assert_eq!(ours.from(&(10 * CHUNK as u32)).count(), 0);
    }

    #[test]
    fn few_that_are_left_take_little_room() {
        let mut set = Ordered::new();
        for key in 0..100 * CHUNK {
            assert!(set.add(key));
        }
        assert!(!set.add(7));
        for key in (0..100 * CHUNK).filter(|key| key % 16 != 0) {
            assert_eq!(set.remove(&key), Some(()));
        }
        assert_eq!(set.len(), 100 * CHUNK / 16);
        assert!(set.chunks.len() <= 25, "{} chunks", set.chunks.len());
    }
}
