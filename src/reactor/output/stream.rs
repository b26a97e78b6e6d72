//! One relayed stream: from the pipes of its task's runs to its target, in order.

use super::bulk::{Bulk, into_fifo, into_file};
use super::crowd::Pace;
use super::durable::move_durably;
use super::look::Look;
use super::source::Source;
use super::target::{Refusal, Target};
use crate::sys::pipe;
use crate::vocabulary::limits::{
    LINGER_LOOK, LINGER_LOOK_FIRST, PIPE_BYTES_DEFAULT, RELAY_BUFFER_BYTES, RELAY_TURN_BYTES,
    SINK_LOG_EVERY, SINK_RETRY_FIRST, SINK_RETRY_MAX, SPLICE_BYTES_MIN,
};
use crate::vocabulary::{Mono, StreamKind, TaskId};
use nix::errno::Errno;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// One relayed stream. Both streams of a task with the same sink are one. What most have not is
/// boxed.
#[allow(clippy::box_collection)]
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) task: TaskId,
    /// The name it goes by; stdout where it is both.
    pub(super) kind: StreamKind,
    pub(super) target: Target,
    /// Oldest run first. None where the task holds the FIFO itself.
    pub(super) sources: Vec<Source>,
    /// The task holds the FIFO itself.
    pub(super) direct: bool,
    /// Only while its target takes nothing, or fails.
    held: Option<Box<Held>>,
    /// Bytes of finished runs that have not reached the target.
    pub(super) owed: u64,
    /// When bytes last reached the target.
    pub(super) moved_at: Mono,
    /// When it last carried bulk.
    pub(super) bulk_at: Mono,
    /// Whether it may join the crowd.
    pub(super) pace: Pace,
    /// It stands in the queue of those that are ready.
    pub(super) queued: bool,
    /// Room was made in the target since it was first found full: somebody reads.
    pub(super) room_seen: bool,
    /// This stall has been told.
    pub(super) stall_told: bool,
    /// Moving between two pipes is not permitted here.
    splice_refused: bool,
    /// The log says that it fails.
    pub(super) failure_logged: bool,
    /// Timers that are set, a bit for each kind.
    pub(super) timers_set: u8,
    /// The task has exited for good.
    pub(super) closing: bool,
    /// Closing: since when nobody has the FIFO open for reading, as far as we know.
    pub(super) alone_since: Mono,
    /// Looks for a reader since the run ended or the task exited.
    pub(super) looks: u8,
    /// A pipe had no writer any more when it was found: what was in it is gone.
    pub(super) lost_unseen: bool,
    /// Runs whose pipes are gone, and may still be stored.
    ended: Option<Box<Vec<u64>>>,
    /// The run under whose number the FIFO is stored that it writes to.
    pub(super) stored_sink: Option<NonZeroU64>,
}

/// What a stream has that cannot go on.
#[derive(Debug, Default)]
struct Held {
    waiting: Waiting,
    /// Read, and refused by the target.
    leftover: Vec<u8>,
    /// The next line about it is not logged before this.
    log_after: Mono,
}

/// What a stream waits for besides output of its task.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Waiting {
    #[default]
    Nothing,
    /// Room in the FIFO, since then.
    Room(Mono),
    /// The time of the next attempt on a sink that fails; how long to wait after that.
    Retry(Mono, Duration),
}

impl Waiting {
    /// The wait after one more failure.
    pub(super) fn after_failure(self, now: Mono) -> Waiting {
        let wait = match self {
            Waiting::Retry(_, wait) => wait,
            _ => SINK_RETRY_FIRST,
        };
        Waiting::Retry(now + wait, (wait * 2).min(SINK_RETRY_MAX))
    }
}

/// How a pass ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Flow {
    /// All that there was has been moved.
    Idle,
    /// The budget is used up.
    More,
    /// The target takes no more.
    Stopped(Refusal),
}

/// How one step of a pass ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// There may be more in this source.
    More,
    /// There is no more now.
    Empty,
    /// There never will be.
    End,
    Stopped(Refusal),
}

impl Stream {
    pub(super) fn new(task: TaskId, kind: StreamKind, target: Target, direct: bool) -> Stream {
        Stream {
            task,
            kind,
            target,
            sources: Vec::new(),
            direct,
            held: None,
            owed: 0,
            moved_at: Mono::default(),
            bulk_at: Mono::default(),
            pace: Pace::default(),
            queued: false,
            room_seen: false,
            stall_told: false,
            splice_refused: false,
            failure_logged: false,
            timers_set: 0,
            closing: false,
            alone_since: Mono::default(),
            looks: 0,
            lost_unseen: false,
            ended: None,
            stored_sink: None,
        }
    }

    /// Bytes that have left the task and have not reached the target.
    pub(super) fn unmoved(&self) -> u64 {
        let waiting: u64 = self.sources.iter().map(Source::waiting_bytes).sum();
        waiting + self.leftover().len() as u64
    }

    /// Nothing can come any more, and nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.sources.is_empty() && self.leftover().is_empty()
    }

    /// The runs whose pipes have gone since the last time.
    pub(super) fn take_ended(&mut self) -> Vec<u64> {
        self.ended.take().map(|ended| *ended).unwrap_or_default()
    }

    pub(super) fn leftover(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], |held| &held.leftover)
    }

    /// This was read by the program before this one, and refused by the target.
    #[cfg(feature = "cli")]
    pub(super) fn keep_leftover(&mut self, leftover: Vec<u8>) {
        if !leftover.is_empty() {
            self.held.get_or_insert_default().leftover = leftover;
        }
    }

    pub(super) fn waiting(&self) -> Waiting {
        self.held.as_ref().map_or(Waiting::Nothing, |held| held.waiting)
    }

    /// Says what it waits for now; what it has waited for.
    pub(super) fn wait_for(&mut self, waiting: Waiting) -> Waiting {
        if waiting == Waiting::Nothing && self.held.is_none() {
            return waiting;
        }
        std::mem::replace(&mut self.held.get_or_insert_default().waiting, waiting)
    }

    /// Whether a line about it may be logged now; the next one may not for a while then.
    pub(super) fn may_log(&mut self, now: Mono) -> bool {
        let held = self.held.get_or_insert_default();
        let may = now >= held.log_after;
        if may {
            held.log_after = now + SINK_LOG_EVERY;
        }
        may
    }

    /// The wait before the next look for a reader, doubled each time.
    pub(super) fn look_wait(&self) -> Duration {
        LINGER_LOOK_FIRST.saturating_mul(1 << self.looks.min(16)).min(LINGER_LOOK)
    }

    /// Lets go of what is needed only while something is held up.
    pub(super) fn relax(&mut self, now: Mono) {
        let free = |held: &mut Box<Held>| {
            held.leftover.is_empty() && held.waiting == Waiting::Nothing && held.log_after <= now
        };
        self.held.take_if(free);
    }

    /// Moves what is there, up to what one stream may in one turn, and not long after `until`.
    /// What was moved, and how it ended.
    pub(super) fn pass(&mut self, look: &mut Look, now: Mono, until: Instant) -> (usize, Flow) {
        let mut moved = 0;
        let flow = self.pass_counted(look, now, until, &mut moved);
        if moved > 0 {
            self.moved_at = now;
            self.owed = self.owed.saturating_sub(moved as u64);
        }
        if flow == Flow::Idle {
            self.owed = 0;
        }
        (moved, flow)
    }

    fn pass_counted(
        &mut self,
        look: &mut Look,
        now: Mono,
        until: Instant,
        moved: &mut usize,
    ) -> Flow {
        if let Some(held) = self.held.as_mut().filter(|held| !held.leftover.is_empty()) {
            let (written, result) = self.target.write(&held.leftover, now);
            *moved += written;
            held.leftover.drain(..written.min(held.leftover.len()));
            if let Err(refusal) = result {
                return Flow::Stopped(refusal);
            }
            held.leftover = Vec::new();
        }
        let mut index = 0;
        while index < self.sources.len() {
            let left = RELAY_TURN_BYTES.saturating_sub(*moved);
            if left == 0 || (*moved > 0 && Instant::now() >= until) {
                return Flow::More;
            }
            let step = self.step(index, look, left, now, moved);
            self.note_orphan(index, step);
            match step {
                Step::More => {}
                Step::Empty => index += 1,
                Step::End => {
                    let source = self.sources.remove(index);
                    self.ended.get_or_insert_default().push(source.run);
                    source.discard();
                }
                Step::Stopped(refusal) => return Flow::Stopped(refusal),
            }
        }
        Flow::Idle
    }

    /// A pipe that nobody holds any more when it is found has lost what was in it; what does not
    /// end at once has somebody who does.
    fn note_orphan(&mut self, index: usize, step: Step) {
        if let Some(source) = self.sources.get_mut(index)
            && std::mem::take(&mut source.orphaned)
        {
            self.lost_unseen |= step == Step::End;
        }
    }

    fn step(
        &mut self,
        index: usize,
        look: &mut Look,
        budget: usize,
        now: Mono,
        moved: &mut usize,
    ) -> Step {
        let Some(source) = self.sources.get_mut(index) else { return Step::Empty };
        if source.is_durable() && !self.splice_refused {
            match move_durably(source, &mut self.target, budget, look, now) {
                Some((bytes, step)) => {
                    *moved += bytes;
                    if bytes >= SPLICE_BYTES_MIN {
                        self.bulk_at = now;
                    }
                    return step;
                }
                None => self.splice_refused = true,
            }
        }
        self.copy(index, look, budget, now, moved)
    }

    /// Moves some by way of our memory, or inside the kernel where much comes.
    fn copy(
        &mut self,
        index: usize,
        look: &mut Look,
        budget: usize,
        now: Mono,
        moved: &mut usize,
    ) -> Step {
        let Some(source) = self.sources.get_mut(index) else { return Step::Empty };
        if source.bulk && !self.splice_refused {
            self.bulk_at = now;
            let bulk = match &mut self.target {
                Target::Fifo(fifo) => into_fifo(source, fifo, budget),
                Target::File(file) => into_file(source, file, look, budget),
            };
            match bulk {
                Bulk::Moved(bytes, step) => {
                    *moved += bytes;
                    return step;
                }
                Bulk::Left(bytes, rest) => {
                    *moved += bytes;
                    // A file that takes nothing this way is written from now on.
                    self.splice_refused = bytes == 0;
                    return self.put(&rest, now, moved, Step::More);
                }
                Bulk::Not => {}
                Bulk::Refused => self.splice_refused = true,
            }
        }
        let read_most = match &self.target {
            // More than this goes the other way, so that little is ever left over.
            Target::Fifo(_) => SPLICE_BYTES_MIN,
            Target::File(_) => RELAY_BUFFER_BYTES,
        };
        let buffer = match look.buffer.get_mut(..read_most) {
            Some(buffer) => buffer,
            None => return Step::Empty,
        };
        let read = match pipe::read(source.fd(), buffer) {
            Ok(0) => return Step::End,
            Ok(read) => read,
            Err(Errno::EAGAIN) => {
                source.read_on = false;
                return Step::Empty;
            }
            Err(errno) => {
                log::error!(
                    "output lost: cannot read the {} of a task: {}",
                    self.kind.as_str(),
                    errno.desc()
                );
                return Step::End;
            }
        };
        let short = read < buffer.len();
        source.bulk = !short;
        source.seen_full |= read >= PIPE_BYTES_DEFAULT;
        if !short {
            self.bulk_at = now;
        }
        let then = if short && !source.read_on { Step::Empty } else { Step::More };
        let data = look.buffer.get(..read).unwrap_or_default();
        self.put(data, now, moved, then)
    }

    /// Writes what has left a pipe; what is refused is kept.
    fn put(&mut self, data: &[u8], now: Mono, moved: &mut usize, then: Step) -> Step {
        let (written, result) = self.target.write(data, now);
        *moved += written;
        match result {
            Ok(()) => then,
            Err(refusal) => {
                let rest = data.get(written..).unwrap_or_default();
                self.held.get_or_insert_default().leftover.extend_from_slice(rest);
                Step::Stopped(refusal)
            }
        }
    }
}

// Both streams of ten thousand tasks are to fit into a few megabytes.
const _: () = assert!(size_of::<Stream>() <= 128);
