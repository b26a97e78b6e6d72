//! Opening the sinks of a task, and the ends of one run.

use super::rotation::RotatedFile;
use super::source::Source;
use super::stream::Stream;
use super::target::{Fifo, Target};
use super::{ChildEnd, ChildEnds, End, Relay, Settling, TaskOutput, same_sink};
use crate::engine::Input;
use crate::reactor::token::{Key, Owner};
use crate::sys::failure::start_error;
use crate::sys::faults;
use crate::sys::pipe::Ids;
use crate::sys::sink::{Place, SinkError};
use crate::vocabulary::{FileSink, Identity, Sink, Stage, StartError, StreamKind, TaskId, Wall};
use mio::Interest;
use mio::unix::SourceFd;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

impl Relay {
    /// Opens the task's sinks: checks them, and makes those that are absent, as `owner`'s. They
    /// stay open until `close`. To be called before each run; what is open stays as it is.
    ///
    /// # Errors
    /// Names the stream and its path. Nothing was opened then; what was made stays.
    pub(crate) fn open(
        &mut self,
        task: TaskId,
        identity: &Arc<Identity>,
        owner: Option<Ids>,
    ) -> Result<(), StartError> {
        let known = self.take_output(task);
        let was_known = known.is_some();
        let mut output = known.unwrap_or_else(|| {
            Box::new(TaskOutput {
                id: task,
                identity: Arc::clone(identity),
                owner,
                stdout: End::Closed,
                stderr: End::Closed,
                run: None,
                settling: Settling::No,
            })
        });
        output.identity = Arc::clone(identity);
        let before = output.keys();
        let opened = self.open_both(&mut output);
        if opened.is_err() {
            for key in output.keys().into_iter().flatten() {
                if !before.contains(&Some(key)) {
                    self.streams.remove(key);
                }
            }
        }
        let worth_keeping = if opened.is_ok() {
            !matches!((&output.stdout, &output.stderr), (End::Null, End::Null))
        } else {
            was_known
        };
        if worth_keeping {
            self.keep_output(output);
        }
        opened
    }

    fn open_both(&mut self, output: &mut TaskOutput) -> Result<(), StartError> {
        let (stdout, stderr) = (StreamKind::Stdout, StreamKind::Stderr);
        let same = same_sink(output.identity.sink(stdout), output.identity.sink(stderr));
        for kind in [stdout, stderr] {
            let is_open = match output.end(kind) {
                End::Closed => false,
                End::Stream(key) => self.streams.get(*key).is_some(),
                _ => true,
            };
            if !is_open {
                *output.end_mut(kind) = if kind == stderr && same {
                    End::SameAsStdout
                } else {
                    self.open_sink(output, kind)?
                };
            }
        }
        for key in output.keys().into_iter().flatten() {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.closing = false;
            }
        }
        Ok(())
    }

    fn open_sink(&mut self, output: &TaskOutput, kind: StreamKind) -> Result<End, StartError> {
        let identity = &output.identity;
        let (sink, task_dir) = (identity.sink(kind), identity.task_dir());
        let target = match sink {
            Sink::Discard => return Ok(End::Null),
            Sink::Inherit if self.options.refuse_inherit => {
                let why = "inherit is refused: the supervisor's own streams carry its protocol";
                return Err(refusal(format!("{}: {why}", kind.as_str())));
            }
            Sink::Inherit => return Ok(End::Inherit),
            Sink::Descriptor(fd) => return Ok(End::Descriptor(Arc::clone(fd))),
            Sink::File(file) => match relayed_size(file) {
                Some(max_size) => RotatedFile::open(identity, kind, file, max_size, output.owner)
                    .map(|file| Target::File(Box::new(file.spare(&self.options)))),
                None => {
                    let path = file.path.as_str();
                    return Place::find(path, task_dir)
                        .and_then(|place| place.open_file(place.name, output.owner))
                        .map(|_| End::File)
                        .map_err(|error| sink_failed(kind, path, error));
                }
            },
            Sink::Fifo { path, .. } => Place::find(path, task_dir)
                .and_then(|place| place.open_fifo(output.owner))
                .map(|end| Target::Fifo(Fifo::new(identity, kind, end))),
        }
        .map_err(|error| sink_failed(kind, sink.path().unwrap_or_default(), error))?;
        let direct = matches!(sink, Sink::Fifo { direct: true, .. });
        Ok(End::Stream(self.streams.insert(Stream::new(output.id, kind, target, direct))))
    }

    pub(super) fn keep_output(&mut self, output: Box<TaskOutput>) {
        let index = output.id.index();
        if self.tasks.len() <= index {
            self.tasks.resize_with(index + 1, || None);
        }
        // The place may still hold a task that was never forgotten.
        if let Some(stale) = self.tasks.get(index).and_then(|slot| slot.as_ref()) {
            let stale = stale.id;
            drop(self.forget(stale));
        }
        if let Some(slot) = self.tasks.get_mut(index) {
            *slot = Some(output);
        }
    }

    /// The child's ends for one run of a task whose sinks are open. `run` is unique: it is part
    /// of the names of FIFOs. They are to be dropped once the child has them: its output ends when
    /// nobody else has them.
    ///
    /// # Errors
    /// Names the stream. Nothing of this run is left then.
    pub(crate) fn begin_run(&mut self, task: TaskId, run: u64) -> Result<ChildEnds, StartError> {
        let Some(output) = self.output_mut(task) else {
            return Ok(ChildEnds { stdout: ChildEnd::Null, stderr: ChildEnd::Null });
        };
        output.run = Some(run);
        let behind = output.settling == Settling::Behind;
        let ends = self.begin_both(task, run);
        if ends.is_err() {
            self.abort_run(task);
        } else if behind && !self.owes(task) {
            // What nobody has read yet waits in a FIFO that stays open.
            if let Some(output) = self.output_mut(task) {
                output.settling = Settling::No;
            }
            self.news.push_back((task, Input::OutputDelivered));
        }
        ends
    }

    fn begin_both(&mut self, task: TaskId, run: u64) -> Result<ChildEnds, StartError> {
        let stdout = self.begin_end(task, StreamKind::Stdout, run)?;
        let stderr = match self.output(task).map(|output| &output.stderr) {
            Some(End::SameAsStdout) => stdout.clone(),
            _ => self.begin_end(task, StreamKind::Stderr, run)?,
        };
        Ok(ChildEnds { stdout, stderr })
    }

    fn begin_end(
        &mut self,
        task: TaskId,
        kind: StreamKind,
        run: u64,
    ) -> Result<ChildEnd, StartError> {
        let closed = || refusal(format!("{}: its sink is not open", kind.as_str()));
        let output = self.output(task).ok_or_else(closed)?;
        match output.end(kind) {
            End::Null => Ok(ChildEnd::Null),
            End::Inherit => Ok(ChildEnd::Inherit),
            End::Descriptor(fd) => Ok(ChildEnd::Fd(Arc::clone(fd))),
            End::File => {
                let path = output.identity.sink(kind).path().unwrap_or_default();
                Place::find(path, output.identity.task_dir())
                    .and_then(|place| place.open_file(place.name, output.owner))
                    .map(|file| ChildEnd::Fd(Arc::new(file)))
                    .map_err(|error| sink_failed(kind, path, error))
            }
            End::Stream(key) => {
                let key = *key;
                self.begin_stream(task, key, run)
            }
            End::Closed | End::SameAsStdout => Err(closed()),
        }
    }

    fn begin_stream(&mut self, task: TaskId, key: Key, run: u64) -> Result<ChildEnd, StartError> {
        let closed = || refusal("output: the sink is not open".to_owned());
        let output = self.tasks.get(task.index()).and_then(|slot| slot.as_deref());
        let output = output.ok_or_else(closed)?;
        let stream = self.streams.get_mut(key).ok_or_else(closed)?;
        let kind = stream.kind;
        stream.closing = false;
        if stream.direct {
            let path = stream.target.path().to_owned();
            let fifo = stream.target.as_fifo().ok_or_else(closed)?;
            let end = fifo.end_for_task().map_err(|errno| {
                let what = "open it by way of /proc/thread-self/fd".to_owned();
                sink_failed(kind, &path, SinkError { errno: Some(errno), what })
            })?;
            self.store_stream(key, run);
            return Ok(ChildEnd::Fd(Arc::new(end)));
        }
        let state_dir = self.options.state_dir.as_deref();
        let (source, end) =
            Source::make(state_dir, (&output.identity.name, run, kind), output.owner)?;
        if let Err(errno) = watch(&self.registry, source.fd(), Owner::Source(key)) {
            source.discard();
            let what = format!("watch the pipe of {}", kind.as_str());
            return Err(start_error(Stage::Output, errno, what));
        }
        // Most streams have one source at a time, and a Vec begins with room for four.
        stream.sources.reserve_exact(1);
        stream.sources.push(source);
        self.store_stream(key, run);
        Ok(ChildEnd::Fd(Arc::new(end)))
    }

    /// The start failed: drops the pipes of this run, into which nothing was written.
    pub(crate) fn abort_run(&mut self, task: TaskId) {
        let Some(run) = self.output_mut(task).and_then(|output| output.run.take()) else { return };
        for key in self.keys(task) {
            let Some(stream) = self.streams.get_mut(key) else { continue };
            let kind = stream.kind;
            while let Some(source) = stream.sources.pop_if(|source| source.run == run) {
                source.discard();
            }
            self.forget_sources(kind, std::iter::once(run));
        }
    }
}

/// Has the loop watch a pipe: sources for reading, targets for room. Never both: an end that is
/// open for both would wake itself.
pub(super) fn watch(
    registry: &mio::Registry,
    fd: BorrowedFd<'_>,
    owner: Owner,
) -> Result<(), Errno> {
    faults::check("epoll_ctl")?;
    let interest = match owner {
        Owner::Target(_) => Interest::WRITABLE,
        _ => Interest::READABLE,
    };
    registry
        .register(&mut SourceFd(&fd.as_raw_fd()), owner.into(), interest)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// The size at which a file that we write is rotated.
pub(super) fn relayed_size(file: &FileSink) -> Option<u64> {
    file.max_size.filter(|_| file.is_relayed())
}

fn refusal(message: String) -> StartError {
    StartError {
        stage: Stage::Output,
        errno: 0,
        errno_name: String::new(),
        message,
        retry: false,
        time: Wall::default(),
    }
}

fn sink_failed(kind: StreamKind, path: &str, error: SinkError) -> StartError {
    let message = format!("{}.path {path:?}: {}", kind.as_str(), error.what);
    match error.errno {
        Some(errno) => start_error(Stage::Output, errno, message),
        None => refusal(message),
    }
}
