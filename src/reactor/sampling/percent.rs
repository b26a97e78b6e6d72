//! Two measurements compared: percentages, and totals that never fall.

use crate::vocabulary::Usage;
use std::time::Duration;

/// Takes in what an earlier measurement, `time` before this one, says.
///
/// Totals that are summed over living processes would fall where one has ended whose parent is
/// gone: they stay as they were then.
pub(super) fn compare(earlier: &Usage, now: &mut Usage, time: Duration) {
    let totals = [
        (earlier.cpu_user_us, &mut now.cpu_user_us),
        (earlier.cpu_system_us, &mut now.cpu_system_us),
        (earlier.io_read_bytes, &mut now.io_read_bytes),
        (earlier.io_write_bytes, &mut now.io_write_bytes),
    ];
    for (before, total) in totals {
        *total = total.map(|total| total.max(before.unwrap_or(0)));
    }
    let time_us = time.as_secs_f64() * 1e6;
    let share = |before: Option<u64>, now: Option<u64>| {
        Some(now?.saturating_sub(before?) as f64 / time_us * 100.0)
            .filter(|share| share.is_finite())
    };
    now.cpu_user_percent = share(earlier.cpu_user_us, now.cpu_user_us);
    now.cpu_system_percent = share(earlier.cpu_system_us, now.cpu_system_us);
    now.cpu_percent = share(earlier.cpu_us(), now.cpu_us());
}

/// No process has run since the earlier measurement.
pub(super) fn stands_still(usage: &mut Usage) {
    let percentages =
        [&mut usage.cpu_percent, &mut usage.cpu_user_percent, &mut usage.cpu_system_percent];
    percentages.into_iter().for_each(|percent| *percent = Some(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(user: u64, system: u64) -> Usage {
        Usage { cpu_user_us: Some(user), cpu_system_us: Some(system), ..Usage::default() }
    }

    #[test]
    fn a_hundred_percent_is_one_core() {
        let mut now = usage(3_000_000, 1_500_000);
        compare(&usage(1_000_000, 1_000_000), &mut now, Duration::from_secs(2));
        assert_eq!(now.cpu_user_percent, Some(100.0));
        assert_eq!(now.cpu_system_percent, Some(25.0));
        assert_eq!(now.cpu_percent, Some(125.0));
    }

    #[test]
    fn totals_never_fall_and_what_was_not_measured_stays_absent() {
        let mut now = usage(1, 7);
        compare(&usage(5, 5), &mut now, Duration::from_secs(1));
        assert_eq!((now.cpu_user_us, now.cpu_system_us), (Some(5), Some(7)));
        assert_eq!(now.io_read_bytes, None);
        let mut unknown = Usage::default();
        compare(&usage(5, 5), &mut unknown, Duration::from_secs(1));
        assert_eq!(unknown, Usage::default());
        let mut at_once = usage(5, 5);
        compare(&usage(5, 5), &mut at_once, Duration::ZERO);
        assert_eq!(at_once.cpu_percent, None);
    }
}
