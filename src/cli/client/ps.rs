//! The verb ps.

use super::connection::Connection;
use super::session::{LIVING, Session, list, text_of};
use crate::cli::arguments::PsArguments;
use crate::cli::failure::{Failure, UsageError};
use crate::cli::output::{print, print_json};
use crate::cli::table::{Cell, Table, Tone, wants_colour};
use crate::cli::units::{show_duration, show_size};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Lists tasks.
pub(crate) fn ps(session: &Session, arguments: &PsArguments) -> Result<u8, Failure> {
    let mut labels = Vec::new();
    for text in &arguments.labels {
        match text.split_once('=') {
            Some((key, value)) => labels.push((key.to_owned(), value.to_owned())),
            None => {
                let why = format!("--label: {text:?} is not KEY=VALUE");
                return Err(UsageError(why).into());
            }
        }
    }
    let states: &[&str] = if arguments.all { &[] } else { &LIVING };
    let mut connection = session.connect()?;
    let tasks = list(&mut connection, &labels, states)?;
    if session.json {
        for task in &tasks {
            print_json(task)?;
        }
        return Ok(0);
    }
    let usage = usage_by_name(&mut connection);
    let mut table =
        Table::new(&["NAME", "STATE", ">PID", ">UPTIME", ">RESTARTS", ">CPU", ">MEM", "COMMAND"]);
    for task in &tasks {
        table.row(row(task, usage.get(text_of(task, "name")).unwrap_or(&Value::Null)));
    }
    print(table.render(wants_colour()).as_bytes())?;
    Ok(0)
}

/// What each task uses. A daemon that does not measure leaves the columns empty.
fn usage_by_name(connection: &mut Connection) -> HashMap<String, Value> {
    let mut stats = Vec::new();
    // With more, since the figures of many tasks do not fit one reply.
    let asked = connection.follow("org.ostler.Stats", &json!({}), |mut reply| {
        if let Some(Value::Array(part)) = reply.get_mut("stats").map(Value::take) {
            stats.extend(part);
        }
        Ok(reply.get("complete").and_then(Value::as_bool) == Some(false))
    });
    if asked.is_err() {
        return HashMap::new();
    }
    let pair = |mut stats: Value| {
        let total = stats.get_mut("total").map(Value::take).unwrap_or_default();
        (text_of(&stats, "name").to_owned(), total)
    };
    stats.into_iter().map(pair).collect()
}

fn row(task: &Value, usage: &Value) -> Vec<Cell> {
    let state = text_of(task, "state");
    let number = |field: &str| task.get(field).and_then(Value::as_u64);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let uptime = match state {
        "running" | "stopping" => number("started_us").and_then(age),
        _ => None,
    };
    let measured = |field: &str| usage.get(field).and_then(Value::as_f64);
    let memory = measured("memory_usage_bytes").or(measured("memory_rss_bytes"));
    let command = task.get("command").and_then(Value::as_str).map(str::to_owned);
    vec![
        text_of(task, "name").into(),
        Cell::toned(describe_state(task), state_tone(state, exit_code(task))),
        or_dash(number("pid").map(|pid| pid.to_string())).into(),
        or_dash(uptime.map(show_duration)).into(),
        number("restarts").unwrap_or(0).to_string().into(),
        or_dash(measured("cpu_percent").map(|percent| format!("{percent:.1}%"))).into(),
        or_dash(memory.map(|bytes| show_size(bytes as u64))).into(),
        or_dash(command).into(),
    ]
}

/// The state, with the exit code of an exited task: `exited (1)`.
fn describe_state(task: &Value) -> String {
    let error = task.get("error").is_some_and(|error| !error.is_null());
    state_text(text_of(task, "state"), exit_code(task), error)
}

fn exit_code(task: &Value) -> Option<i64> {
    task.pointer("/exit/exit_code").and_then(Value::as_i64)
}

/// The state, with the exit code of an exited task; `error`: its last start failed.
pub(crate) fn state_text(state: &str, exit_code: Option<i64>, error: bool) -> String {
    match (state, exit_code) {
        ("exited", Some(-1)) => "exited (unknown)".to_owned(),
        ("exited", Some(code)) => format!("exited ({code})"),
        ("exited", None) if error => "exited (not started)".to_owned(),
        _ => state.to_owned(),
    }
}

/// How a state looks.
pub(crate) fn state_tone(state: &str, exit_code: Option<i64>) -> Tone {
    match state {
        "running" => Tone::Good,
        "pending" | "stopping" | "backoff" => Tone::Warning,
        "exited" if exit_code == Some(0) => Tone::Faint,
        "exited" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// How long ago this was, in whole seconds; none where the clock was set back since.
pub(crate) fn age(time_us: u64) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let age = now.checked_sub(Duration::from_micros(time_us))?;
    Some(Duration::from_secs(age.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exited_task_shows_its_code() {
        let state = |task: Value| describe_state(&task);
        assert_eq!(state(json!({"state": "running", "exit": {"exit_code": 1}})), "running");
        assert_eq!(state(json!({"state": "exited", "exit": {"exit_code": 137}})), "exited (137)");
        assert_eq!(
            state(json!({"state": "exited", "exit": {"exit_code": -1}})),
            "exited (unknown)"
        );
        assert_eq!(state(json!({"state": "exited", "error": {}})), "exited (not started)");
    }
}
