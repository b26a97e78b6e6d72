//! Accepting connections: who may come in, and how many.

use super::connection::Connection;
use super::failure::Failure;
use super::server::{Server, watched};
use crate::reactor::Supervisor;
use crate::sys::channel::Channel;
use crate::sys::own_process;
use crate::sys::peer::Peer;
use crate::vocabulary::cause;
use crate::vocabulary::limits::{ACCEPTS_PER_TURN, FDS_FOR_LAUNCHES};
use std::fs::File;
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::RawFd;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// Failures of the same kind are logged so often at most.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The sockets that are listened on.
#[derive(Debug)]
pub(super) struct Listening {
    sockets: Vec<Socket>,
    /// Given up for a moment where no other descriptor can be had, so that a client can be told.
    reserve: Option<OwnedFd>,
    logged: Option<Instant>,
    /// The process may have so many descriptors.
    descriptors_max: u64,
}

#[derive(Debug)]
struct Socket {
    listener: UnixListener,
    state: State,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum State {
    /// All that came was accepted; the next one is told.
    Drained,
    /// More is waiting.
    Unfinished,
    /// It failed: tried again after a while.
    Paused,
}

impl Listening {
    pub(super) fn new() -> Listening {
        let descriptors_max = own_process::descriptor_limit();
        Listening { sockets: Vec::new(), reserve: reserve(), logged: None, descriptors_max }
    }

    pub(super) fn add(&mut self, listener: UnixListener) -> usize {
        // Some may have come before it was watched.
        self.sockets.push(Socket { listener, state: State::Unfinished });
        self.sockets.len() - 1
    }

    /// The sockets, by the numbers of their descriptors.
    #[cfg(feature = "cli")]
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.sockets.iter().map(|socket| socket.listener.as_raw_fd())
    }

    /// Whether connections wait to be accepted.
    pub(super) fn has_more(&self) -> bool {
        self.sockets.iter().any(|socket| socket.state == State::Unfinished)
    }

    fn unfinished(&self) -> Vec<usize> {
        let sockets = self.sockets.iter().enumerate();
        let unfinished = sockets.filter(|(_, socket)| socket.state == State::Unfinished);
        unfinished.map(|(key, _)| key).collect()
    }

    /// Somebody waits to be accepted.
    pub(super) fn ring(&mut self, key: usize) {
        self.set(key, State::Unfinished);
    }

    /// Tries those again that failed.
    pub(super) fn retry(&mut self) {
        for socket in &mut self.sockets {
            if socket.state == State::Paused {
                socket.state = State::Unfinished;
            }
        }
    }

    fn set(&mut self, key: usize, state: State) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.state = state;
        }
    }

    fn accept(&self, key: usize) -> io::Result<UnixStream> {
        match self.sockets.get(key) {
            Some(socket) => socket.listener.accept().map(|(stream, _)| stream),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Whether this client would take a descriptor that launches need: the lowest free number is
    /// given out, so a high one says that all below are taken.
    fn is_one_too_many(&self, stream: &UnixStream) -> bool {
        let number = u64::try_from(stream.as_raw_fd()).unwrap_or_default();
        number.saturating_add(FDS_FOR_LAUNCHES) >= self.descriptors_max
    }

    fn no_descriptor(&self) -> Failure {
        let reason = "the daemon has no descriptor left for a connection";
        Failure::limit("descriptors", self.descriptors_max, reason)
    }

    fn log(&mut self, text: &str) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            self.logged = Some(Instant::now());
            log::warn!("{text}");
        }
    }
}

impl Server {
    /// Accepts what waits on the sockets.
    pub(super) fn accept_all(&mut self, supervisor: &mut Supervisor) {
        if self.listening.has_more() {
            for key in self.listening.unfinished() {
                self.accept(supervisor, key);
            }
        }
    }

    fn accept(&mut self, supervisor: &mut Supervisor, key: usize) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listening.accept(key) {
                Ok(stream) => self.admit(supervisor, stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.listening.set(key, State::Drained);
                }
                // The client was faster, or a signal came.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    self.listening.log(&format!("cannot accept connections: {}", cause(&error)));
                    if !self.turn_away(key) {
                        self.look_later();
                        return self.listening.set(key, State::Paused);
                    }
                }
            }
        }
        self.listening.set(key, State::Unfinished);
    }

    /// Tells one client that there is no descriptor for it; whether that was possible.
    fn turn_away(&mut self, key: usize) -> bool {
        if self.listening.reserve.take().is_none() {
            self.listening.reserve = reserve();
            return false;
        }
        let accepted = self.listening.accept(key);
        let told = accepted.is_ok();
        if let Ok(stream) = accepted {
            refuse(stream, &self.listening.no_descriptor());
        }
        self.listening.reserve = reserve();
        told
    }

    fn admit(&mut self, supervisor: &mut Supervisor, stream: UnixStream) {
        let peer = match Peer::of(stream.as_fd()) {
            Ok(peer) => peer,
            Err(errno) => {
                let text = format!("a client was refused: who it is: {}", errno.desc());
                self.listening.log(&text);
                return refuse(stream, &Failure::permission_denied());
            }
        };
        let who = format!("uid:{}/pid:{}", peer.uid, peer.pid);
        if !peer.may_ask(self.options.allowed_gid) {
            self.listening.log(&format!("client={who} refused: it may not use this socket"));
            return refuse(stream, &Failure::permission_denied());
        }
        if self.listening.is_one_too_many(&stream) {
            self.listening.log(&format!("client={who} refused: no descriptor is left for it"));
            return refuse(stream, &self.listening.no_descriptor());
        }
        let most = self.options.max_connections;
        if self.connections.len() >= most {
            self.listening.log(&format!("client={who} refused: there are {most} connections"));
            let reason = "close a connection, or start the daemon with --max-connections N";
            return refuse(stream, &Failure::limit("connections", most as u64, reason));
        }
        match watched(supervisor, Channel::of_socket(stream.into())) {
            Ok(wire) => {
                let key = self.add(Connection::new(wire, None, who));
                // At once: it may be gone already, and should take nobody's place.
                self.serve(supervisor, key);
            }
            Err(error) => self.listening.log(&format!("client={who} lost: {}", cause(&error))),
        }
    }
}

/// Sends an error that answers no call, and closes.
fn refuse(stream: UnixStream, failure: &Failure) {
    let mut session = super::session::Session::default();
    session.refuse(failure);
    // It fits the empty buffer of a new connection, and the client finds it there afterwards.
    let _ = Channel::of_socket(stream.into()).write(session.output());
}

fn reserve() -> Option<OwnedFd> {
    File::open("/dev/null").ok().map(OwnedFd::from)
}
