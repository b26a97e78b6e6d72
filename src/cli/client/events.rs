//! The verb events.

use super::inspect::show_time;
use super::session::{Session, text_of};
use crate::cli::arguments::EventsArguments;
use crate::cli::failure::Failure;
use crate::cli::output::{print_json, print_line};
use crate::cli::table::{Tone, paint, printable, wants_colour};
use serde_json::{Value, json};

/// Follows what happens, until the daemon ends or nobody reads any more.
pub(crate) fn events(session: &Session, arguments: &EventsArguments) -> Result<u8, Failure> {
    let mut parameters = json!({});
    if !arguments.names.is_empty() {
        parameters["names"] = arguments.names.as_slice().into();
    }
    if let Some(after) = arguments.after {
        parameters["after"] = after.into();
    }
    let coloured = wants_colour();
    session.connect()?.stream("org.ostler.Events", &parameters, |reply| {
        let events = reply.get("events").and_then(Value::as_array);
        for event in events.into_iter().flatten() {
            if session.json {
                print_json(event)?;
            } else {
                print_line(&describe(event, coloured))?;
            }
        }
        Ok(())
    })?;
    Ok(0)
}

/// `TIME NAME KIND detail`.
fn describe(event: &Value, coloured: bool) -> String {
    let time = event.get("time_us").and_then(Value::as_u64).map(show_time).unwrap_or_default();
    let kind = text_of(event, "kind");
    let tone = match kind {
        "started" | "adopted" => Tone::Good,
        "start_failed" | "oom_killed" | "stuck" | "output_lost" => Tone::Bad,
        "stopping" | "killed" | "backoff" | "output_stalled" => Tone::Warning,
        _ => Tone::Plain,
    };
    let name = printable(text_of(event, "name"));
    let kind = paint(&printable(kind), tone, coloured);
    let line = format!("{} {name} {kind} {}", paint(&time, Tone::Faint, coloured), detail(event));
    line.trim_end().to_owned()
}

/// The event's own detail, else what its status says of the matter.
fn detail(event: &Value) -> String {
    let status = event.get("status").unwrap_or(&Value::Null);
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_i64);
    if let Some(detail) = event.get("detail").and_then(Value::as_str) {
        return printable(detail);
    }
    match text_of(event, "kind") {
        "started" => number("/pid").map(|pid| format!("pid {pid}")),
        "start_failed" => status.pointer("/error/message").and_then(Value::as_str).map(printable),
        "exited" => match (number("/exit/exit_code"), number("/exit/signal")) {
            (Some(-1), _) => Some("status not known".to_owned()),
            (_, Some(signal @ 1..)) => Some(format!("signal {signal}")),
            (code, _) => code.map(|code| format!("exit code {code}")),
        },
        _ => None,
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = |kind: &str, status: Value| {
            describe(&json!({"time_us": 0, "name": "web", "kind": kind, "status": status}), false)
        };
        let time = "1970-01-01T00:00:00.000Z";
        assert_eq!(event("started", json!({"pid": 7})), format!("{time} web started pid 7"));
        assert_eq!(event("removed", Value::Null), format!("{time} web removed"));
        let exit = json!({"exit": {"exit_code": 137, "signal": 9}});
        assert_eq!(event("exited", exit), format!("{time} web exited signal 9"));
        let own = json!({"time_us": 0, "name": "web", "kind": "finished", "detail": "gave_up"});
        assert_eq!(describe(&own, false), format!("{time} web finished gave_up"));
    }
}
