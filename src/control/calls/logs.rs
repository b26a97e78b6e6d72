//! Logs: the last lines of a stream that is kept in a file, and what follows.

use super::{Context, Step};
use crate::control::failure::Failure;
use crate::control::logs::{LogFiles, LogReader, Watched, Watching, last_lines};
use crate::control::session::Session;
use crate::control::wire::Fields;
use crate::vocabulary::limits::{LOG_TAIL_BYTES, STREAM_QUEUE_BYTES};
use crate::vocabulary::{LaunchNumber, Sink, StateName, StreamKind, TaskId, cause};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::io;

/// Lines, where the call does not say.
const LINES_DEFAULT: u64 = 10;
/// Read of a growing file in one step.
const STEP_BYTES: usize = 64 << 10;

/// A log that is being sent.
#[derive(Debug)]
pub(crate) struct LogStream {
    task: TaskId,
    /// The launch: what comes after it under the same name is not followed.
    number: LaunchNumber,
    path: String,
    /// The last lines, until they were sent.
    tail: Option<Vec<u8>>,
    reader: LogReader,
    more: bool,
    watched: Watched,
    /// Nothing tells when there is more: to be looked at now and then.
    unwatched: bool,
    waits_for_output: bool,
}

/// Where a log that is being sent stands, for another program to go on.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct LogStanding {
    pub(crate) task: TaskId,
    pub(crate) number: LaunchNumber,
    pub(crate) path: String,
    pub(crate) tail: Option<Vec<u8>>,
    pub(crate) reader: LogReader,
    pub(crate) more: bool,
}

#[cfg(feature = "cli")]
impl LogStream {
    /// The launch, the last lines that were not sent, and whether more follows.
    pub(crate) fn standing(&self) -> (LaunchNumber, Option<&[u8]>, &LogReader, bool) {
        (self.number, self.tail.as_deref(), &self.reader, self.more)
    }

    pub(crate) fn go_on(standing: LogStanding) -> LogStream {
        let LogStanding { task, number, path, tail, reader, more } = standing;
        let watched = Watched::default();
        let (unwatched, waits_for_output) = (false, false);
        LogStream { task, number, path, tail, reader, more, watched, unwatched, waits_for_output }
    }
}

impl LogStream {
    pub(super) fn begin(
        mut fields: Fields,
        more: bool,
        context: &Context<'_>,
    ) -> Result<LogStream, Failure> {
        const STREAMS: [(&str, StreamKind); 2] =
            [("stdout", StreamKind::Stdout), ("stderr", StreamKind::Stderr)];
        let name = fields.required_string("name")?;
        let stream = fields.required("stream", |fields, name| fields.one_of(name, &STREAMS))?;
        let lines = fields.number("lines")?.unwrap_or(LINES_DEFAULT);
        fields.finish()?;
        let task = context.supervisor.find(&name).ok_or_else(|| Failure::no_such_task(&name))?;
        let status = context.status(&name)?;
        let sink = status.identity.sink(stream);
        let Sink::File(file) = sink else {
            let parameters = json!({
                "name": name, "stream": stream.as_str(), "kind": sink.kind(),
            });
            return Err(Failure::new("org.ostler.NotKept", parameters));
        };
        let files = LogFiles::of(file, status.identity.task_dir());
        let mut tail = last_lines(&files, lines, LOG_TAIL_BYTES)
            .map_err(|error| unreadable(stream.as_str(), &file.path, &error))?;
        Ok(LogStream {
            task,
            number: status.identity.number,
            path: file.path.clone(),
            tail: Some(std::mem::take(&mut tail.data)),
            reader: LogReader::behind(files, tail),
            more,
            watched: Watched::default(),
            unwatched: false,
            waits_for_output: false,
        })
    }

    /// The launch whose log it is.
    pub(crate) fn number(&self) -> LaunchNumber {
        self.number
    }

    /// Nothing tells when there is more.
    pub(crate) fn needs_looking(&self) -> bool {
        self.unwatched || self.waits_for_output
    }

    pub(super) fn step(&mut self, session: &mut Session, context: &Context<'_>) -> Step {
        if session.output().len() > STREAM_QUEUE_BYTES {
            return Step::Full;
        }
        if let Some(tail) = self.tail.take() {
            send(session, &tail, self.more);
            return if self.more { Step::More } else { Step::Over };
        }
        // Asked before the file is read: what was written before the end is read then.
        let ended = self.has_ended(context);
        let mut buffer = vec![0; STEP_BYTES];
        match self.reader.read(&mut buffer) {
            Err(error) => {
                session.fail(&unreadable("stream", &self.path, &error));
                Step::Over
            }
            Ok(0) if ended => {
                send(session, &[], false);
                Step::Over
            }
            Ok(0) => Step::Idle,
            Ok(read) => {
                send(session, buffer.get(..read).unwrap_or_default(), true);
                Step::More
            }
        }
    }

    /// The task has exited for good, and all it wrote is in the file.
    fn has_ended(&mut self, context: &Context<'_>) -> bool {
        let status = context.supervisor.status(self.task);
        let exited = status.as_ref().is_none_or(|status| status.state == StateName::Exited);
        let pending = status.is_some_and(|status| status.output_pending);
        self.waits_for_output = exited && pending;
        exited && !pending
    }

    /// Watches what it reads, if that is not done yet; whether it is new, so that it has to look
    /// once more.
    pub(crate) fn watch(&mut self, watching: Option<&mut Watching>, follower: usize) -> bool {
        if !Watching::is_outdated(&self.watched, &self.reader) {
            return false;
        }
        let result = match watching {
            Some(watching) => watching.set(&mut self.watched, follower, &self.reader),
            None => Err(nix::errno::Errno::EMFILE),
        };
        if let Err(errno) = result
            && !self.unwatched
        {
            log::info!("cannot watch {:?}, looks now and then: {}", self.path, errno.desc());
        }
        self.unwatched = result.is_err();
        result.is_ok()
    }

    /// Ends what [`LogStream::watch`] began.
    pub(crate) fn unwatch(&mut self, watching: Option<&mut Watching>, follower: usize) {
        if let Some(watching) = watching {
            watching.forget(&mut self.watched, follower);
        }
    }
}

fn send(session: &mut Session, data: &[u8], continues: bool) {
    let mut parameters = b"{\"data_base64\":\"".to_vec();
    parameters.extend_from_slice(STANDARD.encode(data).as_bytes());
    parameters.extend_from_slice(b"\"}");
    session.reply_json(&parameters, continues);
}

fn unreadable(field: &str, path: &str, error: &io::Error) -> Failure {
    Failure::not_permitted(field, &format!("cannot read {path:?}: {}", cause(error)))
}
