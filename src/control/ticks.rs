//! When what happens at an interval happens: at the same moments for all that have the same one, so
//! that they share what is measured.

use crate::sys::clock;
use crate::vocabulary::Mono;
use std::time::{Duration, Instant};

/// Nobody waits for longer.
const INTERVAL_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The next tick of this interval, at least half of it away.
pub(super) fn next_tick(interval: Duration) -> Instant {
    Instant::now() + until_tick(clock::now().mono, interval)
}

/// Ticks are multiples of the interval on the monotonic clock.
fn until_tick(now: Mono, interval: Duration) -> Duration {
    let interval = interval.min(INTERVAL_MAX);
    // A year has less than 2^64 of them.
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let since = now.as_nanos().saturating_add(nanos / 2);
    Duration::from_nanos(nanos - since % nanos) + interval / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_intervals_tick_together_and_none_is_short() {
        let interval = Duration::from_millis(100);
        for offset in 0..300 {
            let now = Mono::from_nanos(7_000_000_000 + offset * 1_000_000);
            let wait = until_tick(now, interval);
            assert!(wait >= interval / 2 && wait <= interval * 3 / 2, "{offset}: {wait:?}");
            assert_eq!((now + wait).as_nanos() % 100_000_000, 0, "{offset}");
        }
        assert_eq!(until_tick(Mono::from_nanos(300_000_000), interval), interval);
        let ages = Duration::from_millis((1 << 53) - 1);
        assert!(until_tick(Mono::from_nanos(5), ages) <= INTERVAL_MAX * 2);
    }
}
