//! The crowd: streams with a line now and then, where there are so many of them that to wake for
//! each line would cost more than the line does. Their lines gather for a few milliseconds.
//!
//! Their pipes are in a set of their own. While lines come fast the loop does not watch that set:
//! it looks into it from time to time, as network drivers do under load (NAPI). Once they come
//! slowly again a line wakes it as before. Ends of processes, clients, signals, and streams that
//! carry much or are served again and again, stay in the loop's own set and never wait.

use super::Relay;
use super::open::watch;
use super::stream::Flow;
use crate::reactor::token::{Key, Owner};
use crate::sys::faults;
use crate::vocabulary::limits::{
    GATHER_BYTES_MAX, GATHER_LEAN_LINES, GATHER_LEAN_LOOKS, GATHER_LINES_PER_LOOK,
    GATHER_RATE_TURNS, GATHER_RATE_WINDOW, GATHER_TIME,
};
use crate::vocabulary::{Mono, cause};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The streams whose lines may gather.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// Made once there is a crowd.
    set: Option<Set>,
    /// When the set is looked at, while the loop does not watch it.
    due: Option<Mono>,
    /// The loop has told of the set, or the last look has not seen all.
    told: bool,
    /// Looks in a row that have found next to nothing.
    lean: u32,
    rate: Rate,
}

/// An epoll set in the loop's own one.
#[derive(Debug)]
struct Set {
    poll: Poll,
    events: Events,
}

impl Set {
    /// An empty one, which the loop watches.
    fn new(registry: &Registry) -> io::Result<Set> {
        faults::check("epoll_create1")?;
        let poll = Poll::new()?;
        faults::check("epoll_ctl")?;
        let token = Token::from(Owner::Crowd);
        registry.register(&mut SourceFd(&poll.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Set { poll, events: Events::with_capacity(GATHER_LINES_PER_LOOK) })
    }

    /// Has the loop watch it from now on, or not any more. It stays in the loop's set: to put one
    /// of thousands of pipes into another takes milliseconds, since the kernel looks for rings. No
    /// set is ever ready for writing, so that to wait for that is to be told of nothing.
    fn watch(&self, registry: &Registry, on: bool) -> io::Result<()> {
        faults::check("epoll_ctl")?;
        let token = Token::from(Owner::Crowd);
        let interest = if on { Interest::READABLE } else { Interest::WRITABLE };
        registry.reregister(&mut SourceFd(&self.poll.as_raw_fd()), token, interest)
    }
}

impl Crowd {
    /// When to look into the set: in the past where that is now.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        if self.told { Some(Mono::default()) } else { self.due }
    }

    /// Whether lines gather, or would if there were streams in the crowd.
    fn is_wanted(&self, now: Mono) -> bool {
        self.due.is_some() || self.rate.is_high(now)
    }

    /// Takes in a pipe; false where the system does not let us.
    fn take_in(&mut self, registry: &Registry, pipe: BorrowedFd<'_>, key: Key) -> bool {
        if self.set.is_none() {
            self.set = Set::new(registry).ok();
        }
        let Some(set) = &self.set else { return false };
        watch(set.poll.registry(), pipe, Owner::Source(key)).is_ok()
    }

    fn let_go(&self, pipe: BorrowedFd<'_>) {
        if let Some(set) = &self.set {
            leave(set.poll.registry(), pipe);
        }
    }

    /// What has become ready, where a look is due.
    fn look(&mut self, now: Mono) -> Option<Events> {
        if !self.told && self.due.is_none_or(|due| due > now) {
            return None;
        }
        let set = self.set.as_mut()?;
        let mut events = std::mem::replace(&mut set.events, Events::with_capacity(0));
        // Interrupted by a signal it has found nothing, and looks again.
        self.told = set.poll.poll(&mut events, Some(Duration::ZERO)).is_err();
        Some(events)
    }

    /// After a look: when the next one is.
    fn looked(&mut self, now: Mono, events: Events, registry: &Registry) {
        let Some(set) = &mut self.set else { return };
        let found = events.iter().count();
        set.events = events;
        self.told |= found >= GATHER_LINES_PER_LOOK;
        let gathers = self.due.is_some();
        self.lean = if found <= GATHER_LEAN_LINES { self.lean + 1 } else { 0 };
        let next = Some(now + GATHER_TIME);
        let changed = match gathers {
            true if self.lean >= GATHER_LEAN_LOOKS => set.watch(registry, true).map(|()| None),
            true => Ok(next),
            false if self.rate.is_high(now) => set.watch(registry, false).map(|()| {
                self.lean = 0;
                next
            }),
            false => Ok(None),
        };
        self.due = changed.unwrap_or_else(|error| {
            log::debug!("cannot change what the loop watches: {}", cause(&error));
            // Where it is not watched it has to be looked at.
            next.filter(|_| gathers)
        });
    }
}

/// How often the loop turns for a line of a stream that is not lively.
#[derive(Debug, Default)]
struct Rate {
    since: Mono,
    turns: u32,
    high: bool,
}

impl Rate {
    fn note(&mut self, now: Mono) {
        if now >= self.since + GATHER_RATE_WINDOW {
            self.high = self.turns >= GATHER_RATE_TURNS;
            (self.since, self.turns) = (now, 0);
        }
        self.turns += 1;
    }

    fn is_high(&self, now: Mono) -> bool {
        self.high && now < self.since + GATHER_RATE_WINDOW * 2
    }
}

/// Whether somebody may wait for what a stream carries.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pace(u8);

/// Served so often in a row, it is lively.
const LIVELY: u8 = 8;
/// A stream that carries much is lively for so many lines more.
const BULK: u8 = 8 * LIVELY;

impl Pace {
    /// It was served: so long after the last time, so many bytes, and whether that was all.
    fn note(&mut self, after: Duration, bytes: usize, all: bool) {
        self.0 = if bytes >= GATHER_BYTES_MAX || !all {
            BULK
        } else if after < GATHER_TIME * 2 {
            self.0.max((self.0 + 1).min(LIVELY))
        } else {
            self.0.saturating_sub(LIVELY)
        };
    }

    fn is_calm(self) -> bool {
        self.0 == 0
    }

    fn is_lively(self) -> bool {
        self.0 >= LIVELY
    }
}

impl Relay {
    /// The loop says that lines of the crowd have come.
    pub(crate) fn crowd_ready(&mut self) {
        self.crowd.told = true;
    }

    /// Takes what has gathered, where it is time.
    pub(super) fn look_at_crowd(&mut self, now: Mono) {
        let Some(events) = self.crowd.look(now) else { return };
        for event in &events {
            if let Some(Owner::Source(key)) = Owner::of(event.token()) {
                let closed = event.is_read_closed() || event.is_error();
                self.source_ready(key, event.is_readable(), closed);
            }
        }
        self.crowd.looked(now, events, &self.registry);
    }

    /// A stream was served, so long after the last time: it joins the crowd, or leaves it, where
    /// that has come to be better. Whether nobody waits for it as far as is known.
    pub(super) fn note_pace(
        &mut self,
        now: Mono,
        key: Key,
        after: Duration,
        (bytes, flow): (usize, Flow),
    ) -> bool {
        let Some(stream) = self.streams.get_mut(key).filter(|_| bytes > 0) else { return false };
        stream.pace.note(after, bytes, flow == Flow::Idle);
        if stream.pace.is_lively() {
            for source in stream.sources.iter_mut().filter(|source| source.gathered) {
                // Where it cannot be watched by itself it stays where it is.
                if watch(&self.registry, source.fd(), Owner::Source(key)).is_ok() {
                    self.crowd.let_go(source.fd());
                    source.gathered = false;
                }
            }
        } else if stream.pace.is_calm() && self.crowd.is_wanted(now) {
            for source in stream.sources.iter_mut().filter(|source| !source.gathered) {
                if self.crowd.take_in(&self.registry, source.fd(), key) {
                    leave(&self.registry, source.fd());
                    source.gathered = true;
                }
            }
        }
        stream.pace.is_calm()
    }

    /// A turn has served a stream that nobody waits for.
    pub(super) fn note_calm_turn(&mut self, now: Mono) {
        self.crowd.rate.note(now);
    }
}

/// Ends the watch of a pipe in a set, which cannot fail for one that is in it.
fn leave(registry: &Registry, pipe: BorrowedFd<'_>) {
    if let Err(error) = registry.deregister(&mut SourceFd(&pipe.as_raw_fd())) {
        log::debug!("cannot end the watch of a pipe: {}", cause(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MOMENT: Duration = Duration::from_millis(1);

    fn at(time: Duration) -> Mono {
        Mono::from_nanos(SECOND.as_nanos() as u64) + time
    }

    #[test]
    fn a_line_now_and_then_is_calm_and_so_is_a_burst_of_them() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.note(SECOND, 100, true);
            assert!(pace.is_calm());
            for _ in 1..LIVELY {
                pace.note(MOMENT, 100, true);
                assert!(!pace.is_calm() && !pace.is_lively());
            }
        }
    }

    #[test]
    fn who_is_served_again_and_again_is_lively_until_it_pauses() {
        let mut pace = Pace::default();
        for _ in 0..1000 {
            pace.note(MOMENT, 100, true);
        }
        assert!(pace.is_lively());
        pace.note(SECOND, 100, true);
        assert!(pace.is_calm());
    }

    #[test]
    fn bulk_is_remembered_for_some_lines() {
        for (bytes, all) in [(GATHER_BYTES_MAX, true), (1, false)] {
            let mut pace = Pace::default();
            pace.note(SECOND, bytes, all);
            let lively = std::iter::repeat_with(|| {
                let lively = pace.is_lively();
                pace.note(SECOND, 100, true);
                lively
            });
            assert_eq!(lively.take_while(|&lively| lively).count(), usize::from(BULK / LIVELY));
        }
    }

    #[test]
    fn the_rate_is_high_only_while_turns_come_fast() {
        let turns = GATHER_RATE_TURNS;
        let mut rate = Rate::default();
        let mut now = Duration::ZERO;
        let mut run = |rate: &mut Rate, turns: u32, windows: u32| {
            for _ in 0..turns * windows {
                rate.note(at(now));
                now += GATHER_RATE_WINDOW / turns;
            }
            (rate.is_high(at(now)), rate.is_high(at(now + GATHER_RATE_WINDOW * 2)))
        };
        assert_eq!(run(&mut rate, turns / 2, 5), (false, false));
        assert_eq!(run(&mut rate, turns * 2, 3), (true, false));
        assert_eq!(run(&mut rate, turns / 2, 3), (false, false));
    }
}
