//! The last events, kept for clients that come late or fall behind.

mod bytes;
#[cfg(feature = "cli")]
mod exchange;
mod packed;
mod paths;
mod ring;

use super::wire::EventShape;
use crate::vocabulary::Event;
use crate::vocabulary::limits::EVENTS_KEPT;
use packed::Record;
use paths::Beginning;
use ring::{Ring, Stamp};

/// Events that are older than the history, or of another one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    /// Sequence of the oldest event that is kept.
    pub(crate) oldest: u64,
}

/// The last [`EVENTS_KEPT`] events, packed.
#[derive(Debug)]
pub(crate) struct History {
    ring: Ring,
    /// Of the paths of groups in it.
    beginning: Beginning,
    /// Events up to this one are gone, or were never here.
    gone: u64,
    /// Printed before the number of a launch.
    instance: String,
}

impl History {
    /// An empty history: what comes has a sequence above `sequence`.
    pub(crate) fn new(instance: String, sequence: u64) -> History {
        let (ring, beginning) = (Ring::default(), Beginning::default());
        History { ring, beginning, gone: sequence, instance }
    }

    /// Adds all of it to `bytes`, for [`History::of_bytes`].
    #[cfg(feature = "cli")]
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        exchange::write(bytes, self.gone, &self.ring, &self.beginning);
    }

    /// The history that another program has written; what it tells that is not known here ends it,
    /// and is lost to those who were behind.
    #[cfg(feature = "cli")]
    pub(crate) fn of_bytes(instance: String, sequence: u64, bytes: &[u8]) -> History {
        let mut beginning = Beginning::default();
        match exchange::read(bytes, &mut beginning) {
            Some((gone, ring)) if ring.newest().unwrap_or(gone) == sequence => {
                History { ring, beginning, gone, instance }
            }
            _ => History::new(instance, sequence),
        }
    }

    /// Remembers an event; `cgroup` is that of the task's run.
    pub(crate) fn push(&mut self, event: &Event, cgroup: Option<String>) {
        if self.ring.len() >= EVENTS_KEPT
            && let Some(oldest) = self.ring.drop_oldest()
        {
            self.gone = oldest;
        }
        let stamp = Stamp { sequence: event.sequence, time: event.time.as_micros() };
        self.ring.push(stamp, &packed::pack(event, cgroup.as_deref(), &mut self.beginning));
    }

    /// Sequence of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.ring.newest().unwrap_or(self.gone)
    }

    /// Part of every launch's id.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether everything after `sequence` is still here. `newest` is the last event that
    /// happened, which may not have come here yet.
    pub(crate) fn check(&self, sequence: u64, newest: u64) -> Result<(), Lost> {
        if sequence < self.gone || sequence > newest.max(self.last()) {
            let oldest = self.ring.oldest().unwrap_or(self.gone + 1);
            return Err(Lost { oldest });
        }
        Ok(())
    }

    /// Hands the events after `sequence` to `take` as the protocol has them, at most `most`, until
    /// it says no; those of other names than `names` are passed over. Returns the sequence of the
    /// last one that was taken or passed over.
    pub(crate) fn read(
        &self,
        sequence: u64,
        names: Option<&[String]>,
        most: usize,
        mut take: impl FnMut(&EventShape<'_>) -> bool,
    ) -> u64 {
        let mut reached = sequence;
        for (stamp, piece) in self.ring.after(sequence).take(most) {
            let name = packed::name(piece);
            let wanted = names.is_none_or(|names| names.iter().any(|wanted| wanted == name));
            if wanted
                && let Some(record) = Record::of(piece)
                && !record.unpack(stamp, &self.instance, &self.beginning, &mut take)
            {
                break;
            }
            reached = stamp.sequence;
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{EventKind, Identity, StateName, Status, TaskSpec, Wall};
    use std::sync::Arc;

    fn event(sequence: u64, name: &str) -> Event {
        let identity = Identity::new(name.into(), 7, Wall::from_micros(5), TaskSpec::new("true"));
        let status = Status {
            identity: Arc::new(identity),
            state: StateName::Running,
            pid: None,
            started: None,
            next_start: None,
            restarts: 0,
            run: 1,
            exit: None,
            error: None,
            gave_up: false,
            containment: None,
            output_pending: false,
            adopted: false,
        };
        let time = Wall::from_micros(9);
        Event { sequence, time, kind: EventKind::Started, status, detail: None }
    }

    fn read(history: &History, after: u64, names: Option<&[String]>) -> (Vec<u64>, u64) {
        let mut seen = Vec::new();
        let reached = history.read(after, names, usize::MAX, |event| {
            seen.push(event.sequence);
            true
        });
        (seen, reached)
    }

    #[test]
    fn reading_goes_on_where_it_stopped() {
        let mut history = History::new("i".into(), 10);
        for (sequence, name) in [(11, "a"), (12, "b"), (15, "a")] {
            history.push(&event(sequence, name), None);
        }
        assert_eq!(read(&history, 10, None), (vec![11, 12, 15], 15));
        assert_eq!(read(&history, 12, None), (vec![15], 15));
        assert_eq!(read(&history, 15, None), (vec![], 15));
        assert_eq!(read(&history, 11, Some(&["b".into()])), (vec![12], 15));
        assert_eq!(read(&history, 10, Some(&[])), (vec![], 15));
        let mut refused = 0;
        let reached = history.read(10, None, usize::MAX, |_| {
            refused += 1;
            refused < 2
        });
        assert_eq!(reached, 11, "what was refused is read again");
        assert_eq!(history.read(10, None, 2, |_| true), 12);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn a_history_goes_on_in_another_program() {
        let mut history = History::new("i".into(), 10);
        for (sequence, name) in [(11, "a"), (12, "b"), (15, "a")] {
            history.push(&event(sequence, name), Some("/x".into()));
        }
        let mut bytes = Vec::new();
        history.write(&mut bytes);
        let next = History::of_bytes("i".into(), 15, &bytes);
        assert_eq!(next.check(10, 15), Ok(()));
        let all = |history: &History| {
            let mut all = Vec::new();
            history.read(10, None, usize::MAX, |event| {
                all.push(serde_json::to_value(event).unwrap());
                true
            });
            all
        };
        assert_eq!(all(&next), all(&history));
        for end in 0..bytes.len() {
            let cut = History::of_bytes("i".into(), 15, &bytes[..end]);
            assert_eq!(cut.check(14, 15), Err(Lost { oldest: 16 }), "{end}");
        }
    }

    #[test]
    fn what_is_gone_or_of_another_history_is_lost() {
        let mut history = History::new("i".into(), 10);
        assert_eq!(history.check(10, 10), Ok(()));
        assert_eq!(history.check(9, 10), Err(Lost { oldest: 11 }));
        assert_eq!(history.check(11, 10), Err(Lost { oldest: 11 }));
        assert_eq!(history.check(11, 12), Ok(()), "it happened, and comes here later");
        for sequence in 11..=(10 + EVENTS_KEPT as u64) {
            history.push(&event(sequence, "a"), None);
        }
        assert_eq!(history.check(10, 10), Ok(()));
        history.push(&event(11 + EVENTS_KEPT as u64, "a"), None);
        assert_eq!(history.check(10, 10), Err(Lost { oldest: 12 }));
        assert_eq!(history.check(11, 10), Ok(()));
        assert_eq!(read(&history, 11, None).0.len(), EVENTS_KEPT);
    }
}
