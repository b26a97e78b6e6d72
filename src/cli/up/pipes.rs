//! Output of tasks on its way to the screen.

use super::lines::Lines;
use super::screen::Screen;
use crate::reactor::{Supervisor, WatchId};
use crate::sys::room;
use crate::vocabulary::{Sink, TaskSpec};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What is read of one task before the next has its turn.
const READ_BYTES: usize = 16 << 10;

/// The pipes of all tasks.
#[derive(Debug)]
pub(super) struct Pipes {
    sources: Vec<Source>,
    by_watch: HashMap<WatchId, usize>,
    by_name: HashMap<String, usize>,
    /// Those with something to read, or to say after it; each once.
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
    /// To be said after what it has written.
    news: VecDeque<String>,
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
        let index = self.sources.len();
        let mut pipe = None;
        if spec.stdout.is_none() || spec.stderr.is_none() {
            let (reader, writer) = room::relay_pipe()?;
            let watch = supervisor.watch(reader.as_fd())?;
            self.by_watch.insert(watch, index);
            pipe = Some(File::from(reader));
            // One pipe for both, so that their order stays.
            let sink = Sink::Descriptor(Arc::new(writer));
            spec.stdout.get_or_insert_with(|| sink.clone());
            spec.stderr.get_or_insert(sink);
        }
        self.by_name.insert(name.to_owned(), index);
        let (lines, news) = (Lines::default(), VecDeque::new());
        self.sources.push(Source { pipe, prefix, lines, is_ready: false, news });
        Ok(())
    }

    /// A watched descriptor became ready; it may be another's.
    pub(super) fn note(&mut self, watch: WatchId) {
        if let Some(&index) = self.by_watch.get(&watch) {
            self.make_ready(index);
        }
    }

    fn make_ready(&mut self, index: usize) {
        if let Some(source) = self.sources.get_mut(index)
            && !source.is_ready
        {
            source.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Says something of a task: after what the task has written, where `after_output`, and in any
    /// case after what is still to be said.
    pub(super) fn tell(&mut self, name: &str, news: String, after_output: bool, to: &mut Screen) {
        let index = self.by_name.get(name).copied();
        match index.and_then(|index| self.sources.get_mut(index)) {
            Some(source) if after_output || !source.news.is_empty() => {
                source.news.push_back(news);
                index.into_iter().for_each(|index| self.make_ready(index));
            }
            _ => to.print(&[news.as_bytes()]),
        }
    }

    /// Whether there is nothing to read and nothing to say.
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
                source.say(screen);
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
                    log::warn!("cannot read the output of a task: {error}");
                }
                false
            }
        }
    }

    /// All it has written is on the screen: says what is to be said after it.
    fn say(&mut self, screen: &mut Screen) {
        if !self.news.is_empty() {
            let prefix = self.prefix.as_bytes();
            self.lines.finish(|line| screen.print(&[prefix, line]));
        }
        for news in self.news.drain(..) {
            screen.print(&[news.as_bytes()]);
        }
    }
}
