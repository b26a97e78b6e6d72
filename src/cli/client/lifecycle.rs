//! The verbs stop, start, restart, signal and rm, each for several tasks.

use super::session::{Expansion, Session, milliseconds, text_of};
use crate::cli::arguments::{
    RestartArguments, RmArguments, SignalArguments, StartArguments, StopArguments, StopFlags,
};
use crate::cli::failure::Failure;
use crate::cli::output::print_json;
use serde_json::{Value, json};

const ALL: Expansion = Expansion { states: &[], may_be_empty: false };

/// Stops tasks.
pub(crate) fn stop(session: &Session, arguments: &StopArguments) -> Result<u8, Failure> {
    let ignore = arguments.ignore_missing;
    let (names, complete) =
        session.expand(&arguments.tasks.names, Expansion { may_be_empty: ignore, ..ALL })?;
    session.for_each(&names, complete, |connection, name| {
        let parameters = stop_parameters(name, &arguments.how);
        match show_status(session, connection.call("org.ostler.Stop", &parameters)) {
            Err(failure) if ignore && is_missing(&failure) => Ok(()),
            outcome => outcome,
        }
    })
}

/// Starts exited tasks again, and at once those that wait for their next run. A task that runs is
/// left alone.
pub(crate) fn start(session: &Session, arguments: &StartArguments) -> Result<u8, Failure> {
    let (names, complete) = session.expand(&arguments.tasks.names, ALL)?;
    session.for_each(&names, complete, |connection, name| {
        let known = connection.call("org.ostler.Inspect", &json!({ "name": name }))?;
        let mut status = known.get("status").cloned().unwrap_or_default();
        if matches!(text_of(&status, "state"), "running" | "pending") {
            if let Some(fields) = status.as_object_mut() {
                fields.remove("task");
            }
            return show_status(session, Ok(json!({ "status": status })));
        }
        show_status(session, connection.call("org.ostler.Restart", &json!({ "name": name })))
    })
}

/// Stops tasks and starts them again.
pub(crate) fn restart(session: &Session, arguments: &RestartArguments) -> Result<u8, Failure> {
    let (names, complete) = session.expand(&arguments.tasks.names, ALL)?;
    session.for_each(&names, complete, |connection, name| {
        let parameters = stop_parameters(name, &arguments.how);
        show_status(session, connection.call("org.ostler.Restart", &parameters))
    })
}

/// Signals tasks. A pattern means those that have a process.
pub(crate) fn signal(session: &Session, arguments: &SignalArguments) -> Result<u8, Failure> {
    let running = Expansion { states: &["running", "stopping"], may_be_empty: false };
    let (names, complete) = session.expand(&arguments.tasks.names, running)?;
    session.for_each(&names, complete, |connection, name| {
        let mut parameters = json!({ "name": name, "signal": arguments.signal.to_string() });
        if arguments.all {
            parameters["all"] = true.into();
        }
        connection.call("org.ostler.Signal", &parameters).map(drop)
    })
}

/// Forgets exited tasks. A pattern means the exited ones, with `--force` all of them.
pub(crate) fn remove(session: &Session, arguments: &RmArguments) -> Result<u8, Failure> {
    let states: &[&str] = if arguments.force { &[] } else { &["exited"] };
    let (names, complete) =
        session.expand(&arguments.tasks.names, Expansion { states, may_be_empty: true })?;
    session.for_each(&names, complete, |connection, name| {
        let mut parameters = json!({ "name": name });
        if arguments.force {
            parameters["force"] = true.into();
        }
        connection.call("org.ostler.Remove", &parameters).map(drop)
    })
}

fn stop_parameters(name: &str, how: &StopFlags) -> Value {
    let mut parameters = json!({ "name": name });
    if let Some(signal) = how.signal {
        parameters["signal"] = signal.to_string().into();
    }
    if let Some(grace) = how.grace {
        parameters["grace_ms"] = milliseconds(grace);
    }
    parameters
}

fn show_status(session: &Session, reply: Result<Value, Failure>) -> Result<(), Failure> {
    let reply = reply?;
    if session.json {
        print_json(reply.get("status").unwrap_or(&reply))?;
    }
    Ok(())
}

fn is_missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused { error, .. } if error == "org.ostler.NoSuchTask")
}
