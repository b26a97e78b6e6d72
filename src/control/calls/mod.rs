//! What each method does.

mod batch;
mod events;
mod exec;
#[cfg(fuzzing)]
pub mod fuzzing;
mod list;
mod logs;
mod plain;
mod request;
mod service;
mod stats;

pub(super) use events::EventStream;
pub(super) use list::ListStream;
#[cfg(feature = "cli")]
pub(super) use logs::LogStanding;
pub(super) use logs::LogStream;
#[cfg(feature = "cli")]
pub(super) use stats::StatsStanding;
pub(super) use stats::StatsStream;

use super::failure::Failure;
use super::history::History;
use super::message::Call;
use super::session::Session;
use super::wire::{Fields, ResourcesShape, StatusShape};
use crate::reactor::Supervisor;
use crate::vocabulary::{Answer, Reply, Request, RequestError, Status, Ticket};
use request::Decoded;
use serde::Serialize;
use serde_json::json;

/// The interface of this service in Varlink's own language.
pub(crate) const INTERFACE: &str = include_str!("../org.ostler.varlink");

/// What a call needs of its surroundings.
pub(super) struct Context<'a> {
    pub(super) supervisor: &'a mut Supervisor,
    pub(super) history: &'a History,
    /// Where more connections can be opened.
    pub(super) socket: Option<&'a str>,
    /// The connection is standard input and output.
    pub(super) stdio: bool,
    /// What the host does when it is asked.
    pub(super) host: HostCan,
}

/// What the host of a server does when it is asked.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct HostCan {
    /// It reads its task file again.
    pub(super) reload: bool,
    /// It goes on with another program.
    pub(super) upgrade: bool,
}

/// How far a call has come.
pub(super) enum Progress {
    /// It is answered.
    Done,
    /// It is answered when the supervisor answers this.
    Asked(Ticket, Kind),
    /// It is answered by the host.
    Reload { dry_run: bool },
    /// It is answered by the next program, or by the host.
    Upgrade,
    /// It is answered piece by piece.
    Streams(Stream),
}

/// What kind of request was submitted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It changes nothing: nobody is left to care when its asker leaves.
    Wait,
    Shutdown,
    /// A command in a task: it is killed when its asker leaves.
    Exec,
    Other,
}

/// A call that is answered piece by piece.
#[derive(Debug)]
pub(super) enum Stream {
    Events(EventStream),
    List(ListStream),
    Logs(Box<LogStream>),
    Stats(StatsStream),
}

/// How a stream stands after a piece.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// It waits for something to happen.
    Idle,
    /// It waits for the client to read.
    Full,
    /// There is more at once.
    More,
    /// It has ended.
    Over,
}

#[derive(Serialize)]
struct StatusReply<'a> {
    status: StatusShape<'a>,
}

#[derive(Serialize)]
struct ResourcesReply<'a> {
    resources: ResourcesShape<'a>,
}

impl Context<'_> {
    /// A status as the protocol has it.
    pub(super) fn shape<'s>(&self, status: &'s Status) -> StatusShape<'s> {
        let id = self.supervisor.launch_id(&status.identity);
        StatusShape::of(status, id, self.supervisor.cgroup_of(status))
    }

    pub(super) fn failure(&self, error: &RequestError) -> Failure {
        Failure::of_request(error, |status| self.shape(status))
    }

    /// The task of this name.
    pub(super) fn status(&self, name: &str) -> Result<Status, Failure> {
        let task = self.supervisor.find(name);
        task.and_then(|task| self.supervisor.status(task))
            .ok_or_else(|| Failure::no_such_task(name))
    }

    fn ask(&mut self, request: Request, kind: Kind) -> Progress {
        Progress::Asked(self.supervisor.submit(request), kind)
    }
}

/// Begins a call. What is answered at once is written to `session`.
pub(super) fn begin(
    call: Call,
    session: &mut Session,
    context: &mut Context<'_>,
) -> Result<Progress, Failure> {
    let Some((interface, method)) = call.method.rsplit_once('.') else {
        return Err(Failure::invalid_parameter("method"));
    };
    if call.upgrade && call.method != "org.ostler.ExecStream" {
        return Err(Failure::invalid_parameter("upgrade"));
    }
    let fields = Fields::of("", call.parameters)?;
    match interface {
        "org.varlink.service" => service::begin(method, fields, session),
        "org.ostler" => {
            let flags = Flags { more: call.more, upgrade: call.upgrade, oneway: call.oneway };
            begin_ours(method, flags, fields, session, context)
        }
        _ => {
            let parameters = json!({ "interface": interface });
            Err(Failure::new("org.varlink.service.InterfaceNotFound", parameters))
        }
    }
}

#[derive(Copy, Clone)]
struct Flags {
    more: bool,
    upgrade: bool,
    oneway: bool,
}

fn begin_ours(
    method: &str,
    flags: Flags,
    fields: Fields,
    session: &mut Session,
    context: &mut Context<'_>,
) -> Result<Progress, Failure> {
    match method {
        "List" => ListStream::begin(fields, flags.more, context)
            .map(|stream| Progress::Streams(Stream::List(stream))),
        "Events" => EventStream::begin(fields, flags.more, context)
            .map(|stream| Progress::Streams(Stream::Events(stream))),
        "Logs" => LogStream::begin(fields, flags.more, context)
            .map(|stream| Progress::Streams(Stream::Logs(Box::new(stream)))),
        "Stats" => StatsStream::begin(fields, flags.more, context)
            .map(|stream| Progress::Streams(Stream::Stats(stream))),
        "Inspect" => plain::inspect(fields, session, context),
        "Version" => plain::version(fields, session, context),
        "Reload" => plain::reload(fields, context),
        "Upgrade" => plain::upgrade(fields, context),
        "DaemonStats" => plain::daemon_stats(fields, session, context),
        "Exec" => exec::collected(fields, context),
        "ExecStream" => {
            let stdio = context.stdio;
            let upgrade = exec::Upgrade { asked: flags.upgrade, oneway: flags.oneway, stdio };
            exec::streamed(fields, upgrade, context)
        }
        _ => match request::decode(method, fields)? {
            Decoded::Request(request, kind) => Ok(context.ask(request, kind)),
            Decoded::Other => Err(service::method_not_found("org.ostler", method)),
        },
    }
}

/// Answers a call that was submitted.
pub(super) fn finish(reply: &Reply, session: &mut Session, context: &Context<'_>) {
    match reply {
        Ok(Answer::Status(status)) => {
            session.reply(&StatusReply { status: context.shape(status) });
        }
        Ok(Answer::Resources(resources)) => {
            session.reply(&ResourcesReply { resources: ResourcesShape::of(resources) });
        }
        Ok(Answer::Executed(executed)) => session.reply(&exec::reply(executed)),
        Ok(Answer::ExecStarted { pid, .. }) => session.reply(&json!({ "pid": pid.number() })),
        Ok(Answer::Done) => session.reply(&json!({})),
        Err(error) => session.fail(&context.failure(error)),
    }
}

impl Stream {
    /// Writes the next piece, if the client has taken the ones before.
    pub(super) fn step(&mut self, session: &mut Session, context: &mut Context<'_>) -> Step {
        match self {
            Stream::Events(stream) => stream.step(session, context),
            Stream::List(stream) => stream.step(session, context),
            Stream::Logs(stream) => stream.step(session, context),
            Stream::Stats(stream) => stream.step(session, context),
        }
    }
}
