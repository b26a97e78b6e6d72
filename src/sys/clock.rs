//! Both clocks, read once per turn of the loop (vDSO: no system call).

use crate::vocabulary::{Mono, Now, Wall};
use nix::time::{ClockId, clock_gettime};

/// Reads both clocks. A clock that cannot be read stands at 0; Linux always has both.
pub(crate) fn now() -> Now {
    let nanos = |clock| {
        clock_gettime(clock).map_or(0, |time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
            seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
        })
    };
    #[cfg(fuzzing)]
    let skipped = SKIPPED.get();
    #[cfg(not(fuzzing))]
    let skipped = 0;
    Now {
        mono: Mono::from_nanos(nanos(ClockId::CLOCK_MONOTONIC) + skipped),
        wall: Wall::from_micros(nanos(ClockId::CLOCK_REALTIME) / 1000),
    }
}

#[cfg(fuzzing)]
thread_local! {
    static SKIPPED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Time that has not passed is taken for passed, for fuzzing.
#[cfg(fuzzing)]
pub(crate) fn skip(by: std::time::Duration) {
    SKIPPED.set(SKIPPED.get() + by.as_nanos() as u64);
}
