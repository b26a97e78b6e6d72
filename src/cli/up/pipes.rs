//! Output of tasks on its way to the screen.

use super::lines::Lines;
use super::screen::Screen;
use crate::control::handover::base64_text;
use crate::reactor::{Supervisor, WatchId};
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::sys::pipe;
use crate::vocabulary::{Sink, TaskSpec, cause};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

/// What is read of one task before the next has its turn.
const READ_BYTES: usize = 16 << 10;
/// Reads of one task after its end: as many as a pipe of the largest size holds. What others still
/// write into it has to wait as before.
const READS_MAX: usize = (1 << 20) / READ_BYTES;

/// The pipes of all tasks.
#[derive(Debug)]
pub(super) struct Pipes {
    sources: Vec<Source>,
    by_watch: HashMap<WatchId, usize>,
    by_name: HashMap<String, usize>,
    /// Those with something to read, each once.
    ready: VecDeque<usize>,
    buffer: Vec<u8>,
}

/// One task.
#[derive(Debug)]
struct Source {
    /// Absent where all its output goes elsewhere.
    pipe: Option<File>,
    prefix: String,
    lines: Lines,
    is_ready: bool,
}

/// The pipe of a task, for another program that goes on.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct HandedPipe {
    task: String,
    pub(super) pipe: Option<RawFd>,
    prefix: String,
    /// The beginning of a line whose end has not come.
    #[serde(with = "base64_text")]
    partial: Vec<u8>,
}

impl Pipes {
    pub(super) fn new() -> Pipes {
        Pipes {
            sources: Vec::new(),
            by_watch: HashMap::new(),
            by_name: HashMap::new(),
            ready: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Has what the task writes, and no sink takes, come here.
    pub(super) fn add(
        &mut self,
        supervisor: &mut Supervisor,
        name: &str,
        spec: &mut TaskSpec,
        prefix: String,
    ) -> io::Result<()> {
        let mut relayed = None;
        if spec.stdout.is_none() || spec.stderr.is_none() {
            let (reader, writer) = pipe::make_pipe(None)?;
            pipe::let_holders_reopen(writer.as_fd())?;
            relayed = Some(File::from(reader));
            // One pipe for both, so that their order stays.
            let sink = Sink::Descriptor(Arc::new(writer));
            spec.stdout.get_or_insert_with(|| sink.clone());
            spec.stderr.get_or_insert(sink);
        }
        let lines = Lines::default();
        let source = Source { pipe: relayed, prefix, lines, is_ready: false };
        self.add_source(supervisor, name, source)
    }

    fn add_source(
        &mut self,
        supervisor: &mut Supervisor,
        name: &str,
        source: Source,
    ) -> io::Result<()> {
        let index = self.sources.len();
        if let Some(pipe) = &source.pipe {
            self.by_watch.insert(supervisor.watch(pipe.as_fd())?, index);
        }
        self.by_name.insert(name.to_owned(), index);
        self.sources.push(source);
        Ok(())
    }

    /// All of them, for another program that goes on.
    pub(super) fn hand_over(&self) -> Vec<HandedPipe> {
        let handed = |(name, &index): (&String, &usize)| {
            let Source { pipe, prefix, lines, .. } = self.sources.get(index)?;
            Some(HandedPipe {
                task: name.clone(),
                pipe: pipe.as_ref().map(AsRawFd::as_raw_fd),
                prefix: prefix.clone(),
                partial: lines.partial().to_vec(),
            })
        };
        self.by_name.iter().filter_map(handed).collect()
    }

    /// Goes on with the pipes of another program. What is in them is told anew as ready.
    pub(super) fn go_on(
        supervisor: &mut Supervisor,
        handed: Vec<HandedPipe>,
        descriptors: &mut HandedDescriptors,
    ) -> io::Result<Pipes> {
        let mut pipes = Pipes::new();
        for HandedPipe { task, pipe, prefix, partial } in handed {
            let pipe = pipe.and_then(|number| descriptors.take(number)).map(File::from);
            let lines = Lines::go_on(partial);
            let source = Source { pipe, prefix, lines, is_ready: false };
            pipes.add_source(supervisor, &task, source)?;
        }
        Ok(pipes)
    }

    /// A watched descriptor became ready; it may be another's.
    pub(super) fn note(&mut self, watch: WatchId) {
        let Some(&index) = self.by_watch.get(&watch) else { return };
        if let Some(source) = self.sources.get_mut(index)
            && !source.is_ready
        {
            source.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Moves all that a task has written to the screen, full or not: its run has ended, so that it
    /// is no more than a pipe holds. A line without an end ends here.
    pub(super) fn finish(&mut self, name: &str, screen: &mut Screen) {
        let index = self.by_name.get(name).copied();
        let Some(source) = index.and_then(|index| self.sources.get_mut(index)) else { return };
        for _ in 0..READS_MAX {
            if !source.relay(&mut self.buffer, screen) {
                break;
            }
        }
        source.end_line(screen);
    }

    /// Whether there is nothing to read.
    pub(super) fn is_quiet(&self) -> bool {
        self.ready.is_empty()
    }

    /// Moves some of what is there to the screen, as long as that has room.
    pub(super) fn work(&mut self, screen: &mut Screen) {
        for _ in 0..self.ready.len() {
            if screen.is_full() {
                return;
            }
            let Some(index) = self.ready.pop_front() else { return };
            let Some(source) = self.sources.get_mut(index) else { continue };
            if source.relay(&mut self.buffer, screen) {
                self.ready.push_back(index);
            } else {
                source.is_ready = false;
            }
        }
    }
}

impl Source {
    /// Whether there may be more.
    fn relay(&mut self, buffer: &mut [u8], screen: &mut Screen) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(buffer) {
            Ok(0) => false,
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                let prefix = self.prefix.as_bytes();
                self.lines.feed(bytes, |line| screen.print(&[prefix, line]));
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    log::warn!("cannot read the output of a task: {}", cause(&error));
                }
                false
            }
        }
    }

    fn end_line(&mut self, screen: &mut Screen) {
        let prefix = self.prefix.as_bytes();
        self.lines.finish(|line| screen.print(&[prefix, line]));
    }
}
