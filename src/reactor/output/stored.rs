//! Streams whose bytes outlive both the supervisor and the task: copies of their descriptors are
//! stored with the service manager.

use super::Relay;
use super::stream::Stream;
use super::target::Target;
use crate::reactor::descriptor_store::{Stored, StoredEnd, copy};
use crate::reactor::token::Key;
use crate::sys::pipe;
use crate::vocabulary::{Sink, StreamKind, TaskId, TaskSpec};
use std::num::NonZeroU64;
use std::os::unix::fs::MetadataExt;

impl Relay {
    /// Has stored what a stream holds its bytes in: the pipes of its runs, and the FIFO that it
    /// writes to. Only where pipes have names, by which a later supervisor finds them.
    pub(super) fn store_stream(&mut self, key: Key, run: u64) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if self.options.state_dir.is_none() {
            return;
        }
        let kind = stream.kind;
        for source in stream.sources.iter().filter(|source| source.is_durable()) {
            self.store.keep(source_of(kind, source.run), || copy(source.fd()));
        }
        if let Target::Fifo(fifo) = &stream.target {
            let known = pipe::identity(fifo.fd()).ok().and_then(|id| self.store.sink(id));
            let run = known.filter(|known| known.kind == kind).map_or(run, |known| known.run);
            // Runs count from 1: without one, there is no name that is its own.
            if let Some(run) = NonZeroU64::new(run) {
                let run = stream.stored_sink.get_or_insert(run).get();
                // Not a reader: whether there is another one could not be told any more.
                self.store.keep(sink_of(kind, run), || fifo.end_for_store());
            }
        }
    }

    /// Whether a FIFO of a task outlived everyone who had it open, with what is in it.
    pub(super) fn sink_was_stored(&self, spec: &TaskSpec) -> bool {
        let mut paths = [spec.stdout(), spec.stderr()].into_iter().filter_map(|sink| match sink {
            Sink::Fifo { path, .. } => Some(path),
            _ => None,
        });
        paths.any(|path| {
            std::fs::metadata(path)
                .is_ok_and(|found| self.store.sink((found.dev(), found.ino())).is_some())
        })
    }

    /// Whether the pipe of a run outlived its writers until now.
    pub(super) fn was_stored(&self, kind: StreamKind, run: u64) -> bool {
        self.store.is_stored(source_of(kind, run))
    }

    /// The streams of a task with a pipe whose bytes go with the last of its writers and us.
    pub(crate) fn not_stored(&self, task: TaskId) -> Vec<StreamKind> {
        let streams = self.keys(task).filter_map(|key| self.streams.get(key));
        let lossy = streams.filter(|stream| {
            let mut pipes = stream.sources.iter().filter(|source| source.is_durable());
            pipes.any(|source| !self.was_stored(stream.kind, source.run))
        });
        lossy.map(|stream| stream.kind).collect()
    }

    /// The pipe of a run could not be taken over yet, and will be.
    pub(super) fn claim_source(&mut self, kind: StreamKind, run: u64) {
        self.store.claim(source_of(kind, run));
    }

    /// The pipes of these runs are gone.
    pub(super) fn forget_sources(&mut self, kind: StreamKind, runs: impl Iterator<Item = u64>) {
        for run in runs {
            self.store.forget(source_of(kind, run));
        }
    }

    /// Takes out a stream, with all that is stored of it.
    pub(super) fn remove_stream(&mut self, key: Key) -> Option<Stream> {
        let mut stream = self.streams.remove(key)?;
        let mut runs = stream.take_ended();
        runs.extend(stream.sources.iter().map(|source| source.run));
        self.forget_sources(stream.kind, runs.into_iter());
        if let Some(run) = stream.stored_sink {
            self.store.forget(sink_of(stream.kind, run.get()));
        }
        Some(stream)
    }

    /// What an earlier supervisor has left has been taken over.
    pub(crate) fn adoption_is_over(&mut self) {
        self.store.adopted();
    }

    /// Whether something could not be stored or removed yet, and is to be tried again.
    pub(crate) fn store_is_behind(&self) -> bool {
        self.store.is_behind()
    }

    /// Tries it again.
    pub(crate) fn retry_store(&mut self) {
        self.store.retry();
    }
}

fn source_of(kind: StreamKind, run: u64) -> Stored {
    Stored { run, kind, end: StoredEnd::Source }
}

fn sink_of(kind: StreamKind, run: u64) -> Stored {
    Stored { run, kind, end: StoredEnd::Sink }
}
