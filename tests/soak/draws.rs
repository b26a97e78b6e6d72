//! What a soak asks of chance, beside what the engine asks of it.

use crate::chance::Chance;
use std::time::Duration;

impl Chance {
    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Once in `times`.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    pub(crate) fn millis_up_to(&mut self, most: u64) -> Duration {
        self.up_to(Duration::from_millis(most))
    }
}
