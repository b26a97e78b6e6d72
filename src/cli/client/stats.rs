//! The verb stats.

use super::session::{Expansion, Session, milliseconds, text_of};
use crate::cli::arguments::StatsArguments;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_json};
use crate::cli::table::{Cell, Table, wants_colour};
use crate::cli::units::show_size;
use serde_json::{Value, json};

/// Shows what tasks use.
pub(crate) fn stats(session: &Session, arguments: &StatsArguments) -> Result<u8, Failure> {
    if arguments.openmetrics {
        return Err(Failure::Other("--openmetrics: not available in this version".to_owned()));
    }
    let expansion = Expansion { states: &["running", "stopping"], may_be_empty: false };
    let (names, complete) = session.expand(&arguments.names, expansion)?;
    if names.is_empty() && !arguments.names.is_empty() {
        return Ok(u8::from(!complete));
    }
    let mut parameters = json!({});
    if !names.is_empty() {
        parameters["names"] = names.into();
    }
    if arguments.by_pid {
        parameters["by_pid"] = true.into();
    }
    let show = |reply: Value| {
        let stats = reply.get("stats").and_then(Value::as_array);
        let stats = stats.into_iter().flatten();
        if session.json {
            return stats.into_iter().try_for_each(print_json);
        }
        print(table(stats).render(wants_colour()).as_bytes())
    };
    let mut connection = session.connect()?;
    if arguments.watch {
        parameters["interval_ms"] = milliseconds(arguments.interval);
        connection.stream("org.ostler.Stats", &parameters, show)?;
    } else {
        show(connection.call("org.ostler.Stats", &parameters)?)?;
    }
    Ok(u8::from(!complete))
}

fn table<'a>(stats: impl Iterator<Item = &'a Value>) -> Table {
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
    for task in stats {
        let name = text_of(task, "name");
        table.row(row(name, "", task.get("total").unwrap_or(&Value::Null)));
        let by_pid = task.get("by_pid").and_then(Value::as_object);
        for (pid, usage) in by_pid.into_iter().flatten() {
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
            "by_pid": { "7": { "threads": 3 } },
        });
        let text = table([task].iter()).render(false);
        let words: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["web", "12.3%", "2.0K", "-", "-", "-", "-", "0", "-"]);
        assert_eq!(words[2], ["7", "-", "-", "-", "-", "-", "-", "-", "3"]);
    }
}
