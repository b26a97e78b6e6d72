//! Output that is on its way while the process goes on with another program: pipes, FIFOs and files
//! stay open, and what was read and not written goes along.

use super::open::{relayed_size, watch};
use super::rotation::RotatedFile;
use super::source::Source;
use super::stream::Stream;
use super::target::{Fifo, Target};
use super::{End, Relay, Settling, TaskOutput, Timer};
use crate::reactor::handover::{HandedOutput, HandedOver, HandedSource, HandedStream};
use crate::reactor::token::{Key, Owner};
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::vocabulary::{Identity, LaunchNumber, Mono, Sink, StreamKind, TaskId};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

impl Relay {
    /// Names of what is stored with the service manager, and of what is to be removed there.
    pub(crate) fn stored_names(&self) -> (Vec<String>, Vec<String>) {
        self.store.names()
    }

    /// Adds all output that is under way.
    pub(crate) fn hand_over(&self, into: &mut HandedOver) {
        for output in self.tasks.iter().flatten() {
            let launch = output.identity.number;
            into.outputs.push(HandedOutput {
                launch,
                run: output.run,
                owner: output.owner,
                behind: output.settling == Settling::Behind,
            });
            for stream in output.keys().into_iter().flatten().filter_map(|k| self.streams.get(k)) {
                into.streams.push(hand_over_stream(launch, stream));
                into.sources.extend(stream.sources.iter().map(|source| HandedSource {
                    launch,
                    kind: stream.kind,
                    run: source.run,
                    pipe: source.fd().as_raw_fd(),
                    named: source.is_durable(),
                    orphaned: source.orphaned,
                }));
            }
        }
    }

    /// Goes on with what the program before this one had stored, and has carried.
    pub(crate) fn go_on(&mut self, stored: &[String], forgotten: &[String], relayed: u64) {
        self.store.go_on(stored, forgotten);
        self.relayed = relayed;
    }

    /// Takes over all output; `find` knows the task of a launch.
    pub(crate) fn take_over(
        &mut self,
        handed: &HandedOver,
        find: impl Fn(LaunchNumber) -> Option<(TaskId, Arc<Identity>)>,
        descriptors: &mut HandedDescriptors,
    ) {
        for output in &handed.outputs {
            let Some((task, identity)) = find(output.launch) else { continue };
            let settling = if output.behind { Settling::Behind } else { Settling::No };
            // What is neither relayed nor a FIFO is opened for the next run.
            self.keep_output(Box::new(TaskOutput {
                id: task,
                identity,
                owner: output.owner,
                stdout: End::Closed,
                stderr: End::Closed,
                run: output.run,
                settling,
            }));
        }
        for stream in &handed.streams {
            let found = find(stream.launch);
            let taken =
                found.and_then(|(task, _)| self.take_over_stream(task, stream, descriptors));
            if taken.is_none() {
                log::error!("output lost: {} of launch {}", stream.kind.as_str(), stream.launch);
            }
        }
        for source in &handed.sources {
            let found = find(source.launch).map(|(task, _)| task);
            if found.and_then(|task| self.take_over_source(task, source, descriptors)).is_none() {
                log::error!("output lost: {} of run {}", source.kind.as_str(), source.run);
            }
        }
        let keys: Vec<Key> =
            self.tasks.iter().flatten().flat_map(|output| output.keys()).flatten().collect();
        for key in keys {
            let run = self.streams.get(key).and_then(|s| s.sources.last().map(|s| s.run));
            self.store_stream(key, run.unwrap_or_default());
            // All that it waits for is found out anew.
            self.enqueue(key);
        }
    }

    fn take_over_stream(
        &mut self,
        task: TaskId,
        handed: &HandedStream,
        descriptors: &mut HandedDescriptors,
    ) -> Option<()> {
        let output = self.output(task)?;
        let (identity, owner) = (Arc::clone(&output.identity), output.owner);
        let fd = handed.target.and_then(|number| descriptors.take(number));
        let sink = identity.sink(handed.kind);
        let mut target = match sink {
            Sink::Fifo { .. } => {
                Target::Fifo(Fifo::go_on(&identity, handed.kind, fd?, handed.write_only))
            }
            Sink::File(file) => {
                let place: (Option<OwnedFd>, u64, bool) = (fd, handed.number, handed.appending);
                let sizes = (file, relayed_size(file)?);
                let file = RotatedFile::go_on(&identity, handed.kind, sizes, owner, place)
                    .spare(&self.options);
                Target::File(Box::new(file))
            }
            Sink::Discard | Sink::Inherit | Sink::Descriptor(_) => return None,
        };
        if let Some(fifo) = target.as_fifo() {
            fifo.grown = self.pipes.regain(fifo.fd());
        }
        let direct = matches!(sink, Sink::Fifo { direct: true, .. });
        let mut stream = Stream::new(task, handed.kind, target, direct);
        stream.keep_leftover(handed.leftover.clone());
        stream.owed = handed.owed;
        stream.moved_at = handed.moved_at;
        stream.closing = handed.closing;
        stream.alone_since = handed.alone_since;
        stream.room_seen = handed.room_seen;
        stream.stall_told = handed.stall_told;
        stream.stored_sink = handed.stored_sink.and_then(NonZeroU64::new);
        let key = self.streams.insert(stream);
        self.set_timer(key, Timer::Shrink, Mono::default());
        let same =
            super::same_sink(identity.sink(StreamKind::Stdout), identity.sink(StreamKind::Stderr));
        let output = self.output_mut(task)?;
        *output.end_mut(handed.kind) = End::Stream(key);
        if same {
            output.stderr = End::SameAsStdout;
        }
        Some(())
    }

    fn take_over_source(
        &mut self,
        task: TaskId,
        handed: &HandedSource,
        descriptors: &mut HandedDescriptors,
    ) -> Option<()> {
        let output = self.output(task)?;
        let End::Stream(key) = *output.end(handed.kind) else { return None };
        let directory = self.options.state_dir.as_deref().filter(|_| handed.named);
        let place = (&*output.identity.name, handed.run, handed.kind);
        let pipe = descriptors.take(handed.pipe)?;
        let mut source = Source::go_on(pipe, directory, place, handed.orphaned);
        source.grown = self.pipes.regain(source.fd());
        if let Err(errno) = watch(&self.registry, source.fd(), Owner::Source(key)) {
            log::error!("output of run {} is held up: {}", handed.run, errno.desc());
        }
        self.streams.get_mut(key)?.sources.push(source);
        Some(())
    }
}

fn hand_over_stream(launch: LaunchNumber, stream: &Stream) -> HandedStream {
    let (target, number, appending, write_only) = match &stream.target {
        Target::Fifo(fifo) => (Some(fifo.fd().as_raw_fd()), 0, false, fifo.is_write_only()),
        Target::File(file) => {
            let (fd, number, appending) = file.place();
            (fd, number, appending, false)
        }
    };
    HandedStream {
        launch,
        kind: stream.kind,
        target,
        write_only,
        appending,
        number,
        leftover: stream.leftover().to_vec(),
        owed: stream.owed,
        moved_at: stream.moved_at,
        closing: stream.closing,
        alone_since: stream.alone_since,
        room_seen: stream.room_seen,
        stall_told: stream.stall_told,
        stored_sink: stream.stored_sink.map(NonZeroU64::get),
    }
}
