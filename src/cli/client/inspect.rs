//! The verb inspect.

use super::session::Session;
use crate::cli::arguments::InspectArguments;
use crate::cli::failure::Failure;
use crate::cli::output::{print, print_json};
use crate::cli::table::{Tone, paint, printable, wants_colour};
use crate::cli::units::{show_duration, show_size};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// The fields that are looked for first; the others follow by name.
const FIRST: [&str; 6] = ["name", "id", "state", "pid", "command", "args"];

/// Shows all that is known of a task.
pub(crate) fn inspect(session: &Session, arguments: &InspectArguments) -> Result<u8, Failure> {
    let parameters = json!({ "name": arguments.name });
    let reply = session.connect()?.call("org.ostler.Inspect", &parameters)?;
    let status = reply.get("status").unwrap_or(&reply);
    if session.json {
        print_json(status)?;
    } else {
        let mut text = String::new();
        show(&mut text, status, 0, wants_colour());
        print(text.as_bytes())?;
    }
    Ok(0)
}

/// Writes an object as `field: value` lines, nested ones indented.
fn show(text: &mut String, object: &Value, depth: usize, coloured: bool) {
    let indent = "  ".repeat(depth);
    let fields: Vec<(String, &Value)> = match object {
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| {
                FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len())
            });
            fields.into_iter().map(|(name, value)| (format!("{name}:"), value)).collect()
        }
        Value::Array(items) => items.iter().map(|value| ("-".to_owned(), value)).collect(),
        _ => return,
    };
    for (name, value) in fields {
        let nested = match value {
            Value::Null => continue,
            Value::Object(fields) => !fields.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        };
        let field = name.trim_end_matches(':');
        let heading = paint(&printable(&name), Tone::Faint, coloured);
        text.push_str(&format!("{indent}{heading}"));
        if nested {
            text.push('\n');
            show(text, value, depth + 1, coloured);
        } else {
            text.push_str(&format!(" {}\n", show_value(field, value)));
        }
    }
}

/// A plain value, with its unit where the field's name has one.
fn show_value(field: &str, value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Number(number) => match (field.rsplit_once('_'), number.as_u64()) {
            (Some((_, "us")), Some(time)) => show_time(time),
            (Some((_, "ms")), Some(span)) => show_duration(Duration::from_millis(span)),
            (Some((_, "bytes")), Some(bytes)) => format!("{bytes} ({})", show_size(bytes)),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A point in time in RFC 3339, in UTC.
pub(crate) fn show_time(time_us: u64) -> String {
    // Later years than the format has are refused by the formatter: show the number then.
    match UNIX_EPOCH.checked_add(Duration::from_micros(time_us)) {
        Some(time) if time_us < 253_402_300_800_000_000 => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => time_us.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_indented_and_units_are_shown() {
        let status = json!({
            "created_us": 1_500_000,
            "exit": { "exit_code": 1 },
            "labels": {},
            "pid": null,
            "name": "web",
            "task": { "args": ["a", "b\n"], "kill_timeout_ms": 5000, "memory_max_bytes": 1024 },
        });
        let mut text = String::new();
        show(&mut text, &status, 0, false);
        let expected = "name: web\n\
                        created_us: 1970-01-01T00:00:01.500Z\n\
                        exit:\n  exit_code: 1\n\
                        labels: {}\n\
                        task:\n  args:\n    - a\n    - b\\n\n  kill_timeout_ms: 5s\n  \
                        memory_max_bytes: 1024 (1.0K)\n";
        assert_eq!(text, expected);
        assert_eq!(show_time(u64::MAX), u64::MAX.to_string());
    }
}
