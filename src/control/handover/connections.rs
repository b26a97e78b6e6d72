//! The server's connections as they stand: descriptors, what was read and not taken, what is to be
//! sent, and the call under way.

use super::Taking;
use super::reactor::base64_text;
use super::streams::{HandedPieces, Launches, launches};
use super::upgraded::HandedUpgraded;
use crate::control::ServerOptions;
use crate::control::calls::Kind;
use crate::control::connection::{Connection, Pending};
use crate::control::failure::Failure;
use crate::control::history::History;
use crate::control::server::{Server, watched};
use crate::control::session::Session;
use crate::reactor::Supervisor;
use crate::sys::channel::Channel;
use crate::vocabulary::{Ticket, cause};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixListener;

/// What there is once.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::control) struct HandedServer {
    listeners: Vec<RawFd>,
    /// Where more connections can be opened.
    socket: Option<String>,
    allowed_gid: Option<u32>,
}

/// Whom the supervisor is to answer.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(in crate::control) struct HandedAsker {
    ticket: u64,
    /// The place of its connection, if it has not left.
    connection: Option<usize>,
    method: String,
    kind: String,
}

/// One client.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(in crate::control) struct HandedConnection {
    place: usize,
    reader: RawFd,
    writer: Option<RawFd>,
    stdio: bool,
    ended: bool,
    who: String,
    state: String,
    #[serde(with = "base64_text")]
    input: Vec<u8>,
    #[serde(with = "base64_text")]
    output: Vec<u8>,
    call: HandedCall,
}

/// The call under way.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
enum HandedCall {
    None,
    Asked(u64),
    Upgrade,
    Pieces(HandedPieces),
    Upgraded(HandedUpgraded),
}

/// All of it.
pub(super) type HandedClients = (HandedServer, Vec<HandedAsker>, Vec<HandedConnection>);

impl HandedServer {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.listeners.iter().copied()
    }
}

impl HandedConnection {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + use<> {
        let of_call = match &self.call {
            HandedCall::Pieces(pieces) => pieces.descriptor(),
            _ => None,
        };
        let streams = match &self.call {
            HandedCall::Upgraded(upgraded) => upgraded.descriptors(),
            _ => [None; 3],
        };
        [Some(self.reader), self.writer, of_call].into_iter().chain(streams).flatten()
    }
}

#[cfg(fuzzing)]
impl HandedConnection {
    /// How many calls stand in it that can be taken.
    pub(super) fn calls(self) -> usize {
        let mut session = Session::go_on(&self.state, self.input, self.output);
        let mut calls = 0;
        while session.next_call().is_some() {
            session.reply(&serde_json::json!({}));
            calls += 1;
        }
        calls
    }
}

const KINDS: [Kind; 4] = [Kind::Wait, Kind::Shutdown, Kind::Exec, Kind::Other];

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Wait => "wait",
        Kind::Shutdown => "shutdown",
        Kind::Exec => "exec",
        Kind::Other => "other",
    }
}

impl Server {
    /// From now on, or not any more: no call begins. Those that come wait.
    pub(crate) fn hold_calls(&mut self, hold: bool) {
        self.held = hold;
        if !hold {
            let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
            keys.into_iter().for_each(|key| self.wake(key));
        }
    }

    /// All that another program of this process needs to go on with it.
    pub(super) fn hand_over(&self, supervisor: &Supervisor) -> HandedClients {
        let server = HandedServer {
            listeners: self.listening.descriptors().collect(),
            socket: self.options.socket.clone(),
            allowed_gid: self.options.allowed_gid,
        };
        let askers = self.askers.iter().map(|(ticket, asker)| HandedAsker {
            ticket: ticket.0,
            connection: asker.connection,
            method: asker.method.clone(),
            kind: kind_name(asker.kind).to_owned(),
        });
        let connections = self.connections.iter().map(|(place, connection)| {
            let (state, input, output) = connection.session.standing();
            HandedConnection {
                place,
                reader: connection.reader.channel.as_fd().as_raw_fd(),
                writer: connection.writer.as_ref().map(|w| w.channel.as_fd().as_raw_fd()),
                stdio: connection.stdio,
                ended: connection.ended,
                who: connection.who.clone(),
                state: state.to_owned(),
                input: input.to_vec(),
                output: output.to_vec(),
                call: match &connection.pending {
                    Pending::Asked(ticket) => HandedCall::Asked(ticket.0),
                    Pending::Upgrade => HandedCall::Upgrade,
                    Pending::Streams(stream) => {
                        HandedCall::Pieces(HandedPieces::of(stream, supervisor))
                    }
                    Pending::Upgraded(upgraded) => HandedCall::Upgraded(upgraded.hand_over()),
                    Pending::None | Pending::Host(_) => HandedCall::None,
                },
            }
        });
        (server, askers.collect(), connections.collect())
    }

    /// Goes on with the clients of the program before this one.
    pub(super) fn take_over(
        taking: &mut Taking<'_>,
        options: ServerOptions,
        history: History,
        (handed, askers, connections): HandedClients,
    ) -> io::Result<Server> {
        let HandedServer { listeners, socket, allowed_gid } = handed;
        let mut server =
            Server::new(taking.supervisor, ServerOptions { socket, allowed_gid, ..options });
        server.history = history;
        let listeners = listeners.into_iter().filter_map(|number| taking.descriptors.take(number));
        for listener in listeners.collect::<Vec<_>>() {
            server.listen(taking.supervisor, UnixListener::from(listener))?;
        }
        let launches = launches(taking.supervisor);
        let mut places = HashMap::new();
        for mut handed in connections {
            let (place, who) = (handed.place, handed.who.clone());
            let call = std::mem::replace(&mut handed.call, HandedCall::None);
            match take_connection(taking, handed) {
                Ok(connection) => {
                    let key = server.add(connection);
                    places.insert(place, key);
                    server.take_call(taking, key, call, &launches);
                }
                Err(error) => log::error!("client={who} lost: {}", cause(&error)),
            }
        }
        for HandedAsker { ticket, connection, method, kind } in askers {
            let kind = KINDS.into_iter().find(|known| kind_name(*known) == kind);
            let connection = connection.and_then(|place| places.get(&place).copied());
            server.asked(Ticket(ticket), connection, method, kind.unwrap_or(Kind::Other));
        }
        Ok(server)
    }

    /// Goes on with the call of a connection.
    fn take_call(
        &mut self,
        taking: &mut Taking<'_>,
        key: usize,
        call: HandedCall,
        launches: &Launches,
    ) {
        let pending = match call {
            HandedCall::None => Pending::None,
            HandedCall::Asked(ticket) => Pending::Asked(Ticket(ticket)),
            HandedCall::Upgrade => Pending::Upgrade,
            HandedCall::Pieces(pieces) => match pieces.stream(taking, launches) {
                Some(stream) => {
                    self.streams(taking.supervisor, key, &stream);
                    Pending::Streams(stream)
                }
                None => {
                    if let Some(connection) = self.connections.get_mut(key) {
                        let why = "it cannot go on with the new program: ask again";
                        connection.session.fail(&Failure::not_permitted("stream", why));
                    }
                    Pending::None
                }
            },
            HandedCall::Upgraded(upgraded) => {
                return self.upgrade_again(taking, key, upgraded);
            }
        };
        if let Some(connection) = self.connections.get_mut(key) {
            connection.pending = pending;
        }
    }
}

fn take_connection(taking: &mut Taking<'_>, handed: HandedConnection) -> io::Result<Connection> {
    let mut wire = |number: RawFd| -> io::Result<_> {
        let lost = || io::Error::other("its descriptor is gone");
        let fd = taking.descriptors.take(number).ok_or_else(lost)?;
        watched(taking.supervisor, Channel::new(fd)?)
    };
    let reader = wire(handed.reader)?;
    let writer = handed.writer.map(wire).transpose()?;
    let mut connection = Connection::new(reader, writer, handed.who);
    connection.session = Session::go_on(&handed.state, handed.input, handed.output);
    connection.stdio = handed.stdio;
    connection.ended = handed.ended;
    Ok(connection)
}
