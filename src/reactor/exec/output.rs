//! What a command writes, where it is collected: the end of each stream is kept.

use crate::engine::ExecInput;
#[cfg(feature = "cli")]
use crate::reactor::HandedTail;
use crate::reactor::Supervisor;
#[cfg(feature = "cli")]
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::sys::pipe;
use crate::vocabulary::limits::{
    EXEC_OUTPUT_BYTES, EXEC_READS_PER_TURN, PIPE_BYTES_MAX, RELAY_BUFFER_BYTES,
};
use crate::vocabulary::{ExecId, Executed, StreamKind};
use nix::errno::Errno;
use std::collections::VecDeque;
#[cfg(feature = "cli")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Both streams.
#[derive(Debug)]
pub(super) struct Collected {
    stdout: Tail,
    stderr: Tail,
}

/// The end of one stream.
#[derive(Debug)]
struct Tail {
    /// `None` after its end.
    pipe: Option<OwnedFd>,
    kept: VecDeque<u8>,
    truncated: bool,
    /// It stands in the list of those that are to be read.
    listed: bool,
}

/// What one read found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Progress {
    /// Nothing more, for now or for ever.
    Quiet,
    /// There may be more.
    More(usize),
}

impl Collected {
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd) -> Collected {
        Collected { stdout: Tail::new(stdout), stderr: Tail::new(stderr) }
    }

    /// Both streams as they stand: the number of the pipe, what was kept, and whether there was
    /// more.
    #[cfg(feature = "cli")]
    pub(super) fn hand_over(&self) -> [HandedTail; 2] {
        [&self.stdout, &self.stderr].map(|tail| HandedTail {
            pipe: tail.pipe.as_ref().map(AsRawFd::as_raw_fd),
            kept: tail.kept.iter().copied().collect(),
            truncated: tail.truncated,
        })
    }

    /// Goes on with what the program before this one has collected.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(handed: [HandedTail; 2], descriptors: &mut HandedDescriptors) -> Collected {
        let [stdout, stderr] = handed.map(|tail| Tail {
            pipe: tail.pipe.and_then(|number| descriptors.take(number)),
            kept: tail.kept.into(),
            truncated: tail.truncated,
            listed: false,
        });
        Collected { stdout, stderr }
    }

    /// What there is to be watched.
    pub(super) fn pipes(&self) -> impl Iterator<Item = (StreamKind, BorrowedFd<'_>)> {
        let both = [(StreamKind::Stdout, &self.stdout), (StreamKind::Stderr, &self.stderr)];
        both.into_iter().filter_map(|(stream, tail)| Some((stream, tail.pipe.as_ref()?.as_fd())))
    }

    fn tail(&mut self, stream: StreamKind) -> &mut Tail {
        match stream {
            StreamKind::Stdout => &mut self.stdout,
            StreamKind::Stderr => &mut self.stderr,
        }
    }

    /// Reads what nobody writes any more. Bounded: somebody who is none of the command's processes
    /// may write to its pipe.
    fn drain(&mut self, buffer: &mut [u8]) {
        for tail in [&mut self.stdout, &mut self.stderr] {
            let mut left = PIPE_BYTES_MAX;
            while let Progress::More(bytes) = tail.read(buffer)
                && left > 0
            {
                left = left.saturating_sub(bytes);
            }
            tail.pipe = None;
        }
    }
}

impl Tail {
    fn new(pipe: OwnedFd) -> Tail {
        Tail { pipe: Some(pipe), kept: VecDeque::new(), truncated: false, listed: false }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Progress {
        let Some(pipe) = &self.pipe else { return Progress::Quiet };
        match pipe::read(pipe.as_fd(), buffer) {
            Ok(0) => {
                // Closing it also takes it out of the epoll set.
                self.pipe = None;
                Progress::Quiet
            }
            Ok(bytes) => {
                self.keep(buffer.get(..bytes).unwrap_or_default());
                Progress::More(bytes)
            }
            Err(Errno::EAGAIN) => Progress::Quiet,
            Err(errno) => {
                log::warn!("cannot read the output of a command: {}", errno.desc());
                self.pipe = None;
                self.truncated = true;
                Progress::Quiet
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend(bytes);
        let surplus = self.kept.len().saturating_sub(EXEC_OUTPUT_BYTES);
        if surplus > 0 {
            self.kept.drain(..surplus);
            self.truncated = true;
        }
    }
}

impl Supervisor {
    /// There may be output of a command.
    pub(in crate::reactor) fn exec_output_ready(&mut self, exec: ExecId, stream: StreamKind) {
        let found = self.execs.all.get_mut(&exec).and_then(|found| found.output.as_mut());
        if let Some(output) = found {
            let tail = output.tail(stream);
            if !std::mem::replace(&mut tail.listed, true) {
                self.execs.ready.push_back((exec, stream));
            }
        }
    }

    /// Reads output of commands in turn, as much as fits a turn of the loop.
    pub(in crate::reactor) fn collect_exec_output(&mut self) {
        for _ in 0..EXEC_READS_PER_TURN {
            let Some((exec, stream)) = self.execs.ready.pop_front() else { break };
            let Some(found) = self.execs.all.get_mut(&exec) else { continue };
            let Some(output) = &mut found.output else { continue };
            self.execs.buffer.resize(RELAY_BUFFER_BYTES, 0);
            let tail = output.tail(stream);
            match tail.read(&mut self.execs.buffer) {
                Progress::More(_) => self.execs.ready.push_back((exec, stream)),
                Progress::Quiet => tail.listed = false,
            }
        }
        if self.execs.all.is_empty() {
            self.execs.buffer = Vec::new();
        }
    }

    /// Reads what is left.
    pub(super) fn finish_exec_output(&mut self, exec: ExecId) {
        if let Some(found) = self.execs.all.get_mut(&exec)
            && let Some(output) = &mut found.output
        {
            self.execs.buffer.resize(RELAY_BUFFER_BYTES, 0);
            output.drain(&mut self.execs.buffer);
        }
        self.execs.tell(exec, ExecInput::OutputDrained);
    }

    /// Adds what was collected to what is told of the end.
    pub(in crate::reactor) fn add_exec_output(&mut self, executed: &mut Executed) {
        let Some(found) = self.execs.all.get_mut(&executed.exec) else { return };
        let Some(output) = found.output.take() else { return };
        let Collected { stdout, stderr } = *output;
        executed.truncated = stdout.truncated || stderr.truncated;
        executed.stdout = stdout.kept.into();
        executed.stderr = stderr.kept.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let (reader, writer) = pipe::make_pipe(None).expect("a pipe");
        let mut tail = Tail::new(reader);
        let mut buffer = vec![0; RELAY_BUFFER_BYTES];
        assert_eq!(tail.read(&mut buffer), Progress::Quiet);
        let mut written = Vec::new();
        for round in 0..40_u8 {
            let piece = vec![round; 4000];
            pipe::write(writer.as_fd(), &piece).expect("written");
            written.extend_from_slice(&piece);
            assert_eq!(tail.read(&mut buffer), Progress::More(4000));
            assert_eq!(tail.truncated, written.len() > EXEC_OUTPUT_BYTES);
        }
        drop(writer);
        assert_eq!(tail.read(&mut buffer), Progress::Quiet);
        assert!(tail.pipe.is_none());
        let kept: Vec<u8> = tail.kept.into();
        assert_eq!(kept, written[written.len() - EXEC_OUTPUT_BYTES..]);
    }
}
