//! The state of a daemon as one document, for another program of the same process that goes on with
//! it: its tasks as a journal has them, the last events, and what the reactor, the server and the
//! host have besides. docs/upgrade.md describes it.
//!
//! Fields are only ever added, and a reader passes over those that it does not know; a line of a
//! kind that it does not know it refuses, since there is something that it would lose.

mod connections;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod reactor;
mod streams;
mod upgraded;

use super::ServerOptions;
use super::history::History;
use super::journal::{self, Transcript};
use super::server::Server;
use crate::reactor::{
    HandedAsking, HandedHeld, HandedInit, HandedOutput, HandedRun, HandedSink, HandedSource,
    HandedStream, HandedSupervisor,
};
use crate::reactor::{HandedOver, Kept, Options, Supervisor, TakenExecs};
use crate::sys::handed_descriptors::HandedDescriptors;
pub(super) use connections::{HandedAsker, HandedConnection, HandedServer};
pub(crate) use reactor::base64_text;
use reactor::{
    AskingDef, ExecLine, HeldDef, InitDef, OutputDef, RunDef, SinkDef, SourceDef, StreamDef,
    SupervisorDef,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::os::fd::RawFd;

/// Raised where an older reader would go wrong.
const FORMAT: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
struct Header {
    format: u32,
    /// Of the program that wrote it, for people.
    version: String,
    /// Lengths of what follows this line, before the other lines.
    journal_bytes: usize,
    history_bytes: usize,
    /// All that stay open for whoever goes on.
    descriptors: Vec<RawFd>,
}

/// What a line says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Handover(Header),
    Supervisor(#[serde(with = "SupervisorDef")] HandedSupervisor),
    Run(#[serde(with = "RunDef")] HandedRun),
    Init(#[serde(with = "InitDef")] HandedInit),
    Sink(#[serde(with = "SinkDef")] HandedSink),
    Output(#[serde(with = "OutputDef")] HandedOutput),
    Stream(#[serde(with = "StreamDef")] HandedStream),
    Source(#[serde(with = "SourceDef")] HandedSource),
    Held(#[serde(with = "HeldDef")] HandedHeld),
    Asking(#[serde(with = "AskingDef")] HandedAsking),
    Exec(Box<ExecLine>),
    Server(HandedServer),
    Asker(HandedAsker),
    Connection(Box<HandedConnection>),
    Host(Value),
}

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    /// What it says.
    pub(crate) bytes: Vec<u8>,
    /// The descriptors that it names.
    pub(crate) descriptors: Vec<RawFd>,
}

/// Writes down how everything stands. `host` is what the host of the server wants to be told, with
/// the descriptors that it names.
///
/// # Errors
/// What cannot be written down: a path that is not UTF-8.
pub(crate) fn write(
    supervisor: &Supervisor,
    server: &Server,
    host: (Value, Vec<RawFd>),
) -> Result<Document, String> {
    let transcript = Transcript::new(supervisor.instance().to_owned());
    let mut transcript = transcript.map_err(|error| error.to_string())?;
    supervisor.describe_tasks(&mut transcript);
    let journal = transcript.into_bytes();
    let mut history = Vec::new();
    server.history.write(&mut history);
    let handed = supervisor.hand_over();
    let mut descriptors = handed.descriptors();
    let mut lines = Vec::new();
    let mut add = |line: &Line| add_line(&mut lines, line);
    add_reactor(handed, &mut add)?;
    let (handed, askers, connections) = server.hand_over(supervisor);
    descriptors.extend(handed.descriptors());
    descriptors.extend(connections.iter().flat_map(HandedConnection::descriptors));
    add(&Line::Server(handed))?;
    askers.into_iter().try_for_each(|asker| add(&Line::Asker(asker)))?;
    connections.into_iter().try_for_each(|c| add(&Line::Connection(Box::new(c))))?;
    let (host, of_host) = host;
    descriptors.extend(of_host);
    // One that is named twice is there once.
    descriptors.sort_unstable();
    descriptors.dedup();
    add(&Line::Host(host))?;
    let header = Header {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        journal_bytes: journal.len(),
        history_bytes: history.len(),
        descriptors: descriptors.clone(),
    };
    let mut bytes = Vec::with_capacity(journal.len() + history.len() + lines.len() + 256);
    add_line(&mut bytes, &Line::Handover(header))?;
    bytes.extend_from_slice(&journal);
    bytes.extend_from_slice(&history);
    bytes.extend_from_slice(&lines);
    Ok(Document { bytes, descriptors })
}

fn add_reactor(
    handed: HandedOver,
    add: &mut impl FnMut(&Line) -> Result<(), String>,
) -> Result<(), String> {
    let HandedOver {
        supervisor,
        runs,
        inits,
        sinks,
        outputs,
        streams,
        sources,
        held,
        asking,
        execs,
    } = handed;
    add(&Line::Supervisor(supervisor))?;
    runs.into_iter().try_for_each(|run| add(&Line::Run(run)))?;
    inits.into_iter().try_for_each(|init| add(&Line::Init(init)))?;
    sinks.into_iter().try_for_each(|sink| add(&Line::Sink(sink)))?;
    outputs.into_iter().try_for_each(|output| add(&Line::Output(output)))?;
    streams.into_iter().try_for_each(|stream| add(&Line::Stream(stream)))?;
    sources.into_iter().try_for_each(|source| add(&Line::Source(source)))?;
    held.into_iter().try_for_each(|held| add(&Line::Held(held)))?;
    asking.into_iter().try_for_each(|asking| add(&Line::Asking(asking)))?;
    execs.into_iter().try_for_each(|exec| add(&Line::Exec(Box::new(exec.into()))))
}

fn add_line(lines: &mut Vec<u8>, line: &Line) -> Result<(), String> {
    serde_json::to_writer(&mut *lines, line).map_err(|error| error.to_string())?;
    lines.push(b'\n');
    Ok(())
}

/// What a document says.
#[derive(Debug)]
pub(crate) struct Handed {
    /// Of the program that wrote it.
    pub(crate) version: String,
    /// All that stay open for whoever goes on.
    pub(crate) descriptors: Vec<RawFd>,
    /// What the host had to say.
    pub(crate) host: Value,
    kept: Kept,
    history: Vec<u8>,
    reactor: HandedOver,
    server: HandedServer,
    askers: Vec<HandedAsker>,
    connections: Vec<HandedConnection>,
}

/// Reads a document.
///
/// # Errors
/// What of it is not understood.
pub(crate) fn read(bytes: &[u8]) -> Result<Handed, String> {
    let end = bytes.iter().position(|&byte| byte == b'\n').ok_or("it is empty")?;
    let (first, rest) = bytes.split_at_checked(end + 1).ok_or("it is empty")?;
    let header = match serde_json::from_slice(first) {
        Ok(Line::Handover(header)) => header,
        Ok(_) => return Err("it does not begin as it should".to_owned()),
        Err(error) => return Err(format!("its first line is not understood: {error}")),
    };
    if header.format > FORMAT {
        return Err(format!(
            "ostler {} has written it in format {}, and this one, {}, knows formats up to {FORMAT}",
            header.version,
            header.format,
            env!("CARGO_PKG_VERSION")
        ));
    }
    let cut = "it has been cut off";
    let (journal, rest) = rest.split_at_checked(header.journal_bytes).ok_or(cut)?;
    let (history, lines) = rest.split_at_checked(header.history_bytes).ok_or(cut)?;
    let mut handed = Handed {
        version: header.version,
        descriptors: header.descriptors,
        host: Value::Null,
        kept: Transcript::read(journal).map_err(|why| format!("its tasks: {why}"))?,
        history: history.to_vec(),
        reactor: HandedOver::default(),
        server: HandedServer::default(),
        askers: Vec::new(),
        connections: Vec::new(),
    };
    for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let line = serde_json::from_slice(line)
            .map_err(|error| format!("a line of it is not understood: {error}"))?;
        handed.take(line);
    }
    if handed.host == Value::Null {
        return Err(cut.to_owned());
    }
    Ok(handed)
}

/// What whoever goes on needs of its surroundings.
pub(super) struct Taking<'a> {
    supervisor: &'a mut Supervisor,
    execs: &'a TakenExecs,
    descriptors: &'a mut HandedDescriptors,
}

impl Handed {
    fn take(&mut self, line: Line) {
        let reactor = &mut self.reactor;
        match line {
            // There is one, the first.
            Line::Handover(_) => {}
            Line::Supervisor(supervisor) => reactor.supervisor = supervisor,
            Line::Run(run) => reactor.runs.push(run),
            Line::Init(init) => reactor.inits.push(init),
            Line::Sink(sink) => reactor.sinks.push(sink),
            Line::Output(output) => reactor.outputs.push(output),
            Line::Stream(stream) => reactor.streams.push(stream),
            Line::Source(source) => reactor.sources.push(source),
            Line::Held(held) => reactor.held.push(held),
            Line::Asking(asking) => reactor.asking.push(asking),
            Line::Exec(exec) => reactor.execs.extend(exec.exec()),
            Line::Server(server) => self.server = server,
            Line::Asker(asker) => self.askers.push(asker),
            Line::Connection(connection) => self.connections.push(*connection),
            Line::Host(host) => self.host = host,
        }
    }

    /// Goes on with the supervisor and its server.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn take_over(
        self,
        options: Options,
        server_options: ServerOptions,
        descriptors: &mut HandedDescriptors,
    ) -> io::Result<(Supervisor, Server)> {
        let Handed { kept, history, reactor, server, askers, connections, .. } = self;
        let lock = reactor.supervisor.lock.and_then(|number| descriptors.take(number));
        let (mut options, instance) = (options, kept.instance.clone());
        let store = match (&options.state_dir, lock) {
            (Some(path), Some(lock)) => {
                let path = std::path::absolute(path)?;
                let store = journal::go_on(&path, lock, instance.clone())?;
                options.state_dir = Some(path);
                Some(store)
            }
            _ => None,
        };
        let sequence = kept.counters.sequence;
        let (mut supervisor, execs) =
            Supervisor::take_over(options, store, kept, reactor, descriptors)?;
        let history = History::of_bytes(instance, sequence, &history);
        let clients = (server, askers, connections);
        let mut taking = Taking { supervisor: &mut supervisor, execs: &execs, descriptors };
        let server = Server::take_over(&mut taking, server_options, history, clients)?;
        Ok((supervisor, server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::TaskSpec;
    use proptest::prelude::*;
    use serde_json::json;
    use std::os::unix::net::UnixStream;
    use std::sync::OnceLock;
    use std::time::Duration;

    /// One task, and a client with a stream of events and half of another call.
    fn document() -> &'static [u8] {
        static DOCUMENT: OnceLock<Vec<u8>> = OnceLock::new();
        DOCUMENT.get_or_init(|| {
            let mut supervisor = Supervisor::new(Options::default()).unwrap();
            let mut server = Server::new(&supervisor, ServerOptions::default());
            let (ours, theirs) = UnixStream::pair().unwrap();
            let writer = ours.try_clone().unwrap();
            server.attach(&mut supervisor, ours.into(), writer.into(), false).unwrap();
            let call = b"{\"method\":\"org.ostler.Events\",\"more\":true}\0{\"method\":";
            std::io::Write::write_all(&mut &theirs, call).unwrap();
            let (name, args) = (Some("t".to_owned()), vec!["60".to_owned()]);
            let task = TaskSpec { name, args, ..TaskSpec::new("/bin/sleep") };
            let task = supervisor.launch(task).unwrap();
            let mut events = Vec::new();
            for _ in 0..3 {
                supervisor.turn(Some(Duration::ZERO), &mut events).unwrap();
                server.dispatch(&mut supervisor, &events);
                events.clear();
            }
            let document = write(&supervisor, &server, (json!({"x": 1}), vec![7])).unwrap();
            assert!(document.descriptors.contains(&7));
            let _ = supervisor.remove(task, true);
            while supervisor.status(task).is_some() {
                supervisor.turn(Some(Duration::from_millis(10)), &mut events).unwrap();
            }
            document.bytes
        })
    }

    #[test]
    fn what_is_written_is_read() {
        let handed = read(document()).unwrap();
        assert_eq!(handed.host, json!({"x": 1}));
        assert_eq!(handed.version, env!("CARGO_PKG_VERSION"));
        assert!(handed.descriptors.contains(&7));
        assert_eq!(handed.kept.tasks.len(), 1);
        assert_eq!(handed.reactor.runs.len(), 1);
        assert_eq!(handed.connections.len(), 1);
        let history = History::of_bytes("i".into(), handed.kept.counters.sequence, &handed.history);
        assert_eq!(history.check(0, history.last()), Ok(()));
    }

    #[test]
    fn one_that_was_cut_off_is_refused_wherever_that_is() {
        let whole = document();
        for end in 0..whole.len() - 1 {
            assert!(read(&whole[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn what_is_new_in_a_line_is_passed_over_and_a_new_kind_of_line_is_not() {
        let whole = String::from_utf8_lossy(document()).into_owned();
        let (_, host) = whole.rsplit_once("{\"host\"").unwrap();
        let begun = &document()[..document().len() - host.len() - "{\"host\"".len()];
        let with = |line: &str| {
            let mut bytes = begun.to_vec();
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(b"\n{\"host\":1}\n");
            read(&bytes)
        };
        let known = "{\"init\":{\"pid\":5,\"pidfd\":6,\"colour\":\"red\"}}";
        assert_eq!(with(known).unwrap().reactor.inits.len(), 1);
        let why = with("{\"colour\":{}}").unwrap_err();
        assert!(why.contains("a line of it is not understood"), "{why}");
    }

    proptest! {
        #[test]
        fn a_document_may_say_anything(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = document().to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let _ = read(&bytes);
        }
    }
}
