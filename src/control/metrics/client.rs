//! One collector at the socket: it asks, is measured for, and is sent the text as fast as it reads.

use super::exposition::Exposition;
use super::measurable;
use crate::control::openmetrics::CONTENT_TYPE;
use crate::reactor::{Measurement, Ready, Supervisor, WatchId};
use crate::sys::channel::Channel;
use crate::vocabulary::TaskId;
use crate::vocabulary::limits::METRICS_PATIENCE;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// Longest request with its headers.
const REQUEST_BYTES_MAX: usize = 8 << 10;

#[derive(Debug)]
pub(super) struct Client {
    channel: Channel,
    watch: WatchId,
    readable: bool,
    writable: bool,
    phase: Phase,
    request: Vec<u8>,
    /// What is to be sent.
    output: Vec<u8>,
    sent: usize,
    /// It is let go then, whatever it does.
    until: Instant,
}

#[derive(Debug)]
enum Phase {
    Asking,
    Measuring(Measurement, Vec<TaskId>),
    Sending(Exposition),
    /// All is in the output.
    Ending,
}

/// What becomes of a client.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    Stay,
    Leave,
}

/// What a request asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Asked {
    /// Not all of it is there.
    Unfinished,
    Text,
    /// The headers alone.
    Head,
    /// Nothing that is served here: the status line.
    Other(&'static str),
}

impl Client {
    pub(super) fn new(supervisor: &mut Supervisor, stream: UnixStream) -> io::Result<Client> {
        let channel = Channel::of_socket(stream.into());
        let watch = supervisor.watch(channel.as_fd())?;
        Ok(Client {
            channel,
            watch,
            readable: true,
            writable: true,
            phase: Phase::Asking,
            request: Vec::new(),
            output: Vec::new(),
            sent: 0,
            until: Instant::now() + METRICS_PATIENCE,
        })
    }

    pub(super) fn watch(&self) -> WatchId {
        self.watch
    }

    pub(super) fn take_ready(&mut self, ready: &Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
    }

    /// When it is to be served although nothing is told of it.
    pub(super) fn due(&self) -> Instant {
        let goes_on = match self.phase {
            Phase::Asking => self.readable,
            // The supervisor does not wait before it has measured.
            Phase::Measuring(..) => true,
            Phase::Sending(_) | Phase::Ending => self.writable,
        };
        if goes_on { Instant::now() } else { self.until }
    }

    /// Does what can be done now, at most one piece of the text.
    pub(super) fn serve(&mut self, supervisor: &mut Supervisor, now: Instant) -> Next {
        if now >= self.until {
            return Next::Leave;
        }
        if matches!(self.phase, Phase::Asking) && self.receive(supervisor).is_err() {
            return Next::Leave;
        }
        if let Phase::Measuring(measurement, tasks) = &mut self.phase {
            if !supervisor.is_measured(*measurement) {
                return Next::Stay;
            }
            self.phase = Phase::Sending(Exposition::new(std::mem::take(tasks)));
        }
        if self.sent == self.output.len()
            && let Phase::Sending(exposition) = &mut self.phase
        {
            match exposition.next_piece(supervisor) {
                Some(piece) => self.put(piece.into_bytes()),
                None => self.phase = Phase::Ending,
            }
        }
        if self.send().is_err() {
            return Next::Leave;
        }
        match self.phase {
            Phase::Ending if self.sent == self.output.len() => Next::Leave,
            _ => Next::Stay,
        }
    }

    fn receive(&mut self, supervisor: &mut Supervisor) -> Result<(), Errno> {
        let mut buffer = [0; 1024];
        while self.readable {
            let ended = match self.channel.read(&mut buffer) {
                Ok(read) => {
                    self.request.extend_from_slice(buffer.get(..read).unwrap_or_default());
                    read == 0
                }
                Err(Errno::EAGAIN) => {
                    self.readable = false;
                    return Ok(());
                }
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
            };
            let asked = match ended {
                true if self.request.is_empty() => {
                    self.measure(supervisor);
                    return Ok(());
                }
                true => return Err(Errno::EPIPE),
                false => asked(&self.request),
            };
            match asked {
                Asked::Unfinished => continue,
                Asked::Text => {
                    self.put(head("200 OK"));
                    self.measure(supervisor);
                }
                Asked::Head => {
                    self.put(head("200 OK"));
                    self.phase = Phase::Ending;
                }
                Asked::Other(status) => {
                    self.put(head(status));
                    self.phase = Phase::Ending;
                }
            }
            return Ok(());
        }
        Ok(())
    }

    fn measure(&mut self, supervisor: &mut Supervisor) {
        let tasks = measurable(supervisor);
        let measurement = supervisor.measure(tasks.iter().copied(), false);
        self.phase = Phase::Measuring(measurement, tasks);
    }

    fn put(&mut self, bytes: Vec<u8>) {
        if self.sent == self.output.len() {
            self.output = bytes;
            self.sent = 0;
        } else {
            self.output.extend(bytes);
        }
    }

    fn send(&mut self) -> Result<(), Errno> {
        while self.writable && self.sent < self.output.len() {
            match self.channel.write(self.output.get(self.sent..).unwrap_or_default()) {
                Ok(sent) => self.sent += sent,
                Err(Errno::EAGAIN) => self.writable = false,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The head of an answer. Its end is that of the connection.
fn head(status: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

fn asked(request: &[u8]) -> Asked {
    let ends = |end: &[u8]| request.windows(end.len()).any(|window| window == end);
    if !(ends(b"\r\n\r\n") || ends(b"\n\n")) {
        return match request.len() > REQUEST_BYTES_MAX {
            true => Asked::Other("431 Request Header Fields Too Large"),
            false => Asked::Unfinished,
        };
    }
    let line = request.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(u8::is_ascii_whitespace);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    match (method, path) {
        (b"GET", b"/" | b"/metrics") => Asked::Text,
        (b"HEAD", b"/" | b"/metrics") => Asked::Head,
        (b"GET" | b"HEAD", path) if path.starts_with(b"/") => Asked::Other("404 Not Found"),
        (b"POST" | b"PUT" | b"DELETE" | b"OPTIONS" | b"PATCH", _) => {
            Asked::Other("405 Method Not Allowed")
        }
        _ => Asked::Other("400 Bad Request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_asks_for() {
        assert_eq!(asked(b""), Asked::Unfinished);
        assert_eq!(asked(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"), Asked::Unfinished);
        assert_eq!(asked(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Asked::Text);
        assert_eq!(asked(b"GET /?a=b HTTP/1.0\n\n"), Asked::Text);
        assert_eq!(asked(b"HEAD / HTTP/1.1\r\n\r\n"), Asked::Head);
        let refused = |request: &[u8]| match asked(request) {
            Asked::Other(status) => status.split(' ').next().unwrap().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(b"GET /x HTTP/1.1\r\n\r\n"), "404");
        assert_eq!(refused(b"POST / HTTP/1.1\r\n\r\n"), "405");
        assert_eq!(refused(b"\xff\r\n\r\n"), "400");
        assert_eq!(refused(&[b'x'; REQUEST_BYTES_MAX + 1]), "431");
    }
}
