//! One turn of the relay: bytes are moved for every stream that is ready, within bounds.

use super::budget::PipeBudget;
use super::open::watch;
use super::stream::{Flow, Waiting};
use super::target::{Refusal, Target};
use super::{Relay, Timer};
use crate::engine::Input;
use crate::reactor::token::{Key, Owner};
use crate::vocabulary::Mono;
use crate::vocabulary::limits::{DRAIN_PATIENCE, LINGER_LOOK, PIPE_IDLE_AFTER, RELAY_TURN_TIME};
use nix::errno::Errno;
use std::time::Instant;

impl Relay {
    /// The loop says that a source can be read, or that its last writer has gone.
    pub(crate) fn source_ready(&mut self, key: Key, readable: bool, closed: bool) {
        let Some(stream) = self.streams.get_mut(key).filter(|_| readable || closed) else { return };
        for source in &mut stream.sources {
            source.read_on |= closed;
        }
        if stream.waiting() == Waiting::Nothing {
            self.enqueue(key);
        }
    }

    /// The loop says that a FIFO has room again.
    pub(crate) fn target_ready(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key)
            && matches!(stream.waiting(), Waiting::Room(_))
        {
            stream.room_seen = true;
            self.enqueue(key);
        }
    }

    pub(super) fn enqueue(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key).filter(|stream| !stream.queued) {
            stream.queued = true;
            self.ready.fresh.push_back(key);
        }
    }

    /// Moves bytes for what is ready. True: there is more, turn again without waiting.
    pub(crate) fn work(&mut self, now: Mono) -> bool {
        self.look_at_crowd(now);
        let mut calm = false;
        let carried = self.ready.carried.len();
        let until = Instant::now() + RELAY_TURN_TIME;
        while let Some(key) = self.ready.fresh.pop_front() {
            calm |= self.serve(now, key, until);
            if Instant::now() >= until {
                break;
            }
        }
        // One at least, so that nobody starves.
        for _ in 0..carried {
            if let Some(key) = self.ready.carried.pop_front() {
                self.serve(now, key, until);
            }
            if Instant::now() >= until {
                break;
            }
        }
        if calm {
            self.note_calm_turn(now);
        }
        !self.ready.is_empty()
    }

    /// Moves bytes of one stream. Whether nobody waits for them as far as is known.
    pub(super) fn serve(&mut self, now: Mono, key: Key, until: Instant) -> bool {
        self.look.prepare();
        let Some(stream) = self.streams.get_mut(key) else { return false };
        stream.queued = false;
        let after = now.since(stream.moved_at);
        let (moved, flow) = stream.pass(&mut self.look, now, until);
        self.relayed += moved as u64;
        let (kind, ended) = (stream.kind, stream.take_ended());
        self.forget_sources(kind, ended.into_iter());
        let calm = self.note_pace(now, key, after, (moved, flow));
        self.served(now, key, (moved, flow));
        calm
    }

    /// What follows from it.
    fn served(&mut self, now: Mono, key: Key, (moved, flow): (usize, Flow)) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if std::mem::take(&mut stream.lost_unseen) {
            let (task, kind) = (stream.task, stream.kind);
            log::error!(
                "output lost: task={} stream={}: it ended while no supervisor was there",
                self.name_of(task),
                kind.as_str()
            );
            self.news.push_back((task, Input::OutputLost { stream: kind, bytes: None }));
        }
        let Some(stream) = self.streams.get_mut(key) else { return };
        if let Target::File(file) = &mut stream.target
            && let Some(complaint) = file.take_complaint()
        {
            self.tell_stall(now, key, complaint);
        }
        match flow {
            Flow::Idle => {
                self.rest(key);
                self.flowing(now, key);
            }
            Flow::More => {
                self.flowing(now, key);
                if let Some(stream) = self.streams.get_mut(key) {
                    stream.queued = true;
                    self.ready.carried.push_back(key);
                }
            }
            Flow::Stopped(Refusal::Full) => self.full(now, key, moved > 0),
            Flow::Stopped(Refusal::Failed(errno)) => self.failed(now, key, errno),
        }
        self.grow_pipes(now, key, flow);
        self.progress(now, key);
    }

    fn flowing(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let was = stream.wait_for(Waiting::Nothing);
        stream.relax(now);
        stream.stall_told = false;
        // Only what was said to have failed is said to work.
        if matches!(was, Waiting::Retry(..)) && std::mem::take(&mut stream.failure_logged) {
            let (task, kind) = (stream.task, stream.kind.as_str());
            let path = stream.target.path().to_owned();
            log::info!("task={} stream={kind} path={path:?}: works again", self.name_of(task));
        }
    }

    fn full(&mut self, now: Mono, key: Key, moved: bool) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let since = match stream.waiting() {
            Waiting::Room(since) if !moved => since,
            _ => {
                stream.stall_told = false;
                now
            }
        };
        stream.wait_for(Waiting::Room(since));
        if !stream.stall_told {
            self.set_timer(key, Timer::Stall, since + DRAIN_PATIENCE);
        }
        self.watch_target(now, key);
    }

    /// Has the loop tell when the FIFO that a stream waits for has room.
    pub(super) fn watch_target(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if !matches!(stream.waiting(), Waiting::Room(_)) {
            return;
        }
        let Some(fifo) = stream.target.as_fifo().filter(|fifo| !fifo.watched) else { return };
        match watch(&self.registry, fifo.fd(), Owner::Target(key)) {
            Ok(()) => fifo.watched = true,
            Err(errno) => self.failed(now, key, errno),
        }
    }

    fn failed(&mut self, now: Mono, key: Key, errno: Errno) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let first = !matches!(stream.waiting(), Waiting::Retry(..));
        stream.wait_for(stream.waiting().after_failure(now));
        if let Waiting::Retry(at, _) = stream.waiting() {
            let reason = format!("cannot write {:?}: {}", stream.target.path(), errno.desc());
            self.set_timer(key, Timer::Retry, at);
            if first {
                self.tell_stall(now, key, reason);
            }
        }
    }

    fn tell_stall(&mut self, now: Mono, key: Key, reason: String) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let (task, kind) = (stream.task, stream.kind);
        if stream.may_log(now) {
            stream.failure_logged = true;
            log::warn!(
                "task={} stream={}: {reason}; nothing is lost, it is tried again",
                self.name_of(task),
                kind.as_str()
            );
        }
        self.news.push_back((task, Input::OutputStalled { stream: kind, reason }));
    }

    /// Grows pipes that were seen full while somebody reads at the other side.
    fn grow_pipes(&mut self, now: Mono, key: Key, flow: Flow) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let mut grown = false;
        for source in &mut stream.sources {
            if std::mem::take(&mut source.seen_full) && source.grown.is_none() {
                source.grown = self.pipes.grow(source.fd());
                grown |= source.grown.is_some();
            }
        }
        let (room_seen, bulk) = (stream.room_seen, stream.bulk_at == now);
        if flow == Flow::Stopped(Refusal::Full)
            && room_seen
            && bulk
            && let Some(fifo) = stream.target.as_fifo().filter(|fifo| fifo.grown.is_none())
        {
            fifo.grown = self.pipes.grow(fifo.fd());
            if fifo.grown.is_some() {
                grown = true;
                self.enqueue(key);
            }
        }
        if grown {
            self.set_timer(key, Timer::Shrink, now + PIPE_IDLE_AFTER);
        }
    }

    fn shrink_pipes(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let idle_from = stream.bulk_at + PIPE_IDLE_AFTER;
        if idle_from > now {
            self.set_timer(key, Timer::Shrink, idle_from);
            return;
        }
        let mut small = true;
        for source in &mut stream.sources {
            let mut grown = source.grown.take();
            small &= PipeBudget::shrink(source.fd(), &mut grown);
            source.grown = grown;
        }
        if let Some(fifo) = stream.target.as_fifo() {
            let mut grown = fifo.grown.take();
            small &= PipeBudget::shrink(fifo.fd(), &mut grown);
            fifo.grown = grown;
        }
        if !small {
            self.set_timer(key, Timer::Shrink, now + LINGER_LOOK);
        }
    }

    /// Handles every deadline that is due.
    pub(crate) fn expire(&mut self, now: Mono) {
        while let Some((key, timer)) = self.timers.expired(now) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            stream.timers_set &= !timer.bit();
            match timer {
                Timer::Retry => self.retry(now, key),
                Timer::Stall => self.stall(now, key),
                Timer::Patience => self.out_of_patience(now, key),
                Timer::Look => self.look(now, key),
                Timer::Shrink => self.shrink_pipes(now, key),
            }
        }
    }

    fn retry(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        match stream.waiting() {
            Waiting::Retry(at, _) if at <= now => self.enqueue(key),
            Waiting::Retry(at, _) => self.set_timer(key, Timer::Retry, at),
            Waiting::Nothing | Waiting::Room(_) => {}
        }
    }

    /// Output has waited for room for a while: says so where nobody reads.
    fn stall(&mut self, now: Mono, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let Waiting::Room(since) = stream.waiting() else { return };
        if now < since + DRAIN_PATIENCE {
            return self.set_timer(key, Timer::Stall, since + DRAIN_PATIENCE);
        }
        if stream.stall_told {
            return;
        }
        let path = stream.target.path().to_owned();
        let Some(fifo) = stream.target.as_fifo() else { return };
        if fifo.has_reader() == Ok(false) {
            stream.stall_told = true;
            self.tell_stall(now, key, format!("nobody reads {path:?}, which is full"));
        }
        self.watch_target(now, key);
    }
}
