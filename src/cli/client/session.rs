//! What a verb of the client has: the socket, the form of its output, connections.

use super::connection::Connection;
use crate::cli::failure::Failure;
use crate::cli::output::report;
use crate::cli::pattern;
use crate::cli::socket::socket_path;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Calls that are under way at once for several tasks, each on a connection of its own.
const PARALLEL: usize = 16;

/// The states of a task that has not exited for good.
pub(crate) const LIVING: [&str; 4] = ["pending", "running", "stopping", "backoff"];

/// What a verb of the client has.
#[derive(Debug)]
pub(crate) struct Session {
    /// The verb, for messages.
    pub(crate) verb: String,
    /// Failures as JSON, and results where there are any.
    pub(crate) json: bool,
    socket: Option<String>,
}

/// Which tasks a pattern means.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Expansion {
    /// Only tasks in these states; none: all.
    pub(crate) states: &'static [&'static str],
    /// A pattern that matches nothing is no failure.
    pub(crate) may_be_empty: bool,
}

impl Session {
    /// A session for this verb.
    pub(crate) fn new(verb: &str, json: bool, socket: Option<String>) -> Session {
        Session { verb: verb.to_owned(), json, socket }
    }

    /// The daemon's socket.
    pub(crate) fn socket_path(&self) -> Result<PathBuf, Failure> {
        Ok(socket_path(self.socket.as_deref())?)
    }

    /// A new connection to the daemon.
    pub(crate) fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(self.socket_path()?)
    }

    /// Says why the verb failed for this task.
    pub(crate) fn report_task(&self, name: &str, failure: &Failure) {
        report(&format!("{} {name}", self.verb), failure, self.json);
    }

    /// The names that these names and patterns mean, each once. A pattern without a match is said
    /// here; the flag is false then.
    pub(crate) fn expand(
        &self,
        texts: &[String],
        expansion: Expansion,
    ) -> Result<(Vec<String>, bool), Failure> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        let mut complete = true;
        let known = match texts.iter().any(|text| pattern::is_pattern(text)) {
            true => self.list_names(expansion.states)?,
            false => Vec::new(),
        };
        let mut add = |name: &str| {
            if seen.insert(name.to_owned()) {
                names.push(name.to_owned());
            }
        };
        for text in texts {
            if !pattern::is_pattern(text) {
                add(text);
                continue;
            }
            let mut found = false;
            for name in known.iter().filter(|name| pattern::matches(text, name)) {
                found = true;
                add(name);
            }
            if !found && !expansion.may_be_empty {
                complete = false;
                let why = Failure::Refused {
                    error: "org.ostler.NoSuchTask".to_owned(),
                    parameters: json!({ "name": text }),
                };
                self.report_task(text, &why);
            }
        }
        Ok((names, complete))
    }

    fn list_names(&self, states: &[&str]) -> Result<Vec<String>, Failure> {
        let tasks = list(&mut self.connect()?, &[], states)?;
        Ok(tasks.iter().map(|task| text_of(task, "name").to_owned()).collect())
    }

    /// Does something for each task, several at once, each failure said by its task's name.
    /// Without a daemon it is said once. The exit code: 0, or 1 if any failed.
    pub(crate) fn for_each(
        &self,
        names: &[String],
        complete: bool,
        act: impl Fn(&mut Connection, &str) -> Result<(), Failure> + Sync,
    ) -> Result<u8, Failure> {
        let Some(threads) = names.len().checked_sub(1).map(|more| (more + 1).min(PARALLEL)) else {
            return Ok(u8::from(!complete));
        };
        let first = self.connect()?;
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(!complete);
        let work = |connection: Result<Connection, Failure>| {
            let mut connection = connection;
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = match &mut connection {
                    Ok(connection) => act(connection, name),
                    Err(failure) => Err(failure.clone()),
                };
                match outcome {
                    Ok(()) => continue,
                    Err(Failure::OutputClosed) => return,
                    Err(failure) => self.report_task(name, &failure),
                }
                failed.store(true, Ordering::Relaxed);
                if connection.as_ref().map_or(true, Connection::is_broken) {
                    connection = self.connect();
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| work(self.connect()));
            }
            work(Ok(first));
        });
        Ok(u8::from(failed.into_inner()))
    }
}

/// The statuses of tasks with these labels and in these states (none: all).
pub(crate) fn list(
    connection: &mut Connection,
    labels: &[(String, String)],
    states: &[&str],
) -> Result<Vec<Value>, Failure> {
    let mut parameters = json!({});
    if !labels.is_empty() {
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        parameters["labels"] = labels.into();
    }
    if !states.is_empty() {
        parameters["states"] = states.into();
    }
    let mut tasks = Vec::new();
    connection.stream("org.ostler.List", &parameters, |mut reply| {
        if let Some(Value::Array(part)) = reply.get_mut("tasks").map(Value::take) {
            tasks.extend(part);
        }
        Ok(())
    })?;
    tasks.sort_by(|one, other| text_of(one, "name").cmp(text_of(other, "name")));
    Ok(tasks)
}

/// A string field of an object; empty where it has none.
pub(crate) fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A duration as the protocol has it.
pub(crate) fn milliseconds(duration: std::time::Duration) -> Value {
    // Flags of longer durations than an exact number of milliseconds are refused.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}
