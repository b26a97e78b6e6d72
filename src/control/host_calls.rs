//! Calls that the host of the server answers and not the supervisor: they concern its task file.

use super::connection::Pending;
use super::failure::Failure;
use super::server::Server;
use super::wire::StartErrorShape;
use crate::vocabulary::{InvalidField, RequestError};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

/// A call for the host, which answers each once with [`Server::answer_reload`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ReloadCall {
    /// Which one is answered.
    pub ticket: ReloadTicket,
    /// Only to say what would be done.
    pub dry_run: bool,
}

/// Names a call for the host.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReloadTicket(u64);

/// What reading the task file again has done, or would do.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Reloaded {
    /// Tasks that were new.
    pub started: Vec<String>,
    /// Tasks that were gone.
    pub stopped: Vec<String>,
    /// Tasks that had changed.
    pub restarted: Vec<String>,
    /// Tasks with which it could not be done.
    pub failed: Vec<(String, RequestError)>,
    /// How many were left alone.
    pub unchanged: u64,
}

/// Why nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReloadRefusal {
    /// The file cannot be.
    InvalidTask {
        /// What of it.
        field: InvalidField,
        /// The line, where it is known.
        line: Option<u64>,
    },
    /// The host is ending.
    ShuttingDown,
}

/// Those that wait for the host.
#[derive(Debug, Default)]
pub(super) struct HostCalls {
    count: u64,
    asked: VecDeque<ReloadCall>,
    askers: HashMap<ReloadTicket, usize>,
}

impl HostCalls {
    /// Notes a call; without `asker` nobody waits for the answer.
    pub(super) fn ask(&mut self, dry_run: bool, asker: Option<usize>) -> ReloadTicket {
        self.count += 1;
        let ticket = ReloadTicket(self.count);
        self.asked.push_back(ReloadCall { ticket, dry_run });
        asker.map(|key| self.askers.insert(ticket, key));
        ticket
    }

    /// The client of this call has left.
    pub(super) fn forget(&mut self, ticket: ReloadTicket) {
        self.askers.remove(&ticket);
    }
}

impl Server {
    /// The next call of Reload. Only a server whose [`ServerOptions`](super::ServerOptions) say
    /// that its host reloads has any.
    pub fn next_reload(&mut self) -> Option<ReloadCall> {
        self.host_calls.asked.pop_front()
    }

    /// Answers one. A client that has left meanwhile gets nothing.
    pub fn answer_reload(
        &mut self,
        ticket: ReloadTicket,
        answer: Result<&Reloaded, &ReloadRefusal>,
    ) {
        let Some(key) = self.host_calls.askers.remove(&ticket) else { return };
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.pending = Pending::None;
        match answer {
            Ok(reloaded) => connection.session.reply(&report(reloaded)),
            Err(refusal) => connection.session.fail(&failure(refusal)),
        }
        self.wake(key);
    }
}

impl Server {
    /// Whether somebody has asked for an upgrade since this was last asked. Only a server whose
    /// [`ServerOptions`](super::ServerOptions) say that its host upgrades is ever asked.
    pub fn takes_upgrade(&mut self) -> bool {
        std::mem::take(&mut self.upgrade_asked)
    }

    /// Answers everybody who has asked for an upgrade: with the version of the program that has
    /// taken over, or with why none does.
    pub fn answer_upgrade(&mut self, answer: Result<&str, &str>) {
        let waits = |(key, connection): (usize, &super::connection::Connection)| {
            matches!(connection.pending, Pending::Upgrade).then_some(key)
        };
        let waiting: Vec<usize> = self.connections.iter().filter_map(waits).collect();
        for key in waiting {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            connection.pending = Pending::None;
            match answer {
                Ok(version) => connection.session.reply(&json!({ "version": version })),
                Err(reason) => {
                    let parameters = json!({ "reason": reason });
                    let failure = Failure::new("org.ostler.UpgradeFailed", parameters);
                    connection.session.fail(&failure);
                }
            }
            self.wake(key);
        }
    }
}

fn report(reloaded: &Reloaded) -> Value {
    let failed =
        |(name, error): &(String, RequestError)| json!({"name": name, "error": start_error(error)});
    json!({
        "started": reloaded.started,
        "stopped": reloaded.stopped,
        "restarted": reloaded.restarted,
        "failed": reloaded.failed.iter().map(failed).collect::<Vec<Value>>(),
        "unchanged": reloaded.unchanged,
    })
}

/// What was refused before anything was tried has the stage `refused`.
fn start_error(error: &RequestError) -> Value {
    if let RequestError::LaunchFailed(error) = error {
        return json!(StartErrorShape::of(error));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "stage": "refused",
        "errno": 0,
        "errno_name": "",
        "message": error.to_string(),
        "retry": matches!(error, RequestError::Limit { .. }),
        "time_us": u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
    })
}

fn failure(refusal: &ReloadRefusal) -> Failure {
    match refusal {
        ReloadRefusal::InvalidTask { field: InvalidField { field, reason }, line } => {
            let mut parameters = json!({ "field": field, "reason": reason });
            if let (Some(line), Some(parameters)) = (line, parameters.as_object_mut()) {
                parameters.insert("line".to_owned(), (*line).into());
            }
            Failure::new("org.ostler.InvalidTask", parameters)
        }
        ReloadRefusal::ShuttingDown => Failure::new("org.ostler.ShuttingDown", json!({})),
    }
}
