//! The table of relayed streams.

use super::stream::Stream;
use crate::reactor::token::{GENERATION_MASK, Key};
use slab::Slab;

/// The table of relayed streams. A key of one that is gone finds nothing.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slab: Slab<(u32, Stream)>,
    generation: u32,
    /// Those whose target need not be open between two writes.
    sparing: usize,
    /// How far a round has come.
    hand: usize,
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn sparing(&self) -> usize {
        self.sparing
    }

    pub(super) fn shrink(&mut self) {
        self.slab.shrink_to_fit();
    }

    pub(super) fn insert(&mut self, stream: Stream) -> Key {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        self.sparing += usize::from(stream.target.is_sparing());
        let index = self.slab.insert((self.generation, stream));
        Key { index: u32::try_from(index).unwrap_or(u32::MAX), generation: self.generation }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        let (generation, stream) = self.slab.get(key.index as usize)?;
        (*generation == key.generation).then_some(stream)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        let (generation, stream) = self.slab.get_mut(key.index as usize)?;
        (*generation == key.generation).then_some(stream)
    }

    /// How many steps a round has.
    pub(super) fn round(&self) -> usize {
        self.slab.capacity()
    }

    /// One step of a round through the table, which goes on from step to step for ever. `None`
    /// where there is no stream in this place.
    pub(super) fn step(&mut self) -> Option<&mut Stream> {
        self.hand = if self.hand + 1 < self.round() { self.hand + 1 } else { 0 };
        self.slab.get_mut(self.hand).map(|(_, stream)| stream)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        self.get(key)?;
        let (_, stream) = self.slab.try_remove(key.index as usize)?;
        self.sparing -= usize::from(stream.target.is_sparing());
        Some(stream)
    }
}
