//! What may go wrong in a simulated world: one knob for each fault, and the chance behind them.

use std::time::Duration;

/// Numbers that look random and repeat with their seed (splitmix64).
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
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

/// Chances in percent.
#[derive(Clone, Default, Debug)]
pub(crate) struct Faults {
    /// A run fails before its child exists.
    pub(crate) fails_early: u64,
    /// A run fails after its child exists.
    pub(crate) fails_late: u64,
    /// The exec never happens.
    pub(crate) hangs: u64,
    /// The exit is seen before the exec.
    pub(crate) exits_first: u64,
    /// What the kernel does takes its time.
    pub(crate) slow: u64,
    /// An exec succeeds although the start is being taken back.
    pub(crate) races: u64,
    /// Ends by itself within a minute.
    pub(crate) short_lived: u64,
    /// Ignores every signal but KILL.
    pub(crate) stubborn: u64,
    /// Leaves processes behind.
    pub(crate) leaves: u64,
    /// Is not gone long after its kill.
    pub(crate) unkillable: u64,
    /// A signal is refused.
    pub(crate) forbidden: u64,
    /// Output is not taken.
    pub(crate) stalls: u64,
    /// The OOM killer takes part.
    pub(crate) oom: u64,
    /// Something is told that nobody waits for.
    pub(crate) noise: u64,
    /// Who asked does not wait for the answer.
    pub(crate) abandons: u64,
    /// The supervisor dies, of a thousand; only where its state is taken down.
    pub(crate) deaths: u64,
}

impl Faults {
    /// Some knobs off, some on, some turned up: different in each simulation.
    pub(crate) fn swarm(random: &mut Random) -> Faults {
        let mut knob = || match random.below(3) {
            0 => 0,
            1 => random.below(15),
            _ => random.below(70),
        };
        Faults {
            fails_early: knob(),
            fails_late: knob(),
            hangs: knob(),
            exits_first: knob(),
            slow: knob(),
            races: knob(),
            short_lived: knob(),
            stubborn: knob(),
            leaves: knob(),
            unkillable: knob(),
            forbidden: knob(),
            stalls: knob(),
            oom: knob(),
            noise: knob(),
            abandons: knob(),
            deaths: 0,
        }
    }
}
