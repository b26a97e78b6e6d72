//! The verb stats.

use super::session::{Expansion, Session, milliseconds, text_of};
use crate::cli::arguments::StatsArguments;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_json};
use crate::cli::table::{Cell, Table, wants_colour};
use crate::cli::units::show_size;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::Duration;

/// Once, the processor is watched for so long.
const LOOK: Duration = Duration::from_millis(500);

/// Shows what tasks use.
pub(crate) fn stats(session: &Session, arguments: &StatsArguments) -> Result<u8, Failure> {
    let expansion = Expansion { states: &["running", "stopping"], may_be_empty: false };
    let (mut names, mut complete) = session.expand(&arguments.names, expansion)?;
    while !names.is_empty() || arguments.names.is_empty() {
        match measure(session, arguments, &names) {
            Ok(()) => return Ok(u8::from(!complete)),
            Err(failure) => {
                let known = unknown_task(&failure)
                    .and_then(|name| names.iter().position(|known| known == name));
                let Some(index) = known else { return Err(failure) };
                session.report_task(&names.remove(index), &failure);
                complete = false;
            }
        }
    }
    Ok(u8::from(!complete))
}

/// The task that is not there, where that is the failure: the others are shown nevertheless.
fn unknown_task(failure: &Failure) -> Option<&str> {
    match failure {
        Failure::Refused { error, parameters } if error == "org.ostler.NoSuchTask" => {
            parameters.get("name").and_then(Value::as_str)
        }
        _ => None,
    }
}

fn measure(session: &Session, arguments: &StatsArguments, names: &[String]) -> Result<(), Failure> {
    let interval = if arguments.watch { arguments.interval } else { LOOK };
    let mut parameters = json!({ "interval_ms": milliseconds(interval) });
    if !names.is_empty() {
        parameters["names"] = names.into();
    }
    if arguments.by_pid {
        parameters["by_pid"] = true.into();
    }
    // Percentages are those since the sample before; the counters for a collector need none.
    let wanted = if arguments.openmetrics || arguments.watch { 1 } else { 2 };
    let mut samples = 0;
    let (mut parts, mut last) = (Vec::new(), Vec::new());
    let mut connection = session.connect()?;
    connection.follow("org.ostler.Stats", &parameters, |reply| {
        let Some(sample) = take_sample(&mut parts, reply) else { return Ok(true) };
        samples += 1;
        if arguments.watch {
            show_watched(session, &sample, samples)?;
            return Ok(true);
        }
        last = sample;
        Ok(samples < wanted)
    })?;
    if arguments.openmetrics {
        let figures = session.connect()?.call("org.ostler.DaemonStats", &json!({}))?;
        print(super::openmetrics::text(&last, &figures).as_bytes())?;
    } else if !arguments.watch {
        show(session, &last)?;
    }
    Ok(())
}

/// Adds a reply to the sample that it is a part of; the whole sample, once it is complete.
fn take_sample(parts: &mut Vec<Value>, mut reply: Value) -> Option<Vec<Value>> {
    if let Some(Value::Array(stats)) = reply.get_mut("stats").map(Value::take) {
        parts.extend(stats);
    }
    let complete = reply.get("complete").and_then(Value::as_bool).unwrap_or(true);
    complete.then(|| {
        let mut sample = std::mem::take(parts);
        sample.sort_by(|one, other| text_of(one, "name").cmp(text_of(other, "name")));
        sample
    })
}

fn show(session: &Session, sample: &[Value]) -> Result<(), Failure> {
    if session.json {
        return sample.iter().try_for_each(print_json);
    }
    print(table(sample).render(wants_colour()).as_bytes())
}

/// A terminal shows the last sample alone, in place; elsewhere one stands below the other.
fn show_watched(session: &Session, sample: &[Value], number: u64) -> Result<(), Failure> {
    if !session.json && std::io::stdout().is_terminal() {
        print(b"\x1b[H\x1b[2J")?;
    } else if !session.json && number > 1 {
        print(b"\n")?;
    }
    show(session, sample)
}

fn table(sample: &[Value]) -> Table {
    let mut table = Table::new(&[
        "NAME",
        ">PID",
        ">CPU",
        ">MEM",
        ">PEAK",
        ">SWAP",
        ">READ",
        ">WRITE",
        ">PROCESSES",
        ">THREADS",
    ]);
    for task in sample {
        let name = text_of(task, "name");
        table.row(row(name, "", task.get("total").unwrap_or(&Value::Null)));
        let by_pid = task.get("by_pid").and_then(Value::as_object);
        let mut singles: Vec<(&String, &Value)> = by_pid.into_iter().flatten().collect();
        singles.sort_by_key(|(pid, _)| pid.parse::<u32>().unwrap_or(u32::MAX));
        for (pid, usage) in singles {
            table.row(row("", pid, usage));
        }
    }
    table
}

/// A dash is what was not measured.
fn row(name: &str, pid: &str, usage: &Value) -> Vec<Cell> {
    let number = |field: &str| usage.get(field).and_then(Value::as_f64);
    let or_dash = |text: Option<String>| Cell::from(text.unwrap_or_else(|| "-".to_owned()));
    let size = |value: Option<f64>| or_dash(value.map(|bytes| show_size(bytes as u64)));
    let count = |field: &str| or_dash(number(field).map(|value| value.to_string()));
    vec![
        name.into(),
        pid.into(),
        or_dash(number("cpu_percent").map(|percent| format!("{percent:.1}%"))),
        size(number("memory_usage_bytes").or(number("memory_rss_bytes"))),
        size(number("memory_peak_bytes")),
        size(number("memory_swap_bytes")),
        size(number("io_read_bytes")),
        size(number("io_write_bytes")),
        count("processes"),
        count("threads"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let task = json!({
            "name": "web",
            "total": { "cpu_percent": 12.34, "memory_rss_bytes": 2048, "processes": 0 },
            "by_pid": { "10": { "threads": 1 }, "7": { "threads": 3 } },
        });
        let text = table(&[task]).render(false);
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["web", "12.3%", "2.0K", "-", "-", "-", "-", "0", "-"]);
        assert_eq!(words[2], ["7", "-", "-", "-", "-", "-", "-", "-", "3"]);
        assert_eq!(words[3], ["10", "-", "-", "-", "-", "-", "-", "-", "1"]);
    }

    #[test]
    fn a_sample_in_pieces_is_one() {
        let mut parts = Vec::new();
        let piece = |names: &[&str], complete: bool| {
            let stats: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            json!({ "stats": stats, "complete": complete })
        };
        assert_eq!(take_sample(&mut parts, piece(&["c", "b"], false)), None);
        let sample = take_sample(&mut parts, piece(&["a"], true)).unwrap();
        let names: Vec<&str> = sample.iter().map(|task| text_of(task, "name")).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(take_sample(&mut parts, json!({ "stats": [] })), Some(Vec::new()));
    }
}
