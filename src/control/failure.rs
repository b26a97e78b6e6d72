//! Errors of the protocol: their names and parameters.

use super::history::Lost;
use super::wire::{Refusal, StartErrorShape, StatusShape};
use crate::vocabulary::limits::MESSAGE_BYTES_MAX;
use crate::vocabulary::{InvalidField, RequestError, Status};
use serde_json::{Value, json};

/// An error as it is sent.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Failure {
    /// `org.ostler.NoSuchTask`.
    pub(crate) error: &'static str,
    /// Its parameters, an object.
    pub(crate) parameters: Value,
}

impl Failure {
    pub(crate) fn new(error: &'static str, parameters: Value) -> Failure {
        Failure { error, parameters }
    }

    pub(crate) fn invalid_parameter(path: &str) -> Failure {
        let parameters = json!({ "parameter": path });
        Failure::new("org.varlink.service.InvalidParameter", parameters)
    }

    pub(crate) fn permission_denied() -> Failure {
        Failure::new("org.varlink.service.PermissionDenied", json!({}))
    }

    pub(crate) fn expected_more() -> Failure {
        Failure::new("org.varlink.service.ExpectedMore", json!({}))
    }

    pub(crate) fn limit(limit: &str, maximum: u64, reason: &str) -> Failure {
        let parameters = json!({ "limit": limit, "maximum": maximum, "reason": reason });
        Failure::new("org.ostler.Limit", parameters)
    }

    /// A message of the client's is too long.
    pub(crate) fn message_too_long() -> Failure {
        let reason = "a call is longer than a message may be; the connection is closed";
        Failure::limit("message", MESSAGE_BYTES_MAX as u64, reason)
    }

    /// An answer is too long for one message.
    pub(crate) fn reply_too_long() -> Failure {
        let reason = "the answer is longer than a message may be; \
                      ask for less, or call List, Logs and Stats with more";
        Failure::limit("reply", MESSAGE_BYTES_MAX as u64, reason)
    }

    pub(crate) fn no_such_task(name: &str) -> Failure {
        Failure::new("org.ostler.NoSuchTask", json!({ "name": name }))
    }

    pub(crate) fn unsupported(feature: &str, reason: &str) -> Failure {
        let parameters = json!({ "feature": feature, "reason": reason });
        Failure::new("org.ostler.Unsupported", parameters)
    }

    pub(crate) fn not_permitted(field: &str, reason: &str) -> Failure {
        let parameters = json!({ "field": field, "reason": reason });
        Failure::new("org.ostler.NotPermitted", parameters)
    }

    pub(crate) fn events_lost(lost: Lost, instance: &str) -> Failure {
        let parameters = json!({ "oldest": lost.oldest, "instance": instance });
        Failure::new("org.ostler.EventsLost", parameters)
    }

    fn invalid_task(field: &InvalidField) -> Failure {
        let parameters = json!({ "field": field.field, "reason": field.reason });
        Failure::new("org.ostler.InvalidTask", parameters)
    }

    /// The error that a refused request is; `shape` gives a status its form in the protocol.
    pub(crate) fn of_request<'a>(
        error: &'a RequestError,
        shape: impl FnOnce(&'a Status) -> StatusShape<'a>,
    ) -> Failure {
        match error {
            RequestError::NoSuchTask { name } => Failure::no_such_task(name),
            RequestError::TaskExists { status } => {
                let parameters = json!({
                    "name": &*status.identity.name,
                    "status": shape(status),
                });
                Failure::new("org.ostler.TaskExists", parameters)
            }
            RequestError::InvalidTask(field) => Failure::invalid_task(field),
            RequestError::LaunchFailed(error) => {
                let parameters = json!({ "error": StartErrorShape::of(error) });
                Failure::new("org.ostler.LaunchFailed", parameters)
            }
            RequestError::NotRunning { name, state } => {
                let parameters = json!({ "name": name, "state": state.as_str() });
                Failure::new("org.ostler.NotRunning", parameters)
            }
            RequestError::StillRunning { name, pids } => {
                let pids: Vec<i32> = pids.iter().map(|pid| pid.number()).collect();
                Failure::new("org.ostler.StillRunning", json!({ "name": name, "pids": pids }))
            }
            RequestError::UnknownSignal(signal) => {
                Failure::new("org.ostler.UnknownSignal", json!({ "signal": signal.0 }))
            }
            RequestError::TimedOut => Failure::new("org.ostler.TimedOut", json!({})),
            RequestError::Unsupported { feature, reason } => Failure::unsupported(feature, reason),
            RequestError::NotPermitted { field, reason } => Failure::not_permitted(field, reason),
            RequestError::ShuttingDown => Failure::new("org.ostler.ShuttingDown", json!({})),
            RequestError::Limit { limit, maximum, reason } => {
                Failure::limit(limit, *maximum, reason)
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        match refusal {
            Refusal::Parameter(path) => Failure::invalid_parameter(&path),
            Refusal::Task(field) => Failure::invalid_task(&field),
            Refusal::Signal(signal) => {
                Failure::new("org.ostler.UnknownSignal", json!({ "signal": signal.0 }))
            }
        }
    }
}
