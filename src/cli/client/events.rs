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
    let name = printable(text_of(event, "name"));
    let shown = paint(&printable(kind), event_tone(kind), coloured);
    let time = paint(&time, Tone::Faint, coloured);
    format!("{time} {name} {shown} {}", detail(event)).trim_end().to_owned()
}

/// How a kind of event looks.
pub(crate) fn event_tone(kind: &str) -> Tone {
    match kind {
        "started" | "adopted" => Tone::Good,
        "start_failed" | "oom_killed" | "stuck" | "output_lost" => Tone::Bad,
        "stopping" | "killed" | "backoff" | "output_stalled" => Tone::Warning,
        _ => Tone::Plain,
    }
}

fn detail(event: &Value) -> String {
    let number = |pointer: &str| event.pointer(pointer).and_then(Value::as_i64);
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let code = number("/status/exit/exit_code");
    event_detail(
        text_of(event, "kind"),
        text("/detail"),
        number("/status/pid"),
        code.map(|code| (code, number("/status/exit/signal").unwrap_or(0))),
        text("/status/error/message"),
    )
}

/// The event's own detail, else what its status says of the matter: the pid, the exit code and
/// signal, why it did not start.
pub(crate) fn event_detail(
    kind: &str,
    detail: Option<&str>,
    pid: Option<i64>,
    exit: Option<(i64, i64)>,
    error: Option<&str>,
) -> String {
    match (detail, kind) {
        (Some(detail), _) => Some(printable(detail)),
        (None, "started") => pid.map(|pid| format!("pid {pid}")),
        (None, "start_failed") => error.map(printable),
        (None, "exited") => exit.map(|exit| match exit {
            (-1, _) => "status not known".to_owned(),
            (_, signal @ 1..) => format!("signal {signal}"),
            (code, _) => format!("exit code {code}"),
        }),
        (None, _) => None,
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
