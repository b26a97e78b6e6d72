//! The Varlink server: sockets and descriptors in the supervisor's loop.

use super::calls::{Context, HostCan, Kind, Stream, finish};
use super::connection::{Connection, Pending, Wire};
use super::history::History;
use super::host_calls::HostCalls;
use super::listening::Listening;
use super::logs::Watching;
use super::upgraded;
use crate::reactor::{Ready, Supervisor, WatchId};
use crate::sys::channel::Channel;
use crate::vocabulary::limits::CONNECTIONS_DEFAULT;
use crate::vocabulary::{Answer, Event, EventKind, ExecId, Executed, Reply, Ticket, cause};
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// Answers that come at once are sent at once, so often in one turn.
const ROUNDS: usize = 8;
/// How long an answered Shutdown waits for clients that do not read.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);
/// How often a log is looked at that nothing tells about, and a socket that could not be accepted
/// on.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Connections at once; above it one is closed after an error that says so.
    pub max_connections: usize,
    /// Where more connections can be opened, for those who ask.
    pub socket: Option<String>,
    /// Members of this group may connect, beside root and our own user.
    pub allowed_gid: Option<u32>,
    /// The host answers what [`Server::next_reload`] gives; else Reload is refused as unsupported.
    pub reloads: bool,
    /// The host answers Upgrade by [`Server::answer_upgrade`]; else it is refused as unsupported.
    pub upgrades: bool,
}

impl ServerOptions {
    fn host(&self) -> HostCan {
        HostCan { reload: self.reloads, upgrade: self.upgrades }
    }
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_connections: CONNECTIONS_DEFAULT,
            socket: None,
            allowed_gid: None,
            reloads: false,
            upgrades: false,
        }
    }
}

/// Why a server has nothing to do any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Finished {
    /// A Shutdown was granted, done and answered.
    Shutdown,
    /// The connection over standard input and output has ended, and what it asked was answered.
    EndOfInput,
}

/// Varlink connections of a supervisor, in the supervisor's own loop.
///
/// After each turn of the supervisor comes one [`Server::dispatch`]. Between them the loop waits no
/// longer than [`Server::timeout`].
///
/// ```no_run
/// use ostler::control::{Server, ServerOptions};
/// use ostler::{Options, Supervisor};
/// # fn main() -> std::io::Result<()> {
/// let mut supervisor = Supervisor::new(Options::default())?;
/// let mut server = Server::new(&supervisor, ServerOptions::default());
/// let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
/// server.attach(&mut supervisor, ours.try_clone()?.into(), ours.into(), false)?;
/// let mut events = Vec::new();
/// while server.finished().is_none() {
///     supervisor.turn(server.timeout(), &mut events)?;
///     server.dispatch(&mut supervisor, &events);
///     events.clear();
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    pub(super) options: ServerOptions,
    pub(super) history: History,
    pub(super) connections: Slab<Connection>,
    pub(super) listening: Listening,
    pub(super) watches: HashMap<WatchId, Watched>,
    pub(super) askers: HashMap<Ticket, Asker>,
    /// The connections that carry the streams of commands.
    pub(super) execs: HashMap<ExecId, usize>,
    pub(super) host_calls: HostCalls,
    /// Connections to be served.
    queue: VecDeque<usize>,
    /// Those that stream events.
    pub(super) event_streams: BTreeSet<usize>,
    /// Those that follow a log.
    pub(super) followers: BTreeSet<usize>,
    /// Those that wait for figures.
    pub(super) stats_streams: BTreeSet<usize>,
    pub(super) watching: Option<Watching>,
    /// Those whose queue is full.
    pub(super) full: BTreeSet<usize>,
    /// When followers and listeners are looked at that nothing tells about.
    look_at: Option<Instant>,
    host_replies: VecDeque<(Ticket, Reply)>,
    host_ready: VecDeque<Ready>,
    pub(super) host_exec_ends: VecDeque<Executed>,
    shutdown_done: Option<Instant>,
    pub(super) input_ended: bool,
    /// No call begins.
    pub(super) held: bool,
    /// Somebody has asked for an upgrade since the host last looked.
    pub(super) upgrade_asked: bool,
    /// Where what clients send is read into.
    pub(super) scratch: Vec<u8>,
}

/// What a watched descriptor is.
#[derive(Copy, Clone, Debug)]
pub(super) enum Watched {
    Listener(usize),
    Reader(usize),
    Writer(usize),
    /// A stream of a command.
    Exec(usize, upgraded::Stream),
    Files,
}

/// Who is to be answered.
#[derive(Debug)]
pub(super) struct Asker {
    /// None: the call was oneway, or its asker has left.
    pub(super) connection: Option<usize>,
    pub(super) method: String,
    pub(super) kind: Kind,
}

impl Server {
    /// A server without connections. Its history of events begins now.
    pub fn new(supervisor: &Supervisor, options: ServerOptions) -> Server {
        Server {
            options,
            history: History::new(supervisor.instance().to_owned(), supervisor.sequence()),
            connections: Slab::new(),
            listening: Listening::new(),
            watches: HashMap::new(),
            askers: HashMap::new(),
            execs: HashMap::new(),
            host_calls: HostCalls::default(),
            queue: VecDeque::new(),
            event_streams: BTreeSet::new(),
            followers: BTreeSet::new(),
            stats_streams: BTreeSet::new(),
            watching: None,
            full: BTreeSet::new(),
            look_at: None,
            host_replies: VecDeque::new(),
            host_ready: VecDeque::new(),
            host_exec_ends: VecDeque::new(),
            shutdown_done: None,
            input_ended: false,
            held: false,
            upgrade_asked: false,
            scratch: Vec::new(),
        }
    }

    /// Accepts connections on a listening socket.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub fn listen(
        &mut self,
        supervisor: &mut Supervisor,
        listener: UnixListener,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let watch = supervisor.watch(listener.as_fd())?;
        let key = self.listening.add(listener);
        self.watches.insert(watch, Watched::Listener(key));
        Ok(())
    }

    /// Serves one client on open descriptors: standard input and output, or the two halves of a
    /// socket. Their flags are not changed. With `stdio`, its end is told by
    /// [`Server::finished`].
    ///
    /// # Errors
    /// When a descriptor cannot be watched.
    pub fn attach(
        &mut self,
        supervisor: &mut Supervisor,
        reader: OwnedFd,
        writer: OwnedFd,
        stdio: bool,
    ) -> io::Result<()> {
        let reader = watched(supervisor, Channel::new(reader)?)?;
        let writer = watched(supervisor, Channel::new(writer)?)?;
        let who = if stdio { "stdio" } else { "attached" }.to_owned();
        let mut connection = Connection::new(reader, Some(writer), who);
        connection.stdio = stdio;
        self.add(connection);
        Ok(())
    }

    /// Serves whom the last turn of the supervisor has given reason to: its events, its answers,
    /// its ready descriptors. What is the host's own of these is kept for [`Server::next_reply`]
    /// and [`Server::next_ready`].
    pub fn dispatch(&mut self, supervisor: &mut Supervisor, events: &[Event]) {
        self.take_events(supervisor, events);
        while let Some(ready) = supervisor.next_ready() {
            self.take_ready(ready);
        }
        self.look(supervisor);
        self.wake_stats(supervisor);
        self.take_replies(supervisor);
        self.take_exec_ends(supervisor);
        for _ in 0..ROUNDS {
            for _ in 0..self.queue.len() {
                let Some(key) = self.queue.pop_front() else { break };
                self.serve(supervisor, key);
            }
            // After those who may have left, and make room.
            self.accept_all(supervisor);
            let answered = self.take_replies(supervisor);
            self.take_exec_ends(supervisor);
            if !answered {
                break;
            }
        }
    }

    /// How long the supervisor's turn may wait at most. `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        if !self.queue.is_empty() || self.listening.has_more() {
            return Some(Duration::ZERO);
        }
        let flush = self.shutdown_done.map(|done| done + FLUSH_PATIENCE);
        let at = [flush, self.look_at, self.stats_due()].into_iter().flatten().min()?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// Whether the server is done, and why.
    pub fn finished(&self) -> Option<Finished> {
        if let Some(done) = self.shutdown_done {
            let mut connections = self.connections.iter();
            let flushed = connections.all(|(_, client)| client.session.output().is_empty());
            return (flushed || done.elapsed() >= FLUSH_PATIENCE).then_some(Finished::Shutdown);
        }
        self.input_ended.then_some(Finished::EndOfInput)
    }

    /// Members of this group may connect, beside root and our own user.
    #[cfg(feature = "cli")]
    pub(crate) fn allowed_gid(&self) -> Option<u32> {
        self.options.allowed_gid
    }

    /// The next answer to what the host itself has submitted.
    pub fn next_reply(&mut self) -> Option<(Ticket, Reply)> {
        self.host_replies.pop_front()
    }

    /// The next ready descriptor that the host itself watches.
    pub fn next_ready(&mut self) -> Option<Ready> {
        self.host_ready.pop_front()
    }

    /// Takes in a client and looks at it at once.
    pub(super) fn add(&mut self, connection: Connection) -> usize {
        let watches = [
            (connection.reader.watch, true),
            (connection.writer.as_ref().and_then(|writer| writer.watch), false),
        ];
        let key = self.connections.insert(connection);
        for (watch, reads) in watches {
            let what = if reads { Watched::Reader(key) } else { Watched::Writer(key) };
            watch.map(|watch| self.watches.insert(watch, what));
        }
        self.wake(key);
        key
    }

    /// Puts a connection in the list of those to be served.
    pub(super) fn wake(&mut self, key: usize) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.queued
        {
            connection.queued = true;
            self.queue.push_back(key);
        }
    }

    pub(super) fn parts(&mut self) -> Parts<'_> {
        Parts {
            history: &self.history,
            socket: self.options.socket.as_deref(),
            host: self.options.host(),
            connections: &mut self.connections,
            watching: self.watching.as_mut(),
        }
    }

    fn take_events(&mut self, supervisor: &Supervisor, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        for event in events {
            self.history.push(event, supervisor.cgroup_of(&event.status));
            if matches!(event.kind, EventKind::Finished | EventKind::Removed) {
                self.wake_followers(Some(event.status.identity.number));
            }
        }
        for key in self.event_streams.clone() {
            self.wake(key);
        }
    }

    /// Has the logs of this launch looked at, or those that nothing tells about.
    fn wake_followers(&mut self, number: Option<u64>) {
        for key in self.followers.clone() {
            let Some(connection) = self.connections.get(key) else { continue };
            let Pending::Streams(Stream::Logs(log)) = &connection.pending else { continue };
            if number.map_or(log.needs_looking(), |number| log.number() == number) {
                self.wake(key);
            }
        }
    }

    fn take_ready(&mut self, ready: Ready) {
        let Some(&watched) = self.watches.get(&ready.id) else {
            self.host_ready.push_back(ready);
            return;
        };
        match watched {
            Watched::Listener(key) => self.listening.ring(key),
            Watched::Reader(key) | Watched::Writer(key) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    let wire = match (&watched, &mut connection.writer) {
                        (Watched::Writer(_), Some(writer)) => writer,
                        _ => &mut connection.reader,
                    };
                    wire.readable |= ready.readable;
                    wire.writable |= ready.writable;
                }
                self.wake(key);
            }
            Watched::Exec(key, stream) => {
                self.exec_ready(key, stream, (ready.readable, ready.writable));
            }
            Watched::Files => {
                for key in self.watching.as_ref().map(Watching::changed).unwrap_or_default() {
                    self.wake(key);
                }
            }
        }
    }

    /// Looks at what nothing tells about, when it is time.
    fn look(&mut self, supervisor: &mut Supervisor) {
        if self.look_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.look_at = None;
        self.wake_followers(None);
        self.listening.retry();
        for key in std::mem::take(&mut self.full) {
            let Some(connection) = self.connections.get(key) else { continue };
            if connection.is_stalled() {
                log::warn!("client={} dropped: it does not read its answers", connection.who);
                self.remove(supervisor, key);
            } else if connection.stalled.is_some() {
                self.full.insert(key);
                self.look_later();
            }
        }
    }

    /// Has [`Server::look`] look again after a while.
    pub(super) fn look_later(&mut self) {
        self.look_at.get_or_insert_with(|| Instant::now() + LOOK_INTERVAL);
    }

    /// Hands out the supervisor's answers; whether there was any.
    fn take_replies(&mut self, supervisor: &mut Supervisor) -> bool {
        let mut any = false;
        while let Some((ticket, reply)) = supervisor.next_reply() {
            any = true;
            let Some(asker) = self.askers.remove(&ticket) else {
                self.host_replies.push_back((ticket, reply));
                continue;
            };
            if asker.kind == Kind::Shutdown && reply.is_ok() {
                self.shutdown_done = Some(Instant::now());
            }
            let connection = asker.connection.and_then(|key| self.connections.get_mut(key));
            match (connection, asker.connection) {
                (Some(connection), Some(key)) => {
                    connection.pending = Pending::None;
                    let history = &self.history;
                    let (socket, host) = (None, HostCan::default());
                    let context = Context { supervisor, history, socket, stdio: false, host };
                    finish(&reply, &mut connection.session, &context);
                    if let Ok(Answer::ExecStarted { exec, .. }) = reply {
                        self.upgrade(supervisor, key, exec);
                    }
                    self.wake(key);
                }
                _ => {
                    if let Err(error) = &reply {
                        log::warn!("method={} failed, nobody waits for it: {error}", asker.method);
                    }
                }
            }
        }
        any
    }

    /// Remembers who is to be answered.
    pub(super) fn asked(
        &mut self,
        ticket: Ticket,
        connection: Option<usize>,
        method: String,
        kind: Kind,
    ) {
        self.askers.insert(ticket, Asker { connection, method, kind });
    }

    /// Remembers that a connection streams, so that what it waits for wakes it.
    pub(super) fn streams(&mut self, supervisor: &mut Supervisor, key: usize, stream: &Stream) {
        match stream {
            Stream::Events(_) => drop(self.event_streams.insert(key)),
            Stream::List(_) => {}
            Stream::Stats(_) => drop(self.stats_streams.insert(key)),
            Stream::Logs(_) => {
                self.followers.insert(key);
                if self.watching.is_none() {
                    self.watching = self.watch_files(supervisor);
                }
            }
        }
    }

    fn watch_files(&mut self, supervisor: &mut Supervisor) -> Option<Watching> {
        let mut begin = || -> io::Result<_> {
            let watching = Watching::new()?;
            let watch = supervisor.watch(watching.as_fd())?;
            Ok((watching, watch))
        };
        match begin() {
            Ok((watching, watch)) => {
                self.watches.insert(watch, Watched::Files);
                Some(watching)
            }
            Err(error) => {
                log::warn!(
                    "cannot watch files, looks at followed logs each second: {}",
                    cause(&error)
                );
                None
            }
        }
    }
}

/// What serving one connection needs of the server.
pub(super) struct Parts<'a> {
    pub(super) history: &'a History,
    pub(super) socket: Option<&'a str>,
    pub(super) host: HostCan,
    pub(super) connections: &'a mut Slab<Connection>,
    pub(super) watching: Option<&'a mut Watching>,
}

/// Watches a descriptor; a regular file cannot be and need not be.
pub(super) fn watched(supervisor: &mut Supervisor, channel: Channel) -> io::Result<Wire> {
    match supervisor.watch(channel.as_fd()) {
        Ok(watch) => Ok(Wire::new(channel, Some(watch))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(Wire::new(channel, None))
        }
        Err(error) => Err(error),
    }
}
