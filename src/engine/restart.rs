//! Whether and when a task is started again by its policy.

use super::chance::Chance;
use crate::vocabulary::{ExitStatus, Mono, RestartMode, RestartPolicy};
use std::collections::VecDeque;
use std::time::Duration;

/// Most attempts whose times are kept one by one, 8 bytes each. Above it they are counted in
/// windows that follow each other: up to twice as many may then fall into one interval.
const TIMES_MAX: u32 = 256;

/// The restarts of a task that its policy has to remember.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Restarts since the delay was reset.
    streak: u32,
    window: Window,
}

/// The restarts within the interval. Boxed: most tasks never restart, and should be small.
#[allow(clippy::box_collection)]
#[derive(Clone, Debug, Default)]
enum Window {
    #[default]
    Empty,
    Times(Box<VecDeque<Mono>>),
    Count(Box<(Mono, u32)>),
}

/// Whether the policy wants another run after such an end.
pub(super) fn is_due(policy: &RestartPolicy, status: ExitStatus) -> bool {
    match policy.mode {
        RestartMode::Never => false,
        RestartMode::OnFailure => !status.is_success(),
        RestartMode::Always => true,
    }
}

/// What a later engine has to know of the restarts of a task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attempts {
    /// Restarts since the delay was reset.
    pub streak: u32,
    /// When they were, oldest first, where they are few.
    pub times: Vec<Mono>,
    /// Else the beginning of the window, and how many.
    pub counted: Option<(Mono, u32)>,
}

impl History {
    /// For a later engine.
    pub(super) fn to_attempts(&self) -> Attempts {
        let streak = self.streak;
        match &self.window {
            Window::Empty => Attempts { streak, ..Attempts::default() },
            Window::Times(times) => {
                Attempts { streak, times: times.iter().copied().collect(), counted: None }
            }
            Window::Count(counted) => {
                Attempts { streak, times: Vec::new(), counted: Some(**counted) }
            }
        }
    }

    /// Of an earlier engine.
    pub(super) fn of_attempts(attempts: Attempts) -> History {
        let window = match attempts {
            Attempts { counted: Some(counted), .. } => Window::Count(Box::new(counted)),
            Attempts { times, .. } if times.is_empty() => Window::Empty,
            Attempts { times, .. } => Window::Times(Box::new(times.into())),
        };
        History { streak: attempts.streak, window }
    }

    /// A run of this length is over.
    pub(super) fn ran(&mut self, policy: &RestartPolicy, length: Duration) {
        if length > policy.interval() {
            *self = History::default();
        }
    }

    /// How long to wait before the next restart; `None` where the attempts are used up.
    pub(super) fn next(
        &mut self,
        policy: &RestartPolicy,
        now: Mono,
        chance: &mut Chance,
    ) -> Option<Duration> {
        if policy.attempts().is_some_and(|most| self.within(policy, now) >= most) {
            return None;
        }
        let factor = 1_u32.checked_shl(self.streak).unwrap_or(u32::MAX);
        self.streak = self.streak.saturating_add(1);
        let delay = policy.delay().saturating_mul(factor).min(policy.max_delay());
        Some(delay.saturating_add(chance.up_to(delay / 4)))
    }

    /// A restart is made.
    pub(super) fn record(&mut self, policy: &RestartPolicy, now: Mono) {
        let Some(most) = policy.attempts() else { return };
        self.within(policy, now);
        match &mut self.window {
            Window::Times(times) => times.push_back(now),
            Window::Count(counted) => counted.1 = counted.1.saturating_add(1),
            Window::Empty if most > TIMES_MAX => self.window = Window::Count(Box::new((now, 1))),
            Window::Empty => self.window = Window::Times(Box::new(VecDeque::from([now]))),
        }
    }

    /// Restarts within the interval that ends now; older ones are forgotten.
    fn within(&mut self, policy: &RestartPolicy, now: Mono) -> u32 {
        let interval = policy.interval();
        let old = |time: Mono| now.since(time) >= interval;
        let count = match &mut self.window {
            Window::Empty => 0,
            Window::Times(times) => {
                while times.front().is_some_and(|&time| old(time)) {
                    times.pop_front();
                }
                u32::try_from(times.len()).unwrap_or(u32::MAX)
            }
            Window::Count(counted) if old(counted.0) => 0,
            Window::Count(counted) => counted.1,
        };
        if count == 0 {
            self.window = Window::Empty;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Mono {
        Mono::default() + Duration::from_secs(seconds)
    }

    fn policy(attempts: Option<u32>, interval: u64) -> RestartPolicy {
        RestartPolicy {
            mode: RestartMode::OnFailure,
            attempts: Some(attempts),
            interval: Some(Duration::from_secs(interval)),
            delay: None,
            max_delay: None,
        }
    }

    #[test]
    fn the_delay_doubles_up_to_its_cap_plus_a_quarter() {
        let (policy, mut chance) = (policy(None, 1000), Chance::new(7));
        let mut history = History::default();
        for (count, base) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
            let delay = history.next(&policy, at(0), &mut chance).expect("no limit");
            let base = Duration::from_secs(base);
            assert!((base..=base + base / 4).contains(&delay), "restart {count}: {delay:?}");
        }
        for _ in 0..100 {
            assert!(history.next(&policy, at(0), &mut chance).is_some());
        }
        assert!(matches!(history.window, Window::Empty), "no limit, nothing to remember");
        history.ran(&policy, Duration::from_secs(1000));
        assert!(history.next(&policy, at(0), &mut chance) >= Some(60 * SECOND));
        history.ran(&policy, Duration::from_secs(1001));
        assert!(history.next(&policy, at(0), &mut chance) <= Some(SECOND + SECOND / 4));
    }

    #[test]
    fn no_delay_stays_none() {
        let policy = RestartPolicy {
            delay: Some(Duration::ZERO),
            max_delay: Some(Duration::ZERO),
            ..policy(None, 10)
        };
        let mut history = History::default();
        for _ in 0..40 {
            let delay = history.next(&policy, at(0), &mut Chance::new(1));
            assert_eq!(delay, Some(Duration::ZERO));
        }
    }

    #[test]
    fn attempts_fall_out_of_the_window() {
        let (policy, mut chance) = (policy(Some(2), 10), Chance::new(7));
        let mut history = History::default();
        let mut try_at = |seconds| {
            let granted = history.next(&policy, at(seconds), &mut chance).is_some();
            if granted {
                history.record(&policy, at(seconds));
            }
            granted
        };
        assert_eq!([0, 4, 9, 10, 13, 14].map(&mut try_at), [true, true, false, true, false, true]);
    }

    #[test]
    fn many_attempts_are_counted_only() {
        let most = TIMES_MAX + 1;
        let (policy, mut chance) = (policy(Some(most), 10), Chance::new(7));
        let mut history = History::default();
        for _ in 0..most {
            assert!(history.next(&policy, at(1), &mut chance).is_some());
            history.record(&policy, at(1));
        }
        assert!(matches!(history.window, Window::Count(_)));
        assert_eq!(history.next(&policy, at(10), &mut chance), None);
        assert!(history.next(&policy, at(11), &mut chance).is_some());
    }

    #[test]
    fn what_is_a_failure() {
        let with = |mode| RestartPolicy { mode, ..RestartPolicy::default() };
        for (mode, due) in [
            (RestartMode::Never, [false; 4]),
            (RestartMode::OnFailure, [false, true, true, true]),
            (RestartMode::Always, [true; 4]),
        ] {
            let ends = [
                ExitStatus::Exited(0),
                ExitStatus::Exited(1),
                ExitStatus::Signaled(15),
                ExitStatus::Unknown,
            ];
            assert_eq!(ends.map(|end| is_due(&with(mode), end)), due, "{mode:?}");
        }
        assert_eq!(policy(Some(0), 10).attempts(), Some(0));
        let none = History::default().next(&policy(Some(0), 10), at(0), &mut Chance::new(0));
        assert_eq!(none, None);
    }
}
