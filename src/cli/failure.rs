//! Why a verb failed, and what the exit code says of it.

use super::task_file::Problem;
use crate::vocabulary::cause;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Timed out.
pub(crate) const TIMED_OUT: u8 = 124;
/// No daemon; in run, wait and exec everything that ostler itself has to say.
pub(crate) const OWN: u8 = 125;
/// Found, cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// Not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// A flag or argument that cannot be: what is wrong, and what would be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a verb failed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Failure {
    /// The flags or arguments cannot be.
    Usage(UsageError),
    /// Nobody answers at the socket.
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The daemon refused, with an error of the protocol.
    Refused {
        /// Its full name.
        error: String,
        /// Its parameters.
        parameters: Value,
    },
    /// A task file cannot be: all that is wrong with it.
    InvalidFile(Vec<Problem>),
    /// Something else: a file that cannot be read, a connection that broke.
    Other(String),
    /// Nobody reads the output any more.
    OutputClosed,
}

impl From<UsageError> for Failure {
    fn from(error: UsageError) -> Failure {
        Failure::Usage(error)
    }
}

impl Failure {
    /// The socket at `path` cannot be connected to.
    pub(crate) fn unreachable(path: &Path, error: &io::Error) -> Failure {
        let reason = match error.kind() {
            ErrorKind::NotFound => "there is no such socket".to_owned(),
            ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => cause(error),
        };
        Failure::NoDaemon { path: path.to_owned(), reason }
    }

    /// The exit code; `mirrors`: the verb passes on the exit code of a task (run, wait, exec).
    pub(crate) fn exit_code(&self, mirrors: bool) -> u8 {
        match self {
            Failure::OutputClosed => 0,
            Failure::Refused { error, .. } if error == "org.ostler.TimedOut" => TIMED_OUT,
            Failure::NoDaemon { .. } => OWN,
            Failure::Refused { error, parameters } if mirrors => {
                start_failure_code(error, parameters)
            }
            _ if mirrors => OWN,
            Failure::Usage(_) => 2,
            Failure::Refused { .. } | Failure::InvalidFile(_) | Failure::Other(_) => 1,
        }
    }

    /// As objects of the form that the protocol gives to errors; one but for a task file, which can
    /// be wrong in several places.
    pub(crate) fn to_json(&self) -> Vec<Value> {
        let (error, parameters) = match self {
            Failure::InvalidFile(problems) => return problems.iter().map(invalid_task).collect(),
            Failure::Refused { error, parameters } => (error.as_str(), parameters.clone()),
            Failure::Usage(why) => ("org.ostler.client.Usage", json!({ "reason": why.0 })),
            Failure::NoDaemon { path, reason } => {
                let parameters = json!({ "path": path.to_string_lossy(), "reason": reason });
                ("org.ostler.client.NoDaemon", parameters)
            }
            Failure::Other(reason) => ("org.ostler.client.Failed", json!({ "reason": reason })),
            Failure::OutputClosed => ("org.ostler.client.OutputClosed", json!({})),
        };
        vec![json!({ "error": error, "parameters": parameters })]
    }
}

/// As a daemon would have said it.
fn invalid_task(problem: &Problem) -> Value {
    let mut parameters = json!({ "field": problem.field, "reason": problem.reason });
    if let Some(place) = &problem.place {
        parameters["line"] = place.line.into();
    }
    json!({ "error": "org.ostler.InvalidTask", "parameters": parameters })
}

/// The exit code for a command that did not start, as env(1) and timeout(1) have them.
fn start_failure_code(error: &str, parameters: &Value) -> u8 {
    if error != "org.ostler.LaunchFailed" {
        return OWN;
    }
    let field = |name| parameters.pointer(name).and_then(Value::as_str).unwrap_or_default();
    match (field("/error/stage"), field("/error/errno_name")) {
        ("timeout", _) => TIMED_OUT,
        ("lookup" | "exec", "ENOENT" | "ENOTDIR") => NOT_FOUND,
        ("lookup" | "exec", _) => NOT_EXECUTABLE,
        _ => OWN,
    }
}

impl fmt::Display for Failure {
    /// The `WHY` of `ostler: WHAT: WHY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(why) => why.fmt(f),
            Failure::NoDaemon { path, reason } => {
                write!(f, "no daemon at {}: {reason} (start one: ostler daemon)", path.display())
            }
            Failure::Refused { error, parameters } => write_refusal(f, error, parameters),
            Failure::InvalidFile(problems) => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Failure::Other(why) => f.write_str(why),
            Failure::OutputClosed => f.write_str("nobody reads the output"),
        }
    }
}

fn write_refusal(f: &mut fmt::Formatter<'_>, error: &str, parameters: &Value) -> fmt::Result {
    let text = |name: &str| parameters.get(name).and_then(Value::as_str).unwrap_or("?");
    let number = |name: &str| parameters.get(name).and_then(Value::as_i64).unwrap_or(-1);
    let Some(known) = error.strip_prefix("org.ostler.") else {
        return match error.strip_prefix("org.varlink.service.") {
            Some("MethodNotFound" | "MethodNotImplemented" | "InterfaceNotFound") => {
                f.write_str("not available in this version of the daemon")
            }
            Some("InvalidParameter") => {
                write!(f, "the daemon does not accept {}", text("parameter"))
            }
            Some("PermissionDenied") => f.write_str("the daemon does not allow it to this user"),
            _ => write!(f, "the daemon answered {error} {parameters}"),
        };
    };
    match known {
        "NoSuchTask" => f.write_str("no such task"),
        "TaskExists" => {
            let state = parameters.pointer("/status/state").and_then(Value::as_str);
            let state = state.unwrap_or("known");
            write!(f, "a task named {} exists already, it is {state}", text("name"))
        }
        "InvalidTask" => {
            write!(f, "{}: {}", text("field"), text("reason"))?;
            match parameters.get("line").and_then(Value::as_i64) {
                Some(line) => write!(f, " (line {line} of the task file)"),
                None => Ok(()),
            }
        }
        "LaunchFailed" => {
            let error = parameters.get("error").unwrap_or(&Value::Null);
            let part = |name| error.get(name).and_then(Value::as_str).unwrap_or("?");
            f.write_str(part("message"))
        }
        "NotRunning" => write!(f, "it has no process, it is {}", text("state")),
        "StillRunning" => {
            let pids = parameters.get("pids").and_then(Value::as_array);
            let pids: Vec<String> = pids.into_iter().flatten().map(Value::to_string).collect();
            write!(f, "it still has processes: {}", pids.join(" "))
        }
        "UnknownSignal" => write!(f, "{} is not a signal", text("signal")),
        "TimedOut" => f.write_str("timed out"),
        // The name of a method says no more than the verb does.
        "Unsupported" if text("feature").starts_with(|c: char| c.is_ascii_uppercase()) => {
            f.write_str(text("reason"))
        }
        "Unsupported" => write!(f, "{}: {}", text("feature"), text("reason")),
        "NotPermitted" => write!(f, "{}: {}", text("field"), text("reason")),
        "NotKept" => {
            let (stream, kind) = (text("stream"), text("kind"));
            write!(f, "nothing is kept, {stream} is {kind} (use --{stream} file:PATH)")
        }
        "EventsLost" => {
            let oldest = number("oldest");
            write!(f, "events before {oldest} are gone (list the tasks, then go on from there)")
        }
        "ShuttingDown" => f.write_str("the daemon is shutting down"),
        "UpgradeFailed" => write!(f, "the running daemon goes on: {}", text("reason")),
        "Limit" => {
            let (limit, maximum) = (text("limit"), number("maximum"));
            write!(f, "the limit of {maximum} ({limit}) is reached: {}", text("reason"))
        }
        _ => write!(f, "the daemon answered {error} {parameters}"),
    }
}
