//! A connection that was upgraded by ExecStream: frames of the client to the command and back, each
//! as fast as the other side reads.

use super::connection::{Connection, Gone, Pending};
use super::frames::{self, Frame};
use super::server::{Server, Watched};
use crate::reactor::{ExecEnds, Supervisor, WatchId};
use crate::sys::{pipe, pty};
use crate::vocabulary::limits::{EXEC_INPUT_BYTES, RELAY_BUFFER_BYTES, STREAM_QUEUE_BYTES};
use crate::vocabulary::{ExecId, Executed, ExitStatus, Signal};
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};
#[cfg(feature = "cli")]
use std::os::fd::{AsRawFd, RawFd};

/// Rounds of reading and writing for one client in one turn: at most 2 MiB of output.
const ROUNDS: usize = 16;

/// Whoever writes so much to a stream after the end of a command is none of its processes: it is
/// more than any pipe holds.
const LEFT_BYTES_MAX: usize = 16 << 20;

/// A command and its client.
#[derive(Debug)]
pub(super) struct Upgraded {
    standing: Standing,
    stdin: Option<End>,
    stdout: Option<End>,
    stderr: Option<End>,
}

/// What there is but for the streams.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) exec: ExecId,
    /// One descriptor is standard input and output.
    pub(super) terminal: bool,
    /// What it has not read yet.
    pub(super) input: Vec<u8>,
    /// No more will come: its standard input is to be closed behind that.
    pub(super) input_ends: bool,
    /// What the last byte of input was.
    pub(super) last_input: Option<u8>,
    /// How it ended; nobody writes to its streams any more.
    pub(super) ended: Option<ExitStatus>,
    /// What was read since then.
    pub(super) read_since: usize,
    /// The client was told so.
    pub(super) told: bool,
}

/// One of its streams.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// Our end of a stream. It never blocks.
#[derive(Debug)]
struct End {
    fd: OwnedFd,
    watch: WatchId,
    readable: bool,
    writable: bool,
}

/// What a round did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Round {
    /// Nothing: it waits for somebody.
    Idle,
    /// Something, so that there may be more.
    More,
}

impl Server {
    /// The next command with streams of its own that the host itself runs and that has ended.
    pub fn next_exec_end(&mut self) -> Option<Executed> {
        self.host_exec_ends.pop_front()
    }

    /// A command runs whose streams a connection is to carry.
    pub(super) fn upgrade(&mut self, supervisor: &mut Supervisor, key: usize, exec: ExecId) {
        let Some(ends) = supervisor.take_exec_ends(exec) else { return };
        let Some(connection) = self.connections.get_mut(key) else {
            return supervisor.kill_exec(exec);
        };
        connection.session.upgrade();
        let terminal = matches!(ends, ExecEnds::Terminal(_));
        let streams = match ends {
            ExecEnds::Terminal(terminal) => [None, Some(terminal), None],
            ExecEnds::Pipes { stdin, stdout, stderr } => [Some(stdin), Some(stdout), Some(stderr)],
        };
        let standing = Standing {
            exec,
            terminal,
            input: Vec::new(),
            input_ends: false,
            last_input: None,
            ended: None,
            read_since: 0,
            told: false,
        };
        self.carry_on(supervisor, key, standing, streams);
    }

    /// Has a connection carry the streams of a command: standard input, output, error.
    pub(super) fn carry_on(
        &mut self,
        supervisor: &mut Supervisor,
        key: usize,
        standing: Standing,
        streams: [Option<OwnedFd>; 3],
    ) {
        let exec = standing.exec;
        let mut upgraded = Upgraded { standing, stdin: None, stdout: None, stderr: None };
        let mut failed = false;
        for (stream, fd) in [Stream::Stdin, Stream::Stdout, Stream::Stderr].into_iter().zip(streams)
        {
            let Some(fd) = fd else { continue };
            match supervisor.watch(fd.as_fd()) {
                Ok(watch) => {
                    self.watches.insert(watch, Watched::Exec(key, stream));
                    let end = End { fd, watch, readable: true, writable: true };
                    *upgraded.slot(stream) = Some(end);
                }
                Err(error) => {
                    log::warn!("cannot watch a stream of a command: {error}");
                    failed = true;
                }
            }
        }
        self.execs.insert(exec, key);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.pending = Pending::Upgraded(Box::new(upgraded));
        }
        if failed {
            return self.remove(supervisor, key);
        }
        self.wake(key);
    }

    /// A stream of a command is ready.
    pub(super) fn exec_ready(&mut self, key: usize, stream: Stream, ready: (bool, bool)) {
        if let Some(connection) = self.connections.get_mut(key)
            && let Pending::Upgraded(upgraded) = &mut connection.pending
            && let Some(end) = upgraded.slot(stream)
        {
            end.readable |= ready.0;
            end.writable |= ready.1;
        }
        self.wake(key);
    }

    /// Takes the commands that have ended.
    pub(super) fn take_exec_ends(&mut self, supervisor: &mut Supervisor) {
        while let Some(executed) = supervisor.next_exec_end() {
            let Some(&key) = self.execs.get(&executed.exec) else {
                self.host_exec_ends.push_back(executed);
                continue;
            };
            if let Some(connection) = self.connections.get_mut(key)
                && let Pending::Upgraded(upgraded) = &mut connection.pending
            {
                let Executed { status, .. } = executed;
                upgraded.standing.ended = Some(status);
                self.wake(key);
            }
        }
    }

    /// Carries what there is between a command and its client.
    pub(super) fn serve_upgraded(&mut self, supervisor: &mut Supervisor, key: usize) {
        let mut more = true;
        for _ in 0..ROUNDS {
            let scratch = &mut self.scratch;
            let Some(connection) = self.connections.get_mut(key) else { return };
            match round(connection, supervisor, scratch, &mut self.watches) {
                Err(Gone) => return self.remove(supervisor, key),
                Ok(Round::More) => {}
                Ok(Round::Idle) => {
                    more = false;
                    break;
                }
            }
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !more && connection.is_over() {
            self.remove(supervisor, key);
        } else if more {
            self.wake(key);
        }
    }

    /// The client of a command is gone: all of the command is killed.
    pub(super) fn drop_upgraded(&mut self, supervisor: &mut Supervisor, upgraded: Upgraded) {
        let Upgraded { standing: Standing { exec, .. }, stdin, stdout, stderr } = upgraded;
        self.execs.remove(&exec);
        for end in [stdin, stdout, stderr].into_iter().flatten() {
            end.close(supervisor, &mut self.watches);
        }
        supervisor.kill_exec(exec);
    }
}

type Watches = std::collections::HashMap<WatchId, Watched>;

/// Reads from both sides and writes to both.
fn round(
    connection: &mut Connection,
    supervisor: &mut Supervisor,
    scratch: &mut Vec<u8>,
    watches: &mut Watches,
) -> Result<Round, Gone> {
    scratch.resize(RELAY_BUFFER_BYTES, 0);
    let before = connection.session.raw_input().len();
    connection.receive(scratch)?;
    let mut done = connection.session.raw_input().len() != before;
    let Connection { session, pending, ended, who, .. } = connection;
    if let Pending::Upgraded(upgraded) = pending {
        while upgraded.standing.input.len() < EXEC_INPUT_BYTES {
            match frames::first(session.raw_input()) {
                Ok(Some((frame, taken))) => {
                    upgraded.take(frame, supervisor);
                    session.raw_taken(taken);
                    done = true;
                }
                Ok(None) => {
                    // The client has closed its side; half a frame is none.
                    if *ended && !upgraded.standing.input_ends {
                        upgraded.end_input();
                    }
                    break;
                }
                Err(frames::TooLong(length)) => {
                    log::warn!("client={who} dropped: it sent a frame of {length} bytes");
                    return Err(Gone);
                }
            }
        }
        done |= upgraded.write(supervisor, watches);
        for stream in [Stream::Stdout, Stream::Stderr] {
            if session.output().len() <= STREAM_QUEUE_BYTES {
                done |= upgraded.read(stream, scratch, session.raw_output(), supervisor, watches);
            }
        }
        if upgraded.is_over() {
            upgraded.tell_end(session.raw_output());
            session.close();
            done = true;
        }
    }
    let unsent = connection.session.output().len();
    connection.send()?;
    done |= connection.session.output().len() != unsent;
    Ok(if done { Round::More } else { Round::Idle })
}

impl Upgraded {
    /// How it stands, and the numbers of the streams' descriptors: input, output, error.
    #[cfg(feature = "cli")]
    pub(super) fn standing(&self) -> (Standing, [Option<RawFd>; 3]) {
        let number = |end: &Option<End>| end.as_ref().map(|end| end.fd.as_raw_fd());
        (self.standing.clone(), [&self.stdin, &self.stdout, &self.stderr].map(number))
    }

    fn slot(&mut self, stream: Stream) -> &mut Option<End> {
        match stream {
            Stream::Stdin => &mut self.stdin,
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// What the client has sent.
    fn take(&mut self, frame: Frame<'_>, supervisor: &mut Supervisor) {
        match frame {
            Frame::Stdin(data) if !self.standing.input_ends => {
                self.standing.last_input = data.last().copied().or(self.standing.last_input);
                self.standing.input.extend_from_slice(data);
            }
            Frame::EndOfStdin if !self.standing.input_ends => self.end_input(),
            Frame::Resize(size) => {
                if let (true, Some(end)) = (self.standing.terminal, &self.stdout)
                    && let Err(errno) = pty::resize(end.fd.as_fd(), size)
                {
                    log::debug!("cannot resize the terminal of a command: {}", errno.desc());
                }
            }
            Frame::Signal(name) => match name.parse::<Signal>() {
                Ok(signal) => supervisor.signal_exec(self.standing.exec, signal),
                Err(unknown) => log::debug!("a client sent a signal to a command: {unknown}"),
            },
            // To be skipped: unknown, out of place, or behind the end of standard input.
            Frame::Stdin(_) | Frame::EndOfStdin | Frame::Unknown => {}
            Frame::Stdout(_) | Frame::Stderr(_) | Frame::Exit(_) => {}
            Frame::EndOfStdout | Frame::EndOfStderr => {}
        }
    }

    /// No more input comes. On a terminal a character says so, and does so at the beginning of a
    /// line alone: elsewhere the first one only hands over what stands there.
    fn end_input(&mut self) {
        self.standing.input_ends = true;
        if let (true, Some(end)) = (self.standing.terminal, &self.stdout) {
            let character = pty::end_of_file(end.fd.as_fd());
            let begun = !matches!(self.standing.last_input, None | Some(b'\n' | b'\r'));
            self.standing.input.extend(std::iter::repeat_n(character, 1 + usize::from(begun)));
        }
    }

    /// Hands input to the command; whether there was a step.
    fn write(&mut self, supervisor: &mut Supervisor, watches: &mut Watches) -> bool {
        let slot = if self.standing.terminal { &mut self.stdout } else { &mut self.stdin };
        let Some(end) = slot else {
            // It reads no more.
            let any = !self.standing.input.is_empty();
            self.standing.input = Vec::new();
            return any;
        };
        if !self.standing.input.is_empty() {
            if !end.writable {
                return false;
            }
            match pipe::write(end.fd.as_fd(), &self.standing.input) {
                Ok(bytes) => drop(self.standing.input.drain(..bytes)),
                Err(Errno::EAGAIN) => {
                    end.writable = false;
                    return false;
                }
                // EPIPE: it has closed its standard input. EIO: nobody has the terminal any more.
                Err(_) => {
                    self.standing.input = Vec::new();
                    self.standing.input_ends = true;
                }
            }
            return true;
        }
        if self.standing.input_ends && !self.standing.terminal {
            if let Some(end) = slot.take() {
                end.close(supervisor, watches);
            }
            return true;
        }
        false
    }

    /// Takes output of the command; whether there was a step.
    fn read(
        &mut self,
        stream: Stream,
        scratch: &mut [u8],
        output: &mut Vec<u8>,
        supervisor: &mut Supervisor,
        watches: &mut Watches,
    ) -> bool {
        let (over, terminal) = (self.standing.ended.is_some(), self.standing.terminal);
        let overrun = self.standing.read_since >= LEFT_BYTES_MAX;
        let slot = self.slot(stream);
        let Some(end) = slot.as_mut().filter(|end| end.readable || over) else { return false };
        let data = match pipe::read(end.fd.as_fd(), scratch) {
            Ok(bytes) if bytes > 0 && !overrun => scratch.get(..bytes).unwrap_or_default(),
            // Somebody may have the stream who is none of the command's processes.
            Err(Errno::EAGAIN) if !over => {
                end.readable = false;
                return false;
            }
            // Nobody has the terminal open. To close it would be to hang up, which ends a command
            // that has closed its streams before it exits; and it can be opened again (/dev/tty).
            Err(Errno::EIO) if !over && terminal => {
                end.readable = false;
                return false;
            }
            Ok(_) | Err(_) => {
                if let Some(end) = slot.take() {
                    end.close(supervisor, watches);
                }
                let ended = match stream {
                    Stream::Stderr => Frame::EndOfStderr,
                    Stream::Stdin | Stream::Stdout => Frame::EndOfStdout,
                };
                frames::append(output, &ended);
                return true;
            }
        };
        self.standing.read_since += if over { data.len() } else { 0 };
        let frame = match stream {
            Stream::Stderr => Frame::Stderr(data),
            Stream::Stdin | Stream::Stdout => Frame::Stdout(data),
        };
        frames::append(output, &frame);
        true
    }

    /// It has ended, and all it wrote was taken.
    fn is_over(&self) -> bool {
        self.standing.ended.is_some()
            && !self.standing.told
            && self.stdout.is_none()
            && self.stderr.is_none()
    }

    fn tell_end(&mut self, output: &mut Vec<u8>) {
        self.standing.told = true;
        if self.standing.terminal {
            frames::append(output, &Frame::EndOfStderr);
        }
        let status = self.standing.ended.unwrap_or(ExitStatus::Unknown);
        frames::append(output, &Frame::Exit(&frames::exit_data(status)));
    }
}

impl End {
    fn close(self, supervisor: &mut Supervisor, watches: &mut Watches) {
        watches.remove(&self.watch);
        supervisor.unwatch(self.watch, self.fd.as_fd());
    }
}
