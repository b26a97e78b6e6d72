//! Whether and when a daemon that has ended is started again.

use crate::vocabulary::{ExitStatus, Signal};
use std::time::Duration;

/// The first wait before a restart, as systemd's RestartSec; doubled by each one that follows.
const FIRST: Duration = Duration::from_millis(100);
/// The longest, where nobody asks for another: tasks may stand still meanwhile, since nobody reads
/// their output.
const LONGEST: Duration = Duration::from_secs(15);
/// A daemon that has lived for so long was well: the waits begin again.
const WELL_AFTER: Duration = Duration::from_secs(30);

/// What follows the end of a daemon.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// It is started again after a while.
    Restart(Duration),
    /// It was meant to end; so does the keeper, with this code.
    End(u8),
}

/// The waits before restarts.
#[derive(Debug)]
pub(super) struct Restarts {
    wait: Duration,
    longest: Duration,
}

impl Restarts {
    /// With waits up to `longest`, where that is given.
    pub(super) fn new(longest: Option<Duration>) -> Restarts {
        Restarts { wait: FIRST, longest: longest.unwrap_or(LONGEST).max(FIRST) }
    }

    /// A daemon has ended so, after it had lived for a while. `told`: it was told to end. `served`:
    /// it or one before it has been ready.
    pub(super) fn after(
        &mut self,
        status: ExitStatus,
        lived: Duration,
        told: bool,
        served: bool,
    ) -> Next {
        if told || is_clean(status) {
            return Next::End(code(status));
        }
        // It cannot be executed, or refuses its arguments: no restart helps, and nothing is kept.
        if !served && matches!(status, ExitStatus::Exited(2 | 126 | 127)) {
            return Next::End(code(status));
        }
        if lived >= WELL_AFTER {
            self.wait = FIRST;
        }
        self.failed()
    }

    /// It could not be started at all.
    pub(super) fn failed(&mut self) -> Next {
        let wait = self.wait;
        self.wait = (wait * 2).min(self.longest);
        Next::Restart(wait)
    }
}

/// As systemd has it for Restart=on-failure: code 0, or a signal that asks a program to end.
fn is_clean(status: ExitStatus) -> bool {
    match status {
        ExitStatus::Exited(code) => code == 0,
        ExitStatus::Signaled(signal) => [Signal::HUP, Signal::INT, Signal::TERM]
            .iter()
            .any(|clean| clean.number() == i32::from(signal)),
        ExitStatus::Unknown => false,
    }
}

fn code(status: ExitStatus) -> u8 {
    match status {
        _ if is_clean(status) => 0,
        status => u8::try_from(status.exit_code()).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[test]
    fn waits_grow_until_a_daemon_was_well() {
        let mut restarts = Restarts::new(None);
        let mut after = |lived| wait(&mut restarts, lived);
        let waits: Vec<u128> = (0..9).map(|_| after(SOON)).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 15_000]);
        assert_eq!(after(WELL_AFTER), 100);
        assert_eq!(after(SOON), 200);
    }

    /// In milliseconds.
    fn wait(restarts: &mut Restarts, lived: Duration) -> u128 {
        match restarts.after(ExitStatus::Signaled(9), lived, false, true) {
            Next::Restart(wait) => wait.as_millis(),
            Next::End(code) => panic!("ended with {code}"),
        }
    }

    #[test]
    fn waits_grow_no_longer_than_is_asked() {
        for (longest, waits) in [(500, [100, 200, 400, 500, 500]), (100, [100; 5]), (0, [100; 5])] {
            let mut restarts = Restarts::new(Some(Duration::from_millis(longest)));
            let seen: Vec<u128> = (0..5).map(|_| wait(&mut restarts, SOON)).collect();
            assert_eq!(seen, waits, "{longest}");
            assert_eq!(wait(&mut restarts, WELL_AFTER), 100, "{longest}");
        }
    }

    #[test]
    fn what_was_meant_to_end_is_not_started_again() {
        let next = |status, told, served| Restarts::new(None).after(status, SOON, told, served);
        assert_eq!(next(ExitStatus::Exited(0), false, true), Next::End(0));
        assert_eq!(next(ExitStatus::Signaled(15), false, true), Next::End(0));
        assert_eq!(next(ExitStatus::Exited(3), true, true), Next::End(3));
        assert_eq!(next(ExitStatus::Signaled(9), true, true), Next::End(137));
        for code in [2, 126, 127] {
            assert_eq!(next(ExitStatus::Exited(code), false, false), Next::End(code));
            assert!(matches!(next(ExitStatus::Exited(code), false, true), Next::Restart(_)));
        }
        for status in [ExitStatus::Exited(1), ExitStatus::Signaled(13), ExitStatus::Signaled(6)] {
            assert!(matches!(next(status, false, false), Next::Restart(_)), "{status:?}");
        }
    }
}
