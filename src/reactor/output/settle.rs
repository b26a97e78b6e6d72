//! The end of a run and of a task: what is still on its way is brought to its sinks, and to a
//! reader where the sink is a FIFO.

use super::stream::{Stream, Waiting};
use super::target::Target;
use super::{Relay, Settling, Timer};
use crate::engine::Input;
use crate::reactor::token::Key;
use crate::vocabulary::limits::{DRAIN_PATIENCE, LINGER, RELAY_TURN_TIME};
use crate::vocabulary::{Mono, TaskId};
use std::time::Instant;

/// Why the output of a task is dropped.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Reason {
    /// Nobody came to read it.
    Unread,
    /// The task was forgotten.
    Forgotten,
}

impl Relay {
    /// The run has ended: `OutputSettled` follows when what it has written so far has reached its
    /// sinks, or one of them does not move. What its remaining processes write later is relayed
    /// all the same.
    pub(crate) fn finish_run(&mut self, now: Mono, task: TaskId) {
        let Some(output) = self.output_mut(task) else {
            self.news.push_back((task, Input::OutputSettled { pending: false }));
            return;
        };
        output.run = None;
        output.settling = Settling::Waiting;
        for key in self.keys(task) {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.owed = stream.unmoved();
                stream.moved_at = now;
                stream.looks = 0;
            }
            self.source_ready(key, false, true);
        }
        self.settle(now, task);
    }

    /// The task has exited for good: its sinks are closed after the last byte, a FIFO once a
    /// reader has taken it.
    pub(crate) fn close(&mut self, now: Mono, task: TaskId) {
        for key in self.keys(task) {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.closing = true;
                stream.alone_since = now;
                stream.looks = 0;
            }
            self.source_ready(key, false, true);
            // Most have nothing left: their end is seen even if this is the last turn of all.
            let stream = self.streams.get(key);
            if stream.is_some_and(|s| s.owed == 0 && s.waiting() == Waiting::Nothing) {
                self.serve(now, key, Instant::now() + RELAY_TURN_TIME);
            }
            self.progress(now, key);
        }
    }

    /// The task is forgotten: what is unread of its output is dropped. Tells what is lost by that.
    #[must_use]
    pub(crate) fn forget(&mut self, task: TaskId) -> Vec<Input> {
        let lost = self.keys(task).filter_map(|key| self.drop_stream(key, Reason::Forgotten));
        let lost = lost.collect();
        self.take_output(task);
        lost
    }

    /// Something changed for a stream: it may be at its end, and its task settled.
    pub(super) fn progress(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        let task = stream.task;
        if stream.closing {
            if stream.is_done() && stream.target.unread() == 0 {
                self.remove_stream(key);
            } else if stream.is_unread() {
                let at = now + stream.look_wait();
                self.set_timer(key, Timer::Look, at);
            }
        }
        self.settle(now, task);
    }

    /// Whether output of finished runs has not reached its sinks.
    pub(super) fn owes(&self, task: TaskId) -> bool {
        self.keys(task).any(|key| self.streams.get(key).is_some_and(|stream| stream.owed > 0))
    }

    fn settle(&mut self, now: Mono, task: TaskId) {
        let Some(output) = self.output(task) else { return };
        let (settling, running) = (output.settling, output.run.is_some());
        let unread = |stream: &Stream| {
            stream.owed > 0 || (!running && settling != Settling::No && stream.target.unread() > 0)
        };
        match settling {
            Settling::No => return,
            Settling::Waiting if self.owes(task) => {
                for key in self.keys(task) {
                    if let Some(stream) = self.streams.get(key).filter(|stream| stream.owed > 0) {
                        let at = stream.moved_at + DRAIN_PATIENCE;
                        self.set_timer(key, Timer::Patience, at);
                    }
                }
                return;
            }
            Settling::Waiting | Settling::Behind => {}
        }
        let pending: Vec<Key> =
            self.keys(task).filter(|&key| self.streams.get(key).is_some_and(unread)).collect();
        if settling == Settling::Waiting {
            let pending = !pending.is_empty();
            self.news.push_back((task, Input::OutputSettled { pending }));
        } else if pending.is_empty() {
            self.news.push_back((task, Input::OutputDelivered));
        }
        for &key in &pending {
            // What has not even reached its sink comes with an event; a reader does not.
            if let Some(stream) = self.streams.get(key).filter(|stream| stream.owed == 0) {
                let at = now + stream.look_wait();
                self.set_timer(key, Timer::Look, at);
            }
        }
        if let Some(output) = self.output_mut(task) {
            output.settling = if pending.is_empty() { Settling::No } else { Settling::Behind };
        }
    }

    /// A sink has not moved for a while: the exit is told although some output is on its way.
    pub(super) fn out_of_patience(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get(key).filter(|stream| stream.owed > 0) else { return };
        let (task, at) = (stream.task, stream.moved_at + DRAIN_PATIENCE);
        let Some(output) =
            self.output_mut(task).filter(|output| output.settling == Settling::Waiting)
        else {
            return;
        };
        if at <= now {
            output.settling = Settling::Behind;
            self.news.push_back((task, Input::OutputSettled { pending: true }));
        } else {
            self.set_timer(key, Timer::Patience, at);
        }
    }

    /// Has a reader taken what is in the FIFO? Nothing else tells.
    pub(super) fn look(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.looks = stream.looks.saturating_add(1);
        if stream.closing && stream.is_unread() {
            let alone = stream.target.as_fifo().is_some_and(|fifo| fifo.has_reader() == Ok(false));
            if !alone {
                stream.alone_since = now;
            } else if now >= stream.alone_since + LINGER {
                let task = stream.task;
                let lost = self.drop_stream(key, Reason::Unread);
                self.news.extend(lost.map(|lost| (task, lost)));
                return self.settle(now, task);
            } else {
                let at = (now + stream.look_wait()).min(stream.alone_since + LINGER);
                self.set_timer(key, Timer::Look, at);
            }
            self.watch_target(now, key);
        }
        self.progress(now, key);
    }

    /// Closes a stream whatever it still holds, and says what is lost by that.
    fn drop_stream(&mut self, key: Key, reason: Reason) -> Option<Input> {
        let mut stream = self.remove_stream(key)?;
        let mut bytes = stream.unmoved();
        if let Target::Fifo(fifo) = &mut stream.target
            && fifo.unread() > 0
            && fifo.has_reader() == Ok(false)
        {
            bytes += fifo.unread();
        }
        if bytes > 0 {
            log::error!(
                "output lost: task={} stream={} path={:?} bytes={bytes}: {}",
                self.name_of(stream.task),
                stream.kind.as_str(),
                stream.target.path(),
                match reason {
                    Reason::Unread => "nobody has read it since the task exited",
                    Reason::Forgotten => "the task was removed",
                }
            );
        }
        for source in stream.sources.drain(..) {
            source.discard();
        }
        (bytes > 0).then_some(Input::OutputLost { stream: stream.kind, bytes: Some(bytes) })
    }
}

impl Stream {
    /// A FIFO that somebody has to read from before all is delivered.
    fn is_unread(&self) -> bool {
        matches!(self.target, Target::Fifo(_)) && self.target.unread() + self.unmoved() > 0
    }
}
