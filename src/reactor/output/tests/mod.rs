//! The relay on real pipes, FIFOs and files, driven by a small loop.

mod crowd;
mod ending;
mod fifo;
mod file;
mod opening;
mod resting;
mod rotating;

use super::stream::Waiting;
use super::target::Target;
use super::{ChildEnd, ChildEnds, Relay, RelayOptions};
use crate::engine::Input;
use crate::reactor::descriptor_store::DescriptorStore;
use crate::reactor::token::Owner;
use crate::sys::pipe::Ids;
use crate::vocabulary::{
    FileSink, Identity, Mono, Numbering, Sink, StartError, TaskId, TaskSpec, Wall,
};
use mio::{Events, Poll};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// One task and the loop round its relay.
struct Rig {
    poll: Poll,
    relay: Relay,
    dir: tempfile::TempDir,
    task: TaskId,
    spec: TaskSpec,
    news: Vec<Input>,
    begun: Instant,
    /// How far the clock was turned forward.
    skew: Duration,
    runs: u64,
}

fn identity(name: &str, spec: &TaskSpec) -> Arc<Identity> {
    Arc::new(Identity::new(name.into(), 1, Wall::default(), spec.clone()))
}

impl Rig {
    fn new(stdout: impl FnOnce(&str) -> Sink) -> Rig {
        Rig::with_options(stdout, |_| RelayOptions::default())
    }

    fn with_state(stdout: impl FnOnce(&str) -> Sink) -> Rig {
        Rig::with_options(stdout, |state| RelayOptions {
            state_dir: Some(state),
            ..RelayOptions::default()
        })
    }

    /// The sink is told its path.
    fn with_options(
        stdout: impl FnOnce(&str) -> Sink,
        options: impl FnOnce(PathBuf) -> RelayOptions,
    ) -> Rig {
        let dir = tempfile::tempdir().expect("directory");
        let state = dir.path().join("state");
        std::fs::create_dir(&state).expect("directory");
        let poll = Poll::new().expect("epoll");
        let registry = poll.registry().try_clone().expect("registry");
        let path = dir.path().join("out").to_str().expect("path").to_owned();
        let spec = TaskSpec { stdout: Some(stdout(&path)), ..TaskSpec::new("x") };
        Rig {
            poll,
            relay: Relay::new(registry, options(state), DescriptorStore::default()),
            dir,
            task: TaskId::new(3, 7),
            spec,
            news: Vec::new(),
            begun: Instant::now(),
            skew: Duration::ZERO,
            runs: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn now(&self) -> Mono {
        Mono::from_nanos(1_000_000_000) + self.begun.elapsed() + self.skew
    }

    fn open(&mut self) -> Result<(), StartError> {
        self.open_as(None)
    }

    /// Opens them as this user's.
    fn open_as(&mut self, owner: Option<Ids>) -> Result<(), StartError> {
        self.relay.open(self.task, &identity("web", &self.spec), owner)
    }

    /// Opens the sinks and begins a run.
    fn start(&mut self) -> ChildEnds {
        self.open().expect("open");
        self.runs += 1;
        self.relay.begin_run(self.task, self.runs).expect("begin")
    }

    /// Begins a run whose standard output is written by `write` in a thread.
    fn run(&mut self, write: impl FnOnce(File) + Send + 'static) -> JoinHandle<()> {
        let end = file(self.start().stdout);
        thread::spawn(move || write(end))
    }

    /// One turn of the loop, waiting 5 ms at most.
    fn turn(&mut self) {
        let mut events = Events::with_capacity(64);
        let wait = match self.relay.next_deadline() {
            Some(at) => at.since(self.now()).min(Duration::from_millis(5)),
            None => Duration::from_millis(5),
        };
        self.poll.poll(&mut events, Some(wait)).expect("poll");
        for event in &events {
            match Owner::of(event.token()) {
                Some(Owner::Source(key)) => {
                    self.relay.source_ready(key, event.is_readable(), event.is_read_closed());
                }
                Some(Owner::Target(key)) => self.relay.target_ready(key),
                Some(Owner::Crowd) => self.relay.crowd_ready(),
                other => panic!("whose is {other:?}"),
            }
        }
        let now = self.now();
        self.relay.work(now);
        self.relay.expire(now);
        while let Some((task, input)) = self.relay.next_news() {
            assert_eq!(task, self.task);
            self.news.push(input);
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Rig) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !done(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}; news: {:?}", self.news);
            self.turn();
        }
    }

    #[track_caller]
    fn until_news(&mut self, input: &Input) {
        self.until(&format!("{input:?}"), |rig| rig.news.contains(input));
    }

    #[track_caller]
    fn join<T>(&mut self, thread: JoinHandle<T>) -> T {
        self.until("thread", |_| thread.is_finished());
        thread.join().expect("thread")
    }

    /// The run and the task end; returns when everything has reached its sinks.
    #[track_caller]
    fn finish(&mut self) {
        self.relay.finish_run(self.now(), self.task);
        self.until("settled", |rig| {
            rig.news.iter().any(|input| matches!(input, Input::OutputSettled { .. }))
        });
        self.relay.close(self.now(), self.task);
    }

    /// Output waits for room in the FIFO.
    fn is_full(&self) -> bool {
        self.relay.keys(self.task).any(|key| {
            let stream = self.relay.streams.get(key);
            stream.is_some_and(|stream| matches!(stream.waiting(), Waiting::Room(_)))
        })
    }

    fn skip(&mut self, time: Duration) {
        self.skew += time;
    }
}

const SETTLED: Input = Input::OutputSettled { pending: false };
const PENDING: Input = Input::OutputSettled { pending: true };

fn stalls(news: &[Input]) -> usize {
    news.iter().filter(|input| matches!(input, Input::OutputStalled { .. })).count()
}

fn fifo(path: &str) -> Sink {
    Sink::Fifo { path: path.to_owned(), direct: false }
}

fn rotated(path: &str, max_size: u64, max_files: u32, numbering: Numbering) -> Sink {
    Sink::File(FileSink { max_size: Some(max_size), max_files, numbering, ..FileSink::new(path) })
}

/// The end as a file of its own; what the relay handed out is closed, as after a spawn.
fn file(end: ChildEnd) -> File {
    match end {
        ChildEnd::Fd(fd) => File::from(
            Arc::try_unwrap(fd).unwrap_or_else(|shared| shared.try_clone().expect("dup")),
        ),
        other => panic!("no descriptor: {other:?}"),
    }
}

/// Opens a FIFO for reading without waiting for a writer, then reads to the end in a thread.
fn read_all(path: PathBuf) -> JoinHandle<Vec<u8>> {
    let mut reader = open_reader(&path);
    thread::spawn(move || {
        let mut data = Vec::new();
        reader.read_to_end(&mut data).expect("read");
        data
    })
}

/// A blocking reading end of a FIFO that has a writer.
fn open_reader(path: &std::path::Path) -> File {
    OpenOptions::new().read(true).open(path).expect("reader")
}

fn is_nonblocking(file: &File) -> bool {
    let flags = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETFL).expect("flags");
    flags & nix::fcntl::OFlag::O_NONBLOCK.bits() != 0
}

/// Bytes without a pattern, and in lines: the same for the same seed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut data = Vec::with_capacity(bytes);
    while data.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.push(if state.is_multiple_of(61) { b'\n' } else { b'!' + (state >> 32) as u8 % 90 });
    }
    data
}

/// Writes all of `data` in pieces of 1 to `most` bytes.
fn write_in_pieces(mut to: File, data: &[u8], most: usize) {
    let (mut rest, mut state) = (data, 7_u64);
    while !rest.is_empty() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = (1 + (state >> 33) as usize % most).min(rest.len());
        let (piece, tail) = rest.split_at(size);
        to.write_all(piece).expect("write");
        rest = tail;
    }
}

/// Runs a test with a descriptor table of its own, so that it can count.
fn with_own_descriptors(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).expect("unshare");
        for fd in descriptors() {
            if fd > 2 {
                // The descriptor that listed them is gone already.
                let _ = nix::unistd::close(fd);
            }
        }
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn descriptors() -> Vec<i32> {
    std::fs::read_dir("/proc/thread-self/fd")
        .expect("proc")
        .map(|entry| entry.expect("entry").file_name().to_str().expect("name").parse().expect("fd"))
        .collect()
}

/// Opens for reading and writing: a FIFO is created before anybody else opens it.
fn hold(path: &std::path::Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path)
        .expect("open")
}
