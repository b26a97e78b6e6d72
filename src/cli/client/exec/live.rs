//! A command whose streams are live: keys, sizes and signals go to it, what it writes comes back.

use super::exit_code;
use super::streams::{Outflow, channel};
use crate::cli::arguments::ExecArguments;
use crate::cli::complain::complain;
use crate::cli::failure::{Failure, OWN, TIMED_OUT};
use crate::control::frames::{self, Frame};
use crate::sys::blocked_signals::BlockedSignals;
use crate::sys::channel::Channel;
use crate::sys::poll::{Interest, wait};
use crate::sys::pty;
use crate::sys::raw_terminal::RawTerminal;
use crate::vocabulary::Signal;
use nix::errno::Errno;
use serde_json::Value;
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// One read.
const READ_BYTES: usize = 32 << 10;
/// The exit code of what a closed pipe ends (128 + SIGPIPE).
const BROKEN_PIPE: u8 = 128 + 13;
/// See signal(7); the vocabulary names only those that tasks are told with.
const TSTP: i32 = 20;
const WINCH: i32 = 28;

/// Signals that are passed on to the command.
const PASSED_ON: [Signal; 5] =
    [Signal::INT, Signal::TERM, Signal::QUIT, Signal::USR1, Signal::USR2];

/// The client of one command.
#[derive(Debug)]
pub(super) struct Live {
    /// The verb and the task, for messages.
    what: String,
    from_daemon: Channel,
    to_daemon: Outflow,
    /// What has come and is no whole frame yet.
    received: Vec<u8>,
    /// Until its end.
    stdin: Option<Channel>,
    stdout: Outflow,
    stderr: Outflow,
    /// Before the signals are let through again.
    raw: Option<RawTerminal>,
    tty: bool,
    signals: BlockedSignals,
    deadline: Option<Instant>,
    exit: Option<u8>,
}

/// What is waited for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum What {
    Signal,
    Received,
    Sent,
    Typed,
    Stdout,
    Stderr,
}

impl Live {
    pub(super) fn new(
        arguments: &ExecArguments,
        stream: UnixStream,
        early: Vec<u8>,
    ) -> Result<Live, Failure> {
        let raw = match arguments.tty && arguments.interactive {
            true => RawTerminal::enter().map_err(|errno| {
                Failure::Other(format!("set the terminal up: {}", errno.desc()))
            })?,
            false => None,
        };
        let own = raw.is_some().then(|| [Some(Signal::CONT), Signal::new(TSTP)]);
        let own = own.into_iter().flatten().chain([Some(Signal::HUP), Signal::new(WINCH)]);
        let caught: Vec<Signal> = own.flatten().chain(PASSED_ON).collect();
        let signals = BlockedSignals::block(&caught)
            .map_err(|errno| Failure::Other(format!("wait for signals: {}", errno.desc())))?;
        let mut live = Live {
            what: format!("exec {}", arguments.name),
            from_daemon: channel(stream.as_fd())?,
            to_daemon: Outflow::to(stream.as_fd())?,
            received: early,
            stdin: None,
            stdout: Outflow::to(stdout().as_fd())?,
            stderr: Outflow::to(stderr().as_fd())?,
            raw,
            tty: arguments.tty,
            signals,
            deadline: arguments.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            exit: None,
        };
        if arguments.interactive {
            live.stdin = Some(channel(stdin().as_fd())?);
        } else {
            live.tell(&Frame::EndOfStdin);
        }
        Ok(live)
    }

    /// Until the command has ended, or is given up. The answer: the exit code.
    pub(super) fn run(mut self) -> Result<u8, Failure> {
        self.take_frames()?;
        loop {
            if let Some(code) = self.exit
                && self.stdout.is_empty()
                && self.stderr.is_empty()
            {
                return Ok(code);
            }
            let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                drop(self.raw.take());
                complain(&self.what, "timed out, the command was killed");
                return Ok(TIMED_OUT);
            }
            for what in self.ready(left)? {
                if let Some(code) = self.handle(what)? {
                    return Ok(code);
                }
            }
        }
    }

    /// Waits, and says what there is to do.
    fn ready(&self, timeout: Option<Duration>) -> Result<Vec<What>, Failure> {
        let mut wanted: Vec<(What, BorrowedFd<'_>, Interest)> =
            vec![(What::Signal, self.signals.as_fd(), Interest::Read)];
        if self.exit.is_none() && self.stdout.has_room() && self.stderr.has_room() {
            wanted.push((What::Received, self.from_daemon.as_fd(), Interest::Read));
        }
        if let Some(stdin) = &self.stdin
            && self.exit.is_none()
            && self.to_daemon.has_room()
        {
            wanted.push((What::Typed, stdin.as_fd(), Interest::Read));
        }
        let out = [
            (What::Sent, &self.to_daemon),
            (What::Stdout, &self.stdout),
            (What::Stderr, &self.stderr),
        ];
        let waiting = out.into_iter().filter(|(_, out)| !out.is_empty());
        wanted.extend(waiting.map(|(what, out)| (what, out.as_fd(), Interest::Write)));
        let fds: Vec<_> = wanted.iter().map(|&(_, fd, interest)| (fd, interest)).collect();
        let ready = wait(&fds, timeout)
            .map_err(|errno| Failure::Other(format!("wait for the streams: {}", errno.desc())))?;
        let ready = wanted.iter().zip(ready).filter(|(_, ready)| *ready);
        Ok(ready.map(|((what, ..), _)| *what).collect())
    }

    /// `Some`: it is over, with this exit code.
    fn handle(&mut self, what: What) -> Result<Option<u8>, Failure> {
        match what {
            What::Signal => {
                while let Some(signal) = self.signals.take() {
                    if let Some(code) = self.signaled(signal)? {
                        return Ok(Some(code));
                    }
                }
            }
            What::Received => {
                self.receive()?;
                self.take_frames()?;
            }
            What::Typed => self.take_input(),
            What::Sent => self.send(),
            What::Stdout => match self.stdout.send() {
                Ok(()) => {}
                Err(Errno::EPIPE) => return Ok(Some(BROKEN_PIPE)),
                Err(errno) => {
                    let why = format!("write to standard output: {}", errno.desc());
                    return Err(Failure::Other(why));
                }
            },
            // Where standard error is closed there is nobody to tell.
            What::Stderr => {
                if self.stderr.send().is_err() {
                    self.stderr.queue().clear();
                }
            }
        }
        Ok(None)
    }

    fn signaled(&mut self, signal: Signal) -> Result<Option<u8>, Failure> {
        if signal == Signal::HUP {
            // The terminal is gone, or whoever started us: with us the command ends.
            return Ok(Some(128 + 1));
        }
        if signal.number() == TSTP {
            if let Some(raw) = &self.raw {
                raw.suspend();
            }
            self.signals
                .deliver_to_group(signal)
                .map_err(|errno| Failure::Other(format!("stop: {}", errno.desc())))?;
            self.back_in_front();
        } else if signal == Signal::CONT {
            self.back_in_front();
        } else if signal.number() == WINCH {
            self.tell_size();
        } else if self.to_daemon.has_room() {
            self.tell(&Frame::Signal(&signal.to_string()));
        } else {
            // It would wait behind input that the command does not read.
            return Ok(u8::try_from(128 + signal.number()).ok());
        }
        Ok(None)
    }

    /// Somebody has continued us: the terminal may be set as a shell likes it, and be of another
    /// size.
    fn back_in_front(&mut self) {
        if let Some(raw) = &self.raw
            && raw.is_ours()
        {
            // One that cannot be set is gone, and a read of it says so.
            let _ = raw.resume();
            self.tell_size();
        }
    }

    fn tell_size(&mut self) {
        let (input, output) = (stdin(), stdout());
        let size = [input.as_fd(), output.as_fd()].into_iter().find_map(pty::size);
        if let (true, Some(size)) = (self.tty, size) {
            self.tell(&Frame::Resize(size));
        }
    }

    fn tell(&mut self, frame: &Frame<'_>) {
        frames::append(self.to_daemon.queue(), frame);
        self.send();
    }

    fn send(&mut self) {
        if self.to_daemon.send().is_err() {
            // Why it is closed is read from the other direction.
            self.to_daemon.queue().clear();
            self.stdin = None;
        }
    }

    fn take_input(&mut self) {
        let Some(stdin) = &self.stdin else { return };
        let mut buffer = [0; READ_BYTES];
        match stdin.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => {
                self.tell(&Frame::Stdin(buffer.get(..bytes).unwrap_or_default()));
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Its end, or a terminal that is gone.
            Ok(_) | Err(_) => {
                self.stdin = None;
                self.tell(&Frame::EndOfStdin);
            }
        }
    }

    fn receive(&mut self) -> Result<(), Failure> {
        let mut buffer = [0; READ_BYTES];
        match self.from_daemon.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => {
                self.received.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
                Ok(())
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Ok(_) | Err(_) => {
                let why = "the daemon closed the connection before the command had ended";
                Err(Failure::Other(why.to_owned()))
            }
        }
    }

    fn take_frames(&mut self) -> Result<(), Failure> {
        let mut taken = 0;
        loop {
            let rest = self.received.get(taken..).unwrap_or_default();
            let (frame, bytes) = match frames::first(rest) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(frames::TooLong(length)) => {
                    let why = format!("the daemon sent a frame of {length} bytes");
                    return Err(Failure::Other(why));
                }
            };
            taken += bytes;
            match frame {
                Frame::Stdout(data) => self.stdout.queue().extend_from_slice(data),
                Frame::Stderr(data) => self.stderr.queue().extend_from_slice(data),
                Frame::Exit(data) => {
                    let exit: Value = serde_json::from_slice(data).unwrap_or_default();
                    let code = exit_code(&exit);
                    drop(self.raw.take());
                    if code == OWN && exit.get("exit_code") != Some(&OWN.into()) {
                        complain(&self.what, "the exit status of the command is not known");
                    }
                    self.exit = Some(code);
                    break;
                }
                Frame::EndOfStdout | Frame::EndOfStderr | Frame::Unknown => {}
                Frame::Stdin(_) | Frame::EndOfStdin | Frame::Resize(_) | Frame::Signal(_) => {}
            }
        }
        self.received.drain(..taken);
        Ok(())
    }
}
