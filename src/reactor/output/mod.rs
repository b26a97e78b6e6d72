//! Output of tasks: opens the sinks, gives each run its ends, and carries what has to be carried.
//!
//! What a task can hold itself costs nothing here. Relayed bytes go from the pipe of a run through
//! one shared buffer, or straight from pipe to pipe, to the sink. Nothing relayed is dropped: a
//! sink without room holds up its own task alone, a sink that fails is tried again.

mod adopt;
mod budget;
mod bulk;
mod crowd;
mod cut;
mod durable;
#[cfg(feature = "cli")]
mod handover;
mod look;
mod open;
mod rotation;
mod settle;
mod source;
mod stored;
mod stream;
mod streams;
mod target;
#[cfg(test)]
mod tests;
mod turn;

use crate::engine::Input;
use crate::reactor::descriptor_store::DescriptorStore;
use crate::reactor::token::Key;
use crate::sys::pipe::Ids;
use crate::vocabulary::{Deadlines, Identity, Mono, Sink, StreamKind, TaskId, TaskSpec};
pub(crate) use adopt::PipeLeft;
use budget::{PipeBudget, Ready};
use crowd::Crowd;
use look::Look;
use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use streams::Streams;

/// What holds for the sinks of every task.
#[derive(Clone, Debug, Default)]
pub(crate) struct RelayOptions {
    /// From this descriptor on they are scarce: files need not be open between two writes.
    pub(crate) scarce_from: Option<RawFd>,
    /// From this one on such files are closed after each write.
    pub(crate) files_until: RawFd,
    /// Where FIFOs of relayed streams are made, so that they outlive us; else plain pipes.
    pub(crate) state_dir: Option<PathBuf>,
    /// Our own standard output carries the protocol.
    pub(crate) refuse_inherit: bool,
}

/// What a child gets as descriptors 1 and 2.
#[derive(Clone, Debug)]
pub(crate) struct ChildEnds {
    /// Descriptor 1.
    pub(crate) stdout: ChildEnd,
    /// Descriptor 2.
    pub(crate) stderr: ChildEnd,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) enum ChildEnd {
    /// /dev/null.
    Null,
    /// Our own descriptor of the same number.
    Inherit,
    /// This one; the same for both where both streams have the same sink.
    Fd(Arc<OwnedFd>),
}

/// The output of every task.
#[derive(Debug)]
pub(crate) struct Relay {
    registry: mio::Registry,
    options: RelayOptions,
    /// By the task's place in the engine's table; none where both streams are discarded.
    tasks: Vec<Option<Box<TaskOutput>>>,
    streams: Streams,
    ready: Ready,
    crowd: Crowd,
    timers: Deadlines<(Key, Timer)>,
    news: VecDeque<(TaskId, Input)>,
    pipes: PipeBudget,
    store: DescriptorStore,
    /// Shared by all streams.
    look: Look,
    /// How many files were closed after they were written.
    files_closed: u32,
    relayed: u64,
}

/// The sinks of one task, kept open over its restarts.
#[derive(Debug)]
struct TaskOutput {
    id: TaskId,
    identity: Arc<Identity>,
    owner: Option<Ids>,
    stdout: End,
    stderr: End,
    /// The run that has ends now.
    run: Option<u64>,
    settling: Settling,
}

/// Where one stream of a task goes.
#[derive(Clone, Debug)]
enum End {
    Closed,
    Null,
    Inherit,
    Descriptor(Arc<OwnedFd>),
    /// The task gets the file itself, opened for each run.
    File,
    /// Relayed, or a FIFO that the task holds itself.
    Stream(Key),
    SameAsStdout,
}

/// Whether somebody waits for the output of a finished run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Settling {
    No,
    /// Until all of it has reached the sinks, or one does not move.
    Waiting,
    /// It was said that some is still on its way.
    Behind,
}

/// What happens to a stream at a certain time.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// A sink that failed is tried again.
    Retry,
    /// A FIFO has had no room for a while.
    Stall,
    /// A finished run has waited for its sink for a while.
    Patience,
    /// Has somebody read what is in the FIFO?
    Look,
    /// A grown pipe may be idle.
    Shrink,
}

impl Relay {
    pub(crate) fn new(
        registry: mio::Registry,
        options: RelayOptions,
        store: DescriptorStore,
    ) -> Relay {
        Relay {
            registry,
            options,
            tasks: Vec::new(),
            streams: Streams::default(),
            ready: Ready::default(),
            crowd: Crowd::default(),
            timers: Deadlines::default(),
            news: VecDeque::new(),
            pipes: PipeBudget::new(),
            store,
            look: Look::default(),
            files_closed: 0,
            relayed: 0,
        }
    }

    /// The next thing that the engine has to know.
    pub(crate) fn next_news(&mut self) -> Option<(TaskId, Input)> {
        self.news.pop_front()
    }

    /// When `expire` or `work` has something to do: in the past where that is now.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        if self.ready.is_empty() && self.news.is_empty() {
            [self.timers.next(), self.crowd.next_deadline()].into_iter().flatten().min()
        } else {
            Some(Mono::default())
        }
    }

    /// Gives back the room behind the last task and the last stream.
    pub(crate) fn shrink(&mut self) {
        let used = self.tasks.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.tasks.truncate(used);
        self.tasks.shrink_to_fit();
        self.streams.shrink();
        if self.streams.len() == 0 {
            self.crowd = Crowd::default();
        }
    }

    /// Bytes that have reached their sinks through us.
    pub(crate) fn relayed_bytes(&self) -> u64 {
        self.relayed
    }

    /// How many descriptors all streams keep open here at least: a source and a target each, but
    /// for files that need not be open between two writes.
    pub(crate) fn descriptors(&self) -> u64 {
        (self.streams.len() * 2 - self.streams.sparing()) as u64
    }

    /// How many descriptors a task with these sinks keeps open here, where they are scarce or not.
    pub(crate) fn descriptors_needed(spec: &TaskSpec, scarce: bool) -> u64 {
        let needed = |sink: &Sink| match sink {
            Sink::Fifo { direct: true, .. } => 1,
            Sink::Fifo { direct: false, .. } => 2,
            Sink::File(file) if file.is_relayed() => 2 - u64::from(scarce),
            _ => 0,
        };
        let stderr =
            if same_sink(spec.stdout(), spec.stderr()) { 0 } else { needed(spec.stderr()) };
        needed(spec.stdout()) + stderr
    }

    /// Whether some of the task's output goes through us.
    pub(crate) fn carries(&self, task: TaskId) -> bool {
        self.keys(task).next().is_some()
    }

    /// Whether sinks of this task are open.
    pub(crate) fn has_opened(&self, task: TaskId) -> bool {
        self.output(task).is_some()
    }

    fn output(&self, task: TaskId) -> Option<&TaskOutput> {
        self.tasks.get(task.index())?.as_deref().filter(|output| output.id == task)
    }

    fn output_mut(&mut self, task: TaskId) -> Option<&mut TaskOutput> {
        self.tasks.get_mut(task.index())?.as_deref_mut().filter(|output| output.id == task)
    }

    fn take_output(&mut self, task: TaskId) -> Option<Box<TaskOutput>> {
        self.tasks.get_mut(task.index())?.take_if(|output| output.id == task)
    }

    /// The streams of a task, those that have ended left out.
    fn keys(&self, task: TaskId) -> impl Iterator<Item = Key> + use<> {
        let keys = self.output(task).map(TaskOutput::keys).unwrap_or_default();
        let live = keys.map(|key| key.filter(|&key| self.streams.get(key).is_some()));
        live.into_iter().flatten()
    }

    fn name_of(&self, task: TaskId) -> &str {
        self.output(task).map_or("", |output| &output.identity.name)
    }

    /// Sets a timer of a stream; one that is set stays, its handler sets the next.
    fn set_timer(&mut self, key: Key, timer: Timer, at: Mono) {
        if let Some(stream) = self.streams.get_mut(key)
            && stream.timers_set & timer.bit() == 0
        {
            stream.timers_set |= timer.bit();
            self.timers.add(at, (key, timer));
        }
    }
}

impl TaskOutput {
    fn keys(&self) -> [Option<Key>; 2] {
        [&self.stdout, &self.stderr].map(|end| match end {
            End::Stream(key) => Some(*key),
            _ => None,
        })
    }

    fn end(&self, kind: StreamKind) -> &End {
        match kind {
            StreamKind::Stdout => &self.stdout,
            StreamKind::Stderr => &self.stderr,
        }
    }

    fn end_mut(&mut self, kind: StreamKind) -> &mut End {
        match kind {
            StreamKind::Stdout => &mut self.stdout,
            StreamKind::Stderr => &mut self.stderr,
        }
    }
}

impl Timer {
    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Both streams go to one place, in order of writing.
fn same_sink(stdout: &Sink, stderr: &Sink) -> bool {
    stdout.path().is_some() && stdout.path() == stderr.path()
}

/// The name of a run's FIFO in the state directory.
fn path_of_pipe(name: &str, run: u64, kind: StreamKind) -> String {
    let end = match kind {
        StreamKind::Stdout => "out",
        StreamKind::Stderr => "err",
    };
    format!("{name}.{run}.{end}")
}
