//! The table of relayed streams.

use super::stream::Stream;
use crate::reactor::token::{GENERATION_MASK, Key};
use slab::Slab;

/// The table of relayed streams. A key of one that is gone finds nothing.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slab: Slab<(u32, Stream)>,
    generation: u32,
    /// Those whose target is open only while it is written.
    sparing: usize,
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

    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        self.get(key)?;
        let (_, stream) = self.slab.try_remove(key.index as usize)?;
        self.sparing -= usize::from(stream.target.is_sparing());
        Some(stream)
    }
}
