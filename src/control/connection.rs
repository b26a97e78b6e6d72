//! One client: its descriptors, its session, and the call that is under way.

use super::calls::Stream;
use super::host_calls::ReloadTicket;
use super::session::Session;
use super::upgraded::Upgraded;
use crate::reactor::WatchId;
use crate::sys::channel::Channel;
use crate::vocabulary::Ticket;
use crate::vocabulary::limits::{RECEIVE_TURN_BYTES, SEND_PATIENCE};
use nix::errno::Errno;
use std::time::Instant;

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) session: Session,
    pub(super) pending: Pending,
    pub(super) reader: Wire,
    /// Where answers do not go where calls come from.
    pub(super) writer: Option<Wire>,
    /// Its end is the end of the supervisor's work: standard input.
    pub(super) stdio: bool,
    /// Nothing more will come in.
    pub(super) ended: bool,
    /// Its queue is full, and it has read nothing since then.
    pub(super) stalled: Option<Instant>,
    /// It stands in the list of those that are to be served.
    pub(super) queued: bool,
    /// Who it is, for the log.
    pub(super) who: String,
}

/// A watched descriptor.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) channel: Channel,
    /// Regular files are not watched: they are always ready.
    pub(super) watch: Option<WatchId>,
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// The call that is under way.
#[derive(Debug, Default)]
pub(super) enum Pending {
    #[default]
    None,
    /// It waits for the supervisor's answer.
    Asked(Ticket),
    /// It waits for the host's answer.
    Host(ReloadTicket),
    /// It waits for the next program to go on, or for why that cannot.
    Upgrade,
    /// It is answered piece by piece.
    Streams(Stream),
    /// The connection carries the streams of a command.
    Upgraded(Box<Upgraded>),
}

/// The client is not there any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Gone;

impl Wire {
    pub(super) fn new(channel: Channel, watch: Option<WatchId>) -> Wire {
        Wire { channel, watch, readable: true, writable: true }
    }
}

impl Connection {
    pub(super) fn new(reader: Wire, writer: Option<Wire>, who: String) -> Connection {
        Connection {
            session: Session::default(),
            pending: Pending::None,
            reader,
            writer,
            stdio: false,
            ended: false,
            stalled: None,
            queued: false,
            who,
        }
    }

    fn writer(&mut self) -> &mut Wire {
        self.writer.as_mut().unwrap_or(&mut self.reader)
    }

    /// Reads what has come, as far as there is room for it.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> Result<(), Gone> {
        let mut left = RECEIVE_TURN_BYTES;
        while self.reader.readable && !self.ended && left > 0 && self.session.wants_input() {
            match self.reader.channel.read(buffer) {
                Ok(0) => self.ended = true,
                Ok(bytes) => {
                    self.session.receive(buffer.get(..bytes).unwrap_or_default());
                    left = left.saturating_sub(bytes);
                }
                Err(Errno::EAGAIN) => self.reader.readable = false,
                Err(Errno::EINTR) => {}
                // A terminal that was hung up.
                Err(Errno::EIO) => self.ended = true,
                Err(errno) => {
                    log::debug!("client={} gone: read: {}", self.who, errno.desc());
                    return Err(Gone);
                }
            }
        }
        Ok(())
    }

    /// Sends what there is, as far as the client takes it.
    pub(super) fn send(&mut self) -> Result<(), Gone> {
        while !self.session.output().is_empty() {
            let writer = self.writer.as_mut().unwrap_or(&mut self.reader);
            if !writer.writable {
                break;
            }
            match writer.channel.write(self.session.output()) {
                Ok(bytes) => {
                    self.session.sent(bytes);
                    self.stalled = None;
                }
                Err(Errno::EAGAIN) => writer.writable = false,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    log::debug!("client={} gone: write: {}", self.who, errno.desc());
                    return Err(Gone);
                }
            }
        }
        Ok(())
    }

    /// Whether its answers wait for it in vain.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some_and(|since| since.elapsed() >= SEND_PATIENCE)
    }

    /// Whether nothing is left to be done for this client: it is gone, or it was answered all and
    /// will not ask any more.
    pub(super) fn is_over(&mut self) -> bool {
        if self.session.is_over() {
            return true;
        }
        if !self.ended {
            // What it sent is not read while it fills the room for it: its end is not seen then.
            return !self.session.wants_input() && self.writer().channel.is_deserted();
        }
        match self.pending {
            // Standard input is at its end: whoever started us is gone, and nobody would end this.
            Pending::Streams(_) if self.stdio => true,
            Pending::None if self.session.output().is_empty() => true,
            _ => self.writer().channel.is_deserted(),
        }
    }

    /// Whether it can go on by itself, without anything happening.
    pub(super) fn can_go_on(&self) -> bool {
        self.reader.readable && !self.ended && self.session.wants_input()
    }
}
