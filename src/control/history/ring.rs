//! A queue of pieces of bytes in the order of their numbers, in chunks instead of an allocation for
//! each: a piece has three to five bytes more than its own.

use super::bytes::{Reader, Writer};
use std::collections::VecDeque;

/// What a chunk has room for, unless one piece alone is longer. The way to a piece leads past
/// those before it in its chunk, about 50 of them on the average.
const CHUNK_BYTES: usize = 4 << 10;
/// Room of the very first chunk: it doubles, so that whoever has few pieces has little memory.
const FIRST_BYTES: usize = 256;
/// Three numbers of the greatest size stand before a piece.
const HEAD_BYTES_MAX: usize = 30;

/// When a piece came.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Stamp {
    /// Greater than that of the piece before it.
    pub(super) sequence: u64,
    /// Any time: a clock may be set back.
    pub(super) time: u64,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// None is empty.
    chunks: VecDeque<Chunk>,
    count: usize,
    newest: Stamp,
}

#[derive(Debug)]
struct Chunk {
    /// Of the piece before the first one that is still here: a stamp is written as the difference
    /// to the one before it.
    before: Stamp,
    /// Where that first one begins.
    start: usize,
    bytes: Vec<u8>,
}

impl Ring {
    /// How many pieces there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Number of the first piece.
    pub(super) fn oldest(&self) -> Option<u64> {
        Some(self.chunks.front()?.pieces().next()?.0.sequence)
    }

    /// Number of the last piece.
    pub(super) fn newest(&self) -> Option<u64> {
        (self.count > 0).then_some(self.newest.sequence)
    }

    /// Adds a piece.
    pub(super) fn push(&mut self, stamp: Stamp, piece: &[u8]) {
        let most = piece.len() + HEAD_BYTES_MAX;
        let has_room = |chunk: &Chunk| chunk.bytes.len() + most <= CHUNK_BYTES;
        if !self.chunks.back().is_some_and(has_room) {
            let room = if self.chunks.is_empty() { FIRST_BYTES } else { CHUNK_BYTES };
            let bytes = Vec::with_capacity(room);
            self.chunks.push_back(Chunk { before: self.newest, start: 0, bytes });
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(self.newest, stamp, piece);
        }
        self.newest = stamp;
        self.count += 1;
    }

    /// Drops the first piece; returns its number.
    pub(super) fn drop_oldest(&mut self) -> Option<u64> {
        let chunk = self.chunks.front_mut()?;
        let mut pieces = chunk.pieces();
        let (stamp, _) = pieces.next()?;
        let left = pieces.reader.0.len();
        chunk.before = stamp;
        chunk.start = chunk.bytes.len() - left;
        if left == 0 {
            self.chunks.pop_front();
        }
        self.count -= 1;
        Some(stamp.sequence)
    }

    /// The pieces with a number above `sequence`.
    pub(super) fn after(&self, sequence: u64) -> impl Iterator<Item = (Stamp, &[u8])> {
        let first = if sequence < self.newest.sequence {
            let begun = self.chunks.partition_point(|chunk| chunk.before.sequence <= sequence);
            begun.saturating_sub(1)
        } else {
            self.chunks.len()
        };
        let pieces = self.chunks.range(first..).flat_map(Chunk::pieces);
        pieces.skip_while(move |(stamp, _)| stamp.sequence <= sequence)
    }
}

impl Chunk {
    fn push(&mut self, before: Stamp, stamp: Stamp, piece: &[u8]) {
        let room = self.bytes.capacity();
        let needed = self.bytes.len() + piece.len() + HEAD_BYTES_MAX;
        if needed > room {
            let room = needed.max(CHUNK_BYTES.min(2 * room));
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        let mut writer = Writer(&mut self.bytes);
        writer.number(stamp.sequence.wrapping_sub(before.sequence));
        writer.signed(stamp.time.wrapping_sub(before.time) as i64);
        writer.piece(piece);
    }

    fn pieces(&self) -> Pieces<'_> {
        let left = self.bytes.get(self.start..).unwrap_or_default();
        Pieces { before: self.before, reader: Reader(left) }
    }
}

struct Pieces<'a> {
    before: Stamp,
    reader: Reader<'a>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (Stamp, &'a [u8]);

    fn next(&mut self) -> Option<(Stamp, &'a [u8])> {
        if self.reader.is_at_end() {
            return None;
        }
        let Stamp { sequence, time } = self.before;
        self.before = Stamp {
            sequence: sequence.wrapping_add(self.reader.number()),
            time: time.wrapping_add_signed(self.reader.signed()),
        };
        Some((self.before, self.reader.piece()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamps(ring: &Ring, after: u64) -> Vec<u64> {
        ring.after(after).map(|(stamp, _)| stamp.sequence).collect()
    }

    #[test]
    fn nothing_takes_no_room_and_little_takes_little() {
        let mut ring = Ring::default();
        assert!(ring.chunks.is_empty());
        assert_eq!((ring.len(), ring.oldest(), ring.newest()), (0, None, None));
        assert_eq!(ring.drop_oldest(), None);
        assert_eq!(stamps(&ring, 0), Vec::<u64>::new());
        ring.push(Stamp { sequence: 1, time: 1 }, &[7; 40]);
        let room: usize = ring.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert_eq!(room, FIRST_BYTES);
        for sequence in 2..=1000 {
            ring.push(Stamp { sequence, time: sequence }, &[7; 40]);
        }
        let room: usize = ring.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert!(room <= 1000 * 44 + CHUNK_BYTES, "{room}");
        for sequence in 1..=1000 {
            assert_eq!(ring.drop_oldest(), Some(sequence));
        }
        assert!(ring.chunks.is_empty());
    }

    #[test]
    fn a_piece_that_is_longer_than_a_chunk_is_one_of_its_own() {
        let mut ring = Ring::default();
        let long = vec![1; 3 * CHUNK_BYTES];
        for (sequence, piece) in [(1, &long[..]), (2, b"x"), (3, &long[..]), (4, b"")] {
            ring.push(Stamp { sequence, time: 0 }, piece);
        }
        assert_eq!(ring.chunks.len(), 4);
        let lengths = ring.after(0).map(|(_, piece)| piece.len()).collect::<Vec<_>>();
        assert_eq!(lengths, [long.len(), 1, long.len(), 0]);
    }

    proptest! {
        /// What a queue does that has an allocation for each piece.
        #[test]
        fn it_is_a_queue(
            steps in prop::collection::vec((0_u64..4, any::<u64>(), 0_usize..300), 0..300),
        ) {
            let (mut ring, mut queue) = (Ring::default(), VecDeque::new());
            let mut sequence = 10;
            for (step, time, length) in steps {
                if step == 0 {
                    let dropped = queue.pop_front().map(|(stamp, _): (Stamp, _)| stamp.sequence);
                    prop_assert_eq!(ring.drop_oldest(), dropped);
                } else {
                    sequence += step;
                    let (stamp, piece) = (Stamp { sequence, time }, vec![length as u8; length]);
                    ring.push(stamp, &piece);
                    queue.push_back((stamp, piece));
                }
                prop_assert_eq!(ring.len(), queue.len());
                prop_assert_eq!(ring.oldest(), queue.front().map(|(stamp, _)| stamp.sequence));
                prop_assert_eq!(ring.newest(), queue.back().map(|(stamp, _)| stamp.sequence));
            }
            for after in 0..=sequence {
                let kept = queue.iter().filter(|(stamp, _)| stamp.sequence > after);
                let kept = kept.map(|(stamp, piece)| (*stamp, &piece[..]));
                prop_assert!(ring.after(after).eq(kept), "after {}", after);
            }
        }
    }
}
