//! Stands in for the module of the same name in tests/sim: there a seed decides what happens, here
//! each decision is taken from the bytes of the fuzzer.

use std::time::Duration;

/// Decisions, taken from bytes while there are any, then as if all of them were zero.
#[derive(Clone)]
pub(crate) struct Random {
    bytes: Vec<u8>,
    at: usize,
}

impl Random {
    /// The world makes one before it is given the bytes.
    pub(crate) fn new(_seed: u64) -> Random {
        Random::of(&[])
    }

    pub(crate) fn of(bytes: &[u8]) -> Random {
        Random { bytes: bytes.to_vec(), at: 0 }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn byte(&mut self) -> u64 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        u64::from(byte)
    }

    /// 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        let number = match end {
            ..=256 => self.byte(),
            _ => self.byte() << 16 | self.byte() << 8 | self.byte(),
        };
        number % end.max(1)
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub(crate) fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// Chances in percent, as in tests/sim.
#[derive(Clone, Default, Debug)]
pub(crate) struct Faults {
    pub(crate) fails_early: u64,
    pub(crate) fails_late: u64,
    pub(crate) hangs: u64,
    pub(crate) exits_first: u64,
    pub(crate) slow: u64,
    pub(crate) races: u64,
    pub(crate) short_lived: u64,
    pub(crate) stubborn: u64,
    pub(crate) leaves: u64,
    pub(crate) unkillable: u64,
    pub(crate) forbidden: u64,
    pub(crate) stalls: u64,
    pub(crate) oom: u64,
    pub(crate) noise: u64,
    pub(crate) abandons: u64,
    /// Only where the state is taken down, which it is not here.
    pub(crate) deaths: u64,
}

impl Faults {
    /// The world makes these before it is given the bytes.
    pub(crate) fn swarm(_random: &mut Random) -> Faults {
        Faults::default()
    }

    /// Every fault may happen: the bytes decide whether it does.
    pub(crate) fn all() -> Faults {
        Faults {
            fails_early: 25,
            fails_late: 25,
            hangs: 25,
            exits_first: 25,
            slow: 50,
            races: 50,
            short_lived: 50,
            stubborn: 25,
            leaves: 50,
            unkillable: 25,
            forbidden: 25,
            stalls: 50,
            oom: 25,
            noise: 50,
            abandons: 25,
            deaths: 0,
        }
    }
}
