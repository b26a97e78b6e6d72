//! The account of one task.

use super::Seen;
use ostler::{Event, EventKind, Now, RestartMode, StateName};
use std::time::Duration;

impl Seen {
    /// A stop gives the run this long.
    pub(super) fn promise(&mut self, now: Now, grace: Duration) {
        let Some(run) = &mut self.run else { return };
        let from = if run.started { now.mono + grace } else { now.mono };
        run.kill_from = Some(run.kill_from.map_or(from, |before| before.min(from)));
        run.too_slow = false;
    }

    pub(super) fn automatic(&mut self, now: Now) {
        let policy = self.identity.restart();
        assert!(policy.mode != RestartMode::Never, "restarted without a policy");
        let Some(backoff) = self.backoff.take() else { panic!("restarted without a delay") };
        let waited = now.mono.since(backoff);
        assert!(waited >= policy.delay(), "the delay is cut short: {waited:?}");
        let most = if std::mem::take(&mut self.long) { policy.delay() } else { policy.max_delay() };
        assert!(waited <= most * 5 / 4, "the delay is too long: {waited:?}");
        self.attempts.push(now.mono);
        self.attempts.retain(|&at| now.mono.since(at) < policy.interval());
        let most = policy.attempts().map_or(usize::MAX, |most| most as usize);
        assert!(self.attempts.len() <= most, "more attempts than its policy has");
    }

    pub(super) fn event(&mut self, now: Now, event: &Event, most: Option<Duration>) {
        let kind = event.kind;
        match kind {
            EventKind::Started => {
                let Some(run) = &mut self.run else { panic!("started without a start") };
                assert!(!run.started, "started twice");
                self.began = now.mono;
                run.started = true;
                run.kill_from = run.kill_from.filter(|_| !run.too_slow);
                assert_eq!(event.status.state, StateName::Running);
            }
            EventKind::StartFailed => {
                let run = self.run.take();
                assert!(run.is_none_or(|run| !run.started), "a start that succeeded has failed");
                self.stuck = false;
                assert!(event.status.error.is_some());
            }
            EventKind::Exited => {
                let Some(run) = self.run.take() else { panic!("exited without a run") };
                assert!(run.started && run.empty, "exited too early");
                let exit = event.status.exit.expect("how it exited");
                assert_eq!(Some(exit.pid), run.pid);
                let interval = self.identity.restart().interval();
                self.long = now.mono.since(self.began) > interval;
            }
            EventKind::Stopping => {
                let Some(run) = self.run else { panic!("stopping without a run") };
                assert!(run.started);
                if run.kill_from.is_none() {
                    // What was being taken back already has no grace.
                    let grace = self.identity.kill_timeout();
                    let grace = if run.too_slow { Duration::ZERO } else { grace };
                    self.promise(now, grace.min(most.unwrap_or(Duration::MAX)));
                }
            }
            EventKind::Backoff => {
                assert!(self.run.is_none());
                self.backoff = Some(now.mono);
            }
            EventKind::Finished => {
                assert!(self.run.is_none(), "finished in a run");
                assert_eq!(event.status.state, StateName::Exited);
                let gave_up = event.detail.as_deref() == Some("gave_up");
                assert_eq!(event.status.gave_up, gave_up);
            }
            EventKind::Stuck => {
                assert!(self.run.is_some_and(|run| run.listed) && !self.stuck);
                self.stuck = true;
            }
            EventKind::Killed | EventKind::OomKilled => assert!(self.run.is_some()),
            _ => {}
        }
    }
}
