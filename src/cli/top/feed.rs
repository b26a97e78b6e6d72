//! What the daemon is asked, and where its answers go.

use super::connection::Connection;
use super::model::{Action, Effect, Model, Stream, Verb};
use super::wire::{EventsReply, ListReply, LogsReply, StatsReply, Status, StatusReply, read};
use crate::cli::client::kept_streams;
use crate::cli::failure::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Actions that are under way at once.
const ACTIONS_MAX: usize = 16;
/// Lines of output to begin with, of each stream.
const LOG_LINES: u32 = 200;

/// The connections to the daemon. A call that waits holds up its connection, so that each has one
/// of its own.
#[derive(Debug)]
pub(super) struct Feed {
    socket: PathBuf,
    links: Vec<Link>,
    /// How often figures are wanted, until they are asked for.
    interval_ms: Option<u64>,
}

#[derive(Debug)]
struct Link {
    purpose: Purpose,
    connection: Connection,
}

/// What a connection is for.
#[derive(Debug)]
enum Purpose {
    /// All tasks; these have come.
    List(Vec<Status>),
    /// What happens, from the list on.
    Events,
    Stats,
    /// What events do not tell of a task in the table.
    Completion,
    /// All about the task that is looked at.
    Inspection,
    /// What has happened to it.
    PastEvents(String),
    Output(Stream),
    Action(Action),
}

impl Purpose {
    /// Whether it is for the task that is looked at.
    fn is_of_detail(&self) -> bool {
        matches!(self, Purpose::Inspection | Purpose::PastEvents(_) | Purpose::Output(_))
    }
}

/// What becomes of a connection after an answer.
enum Next {
    /// More answers come.
    Wait,
    /// Nothing more is wanted of it.
    Close,
    /// It is asked something else.
    Ask(Purpose, &'static str, Value),
}

impl Feed {
    /// Begins to ask for all tasks and their figures, each so often.
    pub(super) fn open(socket: PathBuf, interval: Duration) -> Result<Feed, Failure> {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let mut feed = Feed { socket, links: Vec::new(), interval_ms: Some(interval) };
        feed.ask(Purpose::List(Vec::new()), "List", &json!({}))?;
        Ok(feed)
    }

    /// The connections, in the order of the answers to [`Feed::receive`].
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.iter().map(|link| link.connection.as_fd())
    }

    /// Takes in what has come on those connections that are ready. An error is the end of it all.
    pub(super) fn receive(
        &mut self,
        ready: &[bool],
        model: &mut Model,
    ) -> Result<Vec<Effect>, Failure> {
        let mut effects = Vec::new();
        let links = std::mem::take(&mut self.links);
        for (index, mut link) in links.into_iter().enumerate() {
            let is_ready = ready.get(index).copied().unwrap_or(false);
            if !is_ready || self.advance(&mut link, model, &mut effects)? {
                self.links.push(link);
            }
        }
        Ok(effects)
    }

    /// Whether the connection is still needed.
    fn advance(
        &mut self,
        link: &mut Link,
        model: &mut Model,
        effects: &mut Vec<Effect>,
    ) -> Result<bool, Failure> {
        let open = match link.connection.receive() {
            Ok(open) => open,
            Err(failure) => return give_up(&mut link.purpose, failure, model).map(|_| false),
        };
        while let Some(message) = link.connection.next_message() {
            let next = match take(&mut link.purpose, message, model, effects) {
                Ok(next) => next,
                Err(failure) => give_up(&mut link.purpose, failure, model)?,
            };
            match next {
                Next::Wait => {}
                Next::Close => {
                    if let Purpose::Inspection = link.purpose {
                        self.follow_output(model);
                    }
                    return Ok(false);
                }
                Next::Ask(purpose, method, parameters) => {
                    link.purpose = purpose;
                    link.connection.send(method, &parameters)?;
                    self.begin_figures(model);
                }
            }
        }
        if !open {
            let failure = Failure::Other("the daemon closed the connection".to_owned());
            give_up(&mut link.purpose, failure, model)?;
        }
        Ok(open)
    }

    /// Asks for the figures, once all tasks are known: those of others would be lost.
    fn begin_figures(&mut self, model: &mut Model) {
        if model.listed
            && let Some(interval) = self.interval_ms.take()
        {
            self.ask_or_tell(Purpose::Stats, "Stats", &json!({ "interval_ms": interval }), model);
        }
    }

    /// Asks for what the tasks on the screen lack, one at a time.
    pub(super) fn complete(&mut self, model: &mut Model) {
        if self.links.iter().any(|link| matches!(link.purpose, Purpose::Completion)) {
            return;
        }
        if let Some(name) = model.next_incomplete() {
            self.ask_or_tell(Purpose::Completion, "Inspect", &json!({ "name": name }), model);
        }
    }

    /// Asks for all about a task from now on.
    pub(super) fn follow(&mut self, name: &str, model: &mut Model) {
        self.unfollow();
        self.ask_or_tell(Purpose::Inspection, "Inspect", &json!({ "name": name }), model);
        let parameters = json!({ "names": [name], "after": 0 });
        self.ask_or_tell(Purpose::PastEvents(name.to_owned()), "Events", &parameters, model);
    }

    /// No more about it.
    pub(super) fn unfollow(&mut self) {
        self.links.retain(|link| !link.purpose.is_of_detail());
    }

    /// Asks for what it writes, now that it is known where that is kept.
    fn follow_output(&mut self, model: &mut Model) {
        let Some(detail) = &model.detail else { return };
        let Some(status) = &detail.status else { return };
        let name = detail.name.clone();
        for kept in kept_streams(status.task.as_ref().unwrap_or(&Value::Null)) {
            let stream = if kept == "stdout" { Stream::Stdout } else { Stream::Stderr };
            let parameters = json!({ "name": name, "stream": kept, "lines": LOG_LINES });
            self.ask_or_tell(Purpose::Output(stream), "Logs", &parameters, model);
        }
    }

    /// Lets the daemon do something. It does it also when nobody waits for the answer any more.
    pub(super) fn act(&mut self, action: Action, model: &mut Model) {
        let under_way = |link: &&Link| matches!(link.purpose, Purpose::Action(_));
        if self.links.iter().filter(under_way).count() >= ACTIONS_MAX {
            let why = format!("{ACTIONS_MAX} others are not done yet");
            return model.take_outcome(&action, Some(&why));
        }
        let mut parameters = json!({ "name": action.name });
        let method = match action.verb {
            Verb::Stop => "Stop",
            Verb::Restart => "Restart",
            Verb::Signal(signal) => {
                parameters["signal"] = signal.to_string().into();
                "Signal"
            }
        };
        self.ask_or_tell(Purpose::Action(action), method, &parameters, model);
    }

    fn ask(&mut self, purpose: Purpose, method: &str, parameters: &Value) -> Result<(), Failure> {
        let connection = Connection::call(&self.socket, method, parameters)?;
        self.links.push(Link { purpose, connection });
        Ok(())
    }

    fn ask_or_tell(
        &mut self,
        mut purpose: Purpose,
        method: &str,
        parameters: &Value,
        model: &mut Model,
    ) {
        match Connection::call(&self.socket, method, parameters) {
            Ok(connection) => self.links.push(Link { purpose, connection }),
            // Only the list is more than a failure of its own, and it is not asked for here.
            Err(failure) => drop(give_up(&mut purpose, failure, model)),
        }
    }
}

/// Takes an answer.
fn take(
    purpose: &mut Purpose,
    message: &[u8],
    model: &mut Model,
    effects: &mut Vec<Effect>,
) -> Result<Next, Failure> {
    let or_close = |continues: bool| if continues { Next::Wait } else { Next::Close };
    match purpose {
        Purpose::List(tasks) => {
            let reply = read::<ListReply>(message)?;
            tasks.extend(reply.parameters.tasks);
            if reply.continues {
                return Ok(Next::Wait);
            }
            model.take_list(std::mem::take(tasks));
            let after = json!({ "after": reply.parameters.sequence });
            Ok(Next::Ask(Purpose::Events, "Events", after))
        }
        Purpose::Events => {
            for event in read::<EventsReply>(message)?.parameters.events {
                effects.extend(model.take_event(&event));
            }
            Ok(Next::Wait)
        }
        Purpose::Stats => {
            let reply = read::<StatsReply>(message)?;
            model.take_stats(&reply.parameters.stats);
            Ok(or_close(reply.continues))
        }
        Purpose::Completion => {
            model.take_completion(&read::<StatusReply>(message)?.parameters.status);
            Ok(Next::Close)
        }
        Purpose::Inspection => {
            model.take_inspection(read::<StatusReply>(message)?.parameters.status);
            Ok(Next::Close)
        }
        Purpose::PastEvents(_) => {
            for event in read::<EventsReply>(message)?.parameters.events {
                model.take_past_event(event);
            }
            Ok(Next::Wait)
        }
        Purpose::Output(stream) => {
            let reply = read::<LogsReply>(message)?;
            let data = STANDARD.decode(reply.parameters.data_base64);
            let data =
                data.map_err(|error| Failure::Other(format!("the daemon's answer: {error}")))?;
            model.take_output(*stream, &data);
            if !reply.continues {
                model.end_output(*stream, None);
            }
            Ok(or_close(reply.continues))
        }
        Purpose::Action(action) => {
            read::<Value>(message)?;
            model.take_outcome(action, None);
            Ok(Next::Close)
        }
    }
}

/// There is no answer, or an error is it. What nothing goes without ends it all.
fn give_up(purpose: &mut Purpose, failure: Failure, model: &mut Model) -> Result<Next, Failure> {
    let oldest = match &failure {
        Failure::Refused { error, parameters } if error == "org.ostler.EventsLost" => {
            parameters.get("oldest").and_then(Value::as_u64)
        }
        _ => None,
    };
    match purpose {
        // What is listed now comes after all that was lost.
        Purpose::Events if oldest.is_some() => {
            return Ok(Next::Ask(Purpose::List(Vec::new()), "List", json!({})));
        }
        Purpose::List(_) | Purpose::Events => return Err(failure),
        Purpose::Stats => model.take_no_stats(failure.to_string()),
        // It is gone, or its command stays unknown.
        Purpose::Completion => {}
        Purpose::Inspection => model.end_output(Stream::Stdout, Some(failure.to_string())),
        Purpose::PastEvents(name) => {
            // The daemon remembers no more than the last ones.
            if let Some(oldest) = oldest {
                let name = std::mem::take(name);
                let parameters = json!({ "names": [name], "after": oldest.saturating_sub(1) });
                return Ok(Next::Ask(Purpose::PastEvents(name), "Events", parameters));
            }
        }
        Purpose::Output(stream) => model.end_output(*stream, Some(failure.to_string())),
        Purpose::Action(action) => model.take_outcome(action, Some(&failure.to_string())),
    }
    Ok(Next::Close)
}
