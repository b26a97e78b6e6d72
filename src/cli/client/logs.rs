//! The verb logs.

use super::connection::Connection;
use super::session::{Expansion, Session, text_of};
use crate::cli::arguments::LogsArguments;
use crate::cli::failure::Failure;
use crate::cli::output::print;
use crate::cli::table::{Tone, paint, wants_colour};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// An unfinished line is held back for its end up to this length, where lines have prefixes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Prints the output of tasks, one stream after the other; with `--follow` as it comes.
pub(crate) fn logs(session: &Session, arguments: &LogsArguments) -> Result<u8, Failure> {
    let expansion = Expansion { states: &[], may_be_empty: false };
    let (names, complete) = session.expand(&arguments.tasks.names, expansion)?;
    let failed = AtomicBool::new(!complete);
    let mut connection = session.connect()?;
    let mut sources = Vec::new();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for name in &names {
        let prefix = (names.len() > 1)
            .then(|| paint(&format!("{name:width$} |"), Tone::Faint, wants_colour()) + " ");
        match streams_of(&mut connection, name, arguments) {
            Ok(streams) => {
                for stream in streams {
                    sources.push(Source { name, stream, prefix: prefix.clone() });
                }
            }
            Err(failure) => {
                session.report_task(name, &failure);
                failed.store(true, Ordering::Relaxed);
            }
        }
    }
    let show = |connection: Result<Connection, Failure>, source: &Source<'_>| {
        let shown = connection.and_then(|mut connection| source.show(&mut connection, arguments));
        match shown {
            Ok(()) => true,
            Err(Failure::OutputClosed) => false,
            Err(failure) => {
                session.report_task(source.name, &failure);
                failed.store(true, Ordering::Relaxed);
                true
            }
        }
    };
    if arguments.follow {
        // Each call holds its connection until the task has ended.
        std::thread::scope(|scope| {
            for source in &sources {
                scope.spawn(|| {
                    if !show(session.connect(), source) {
                        // The other streams may be silent for ever: nobody reads them either.
                        std::process::exit(0);
                    }
                });
            }
        });
    } else {
        for source in &sources {
            if !show(session.connect(), source) {
                break;
            }
        }
    }
    Ok(u8::from(failed.into_inner()))
}

/// The streams to show: the one that is named, else those that are kept in a file, the same file
/// once. Where none is kept, the first, so that the daemon says why there is nothing.
fn streams_of(
    connection: &mut Connection,
    name: &str,
    arguments: &LogsArguments,
) -> Result<Vec<&'static str>, Failure> {
    if arguments.stdout || arguments.stderr {
        return Ok(vec![if arguments.stdout { "stdout" } else { "stderr" }]);
    }
    let reply = connection.call("org.ostler.Inspect", &json!({ "name": name }))?;
    let task = reply.pointer("/status/task").unwrap_or(&Value::Null);
    Ok(kept_streams(task))
}

/// Of a task as Inspect tells it: its streams that are kept in a file, the same file once; where
/// none is, the first.
pub(crate) fn kept_streams(task: &Value) -> Vec<&'static str> {
    let path = |stream: &str| {
        let sink = task.get(stream).filter(|sink| text_of(sink, "kind") == "file")?;
        sink.get("path").and_then(Value::as_str)
    };
    match (path("stdout"), path("stderr")) {
        (Some(out), Some(err)) if out != err => vec!["stdout", "stderr"],
        (None, Some(_)) => vec!["stderr"],
        _ => vec!["stdout"],
    }
}

/// One stream of a task.
struct Source<'a> {
    name: &'a str,
    stream: &'static str,
    /// Before each line, where there are several tasks.
    prefix: Option<String>,
}

impl Source<'_> {
    fn show(&self, connection: &mut Connection, arguments: &LogsArguments) -> Result<(), Failure> {
        let mut parameters = json!({ "name": self.name, "stream": self.stream });
        if let Some(lines) = arguments.lines {
            parameters["lines"] = lines.into();
        }
        let mut held = Vec::new();
        let mut take = |reply: Value| {
            let data = STANDARD.decode(text_of(&reply, "data_base64"));
            let data =
                data.map_err(|error| Failure::Other(format!("the daemon's reply: {error}")))?;
            match &self.prefix {
                None => print(&data),
                Some(prefix) => print(&prefix_lines(prefix, &mut held, &data)),
            }
        };
        if arguments.follow {
            connection.stream("org.ostler.Logs", &parameters, take)?;
        } else {
            take(connection.call("org.ostler.Logs", &parameters)?)?;
        }
        if let Some(prefix) = self.prefix.as_ref().filter(|_| !held.is_empty()) {
            print(&[prefix.as_bytes(), &held, b"\n"].concat())?;
        }
        Ok(())
    }
}

/// The whole lines of what was held and of what has come, each with the prefix. The rest is held.
fn prefix_lines(prefix: &str, held: &mut Vec<u8>, data: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(data.len());
    for part in data.split_inclusive(|&byte| byte == b'\n') {
        held.extend_from_slice(part);
        if held.last() == Some(&b'\n') || held.len() >= LINE_BYTES_MAX {
            lines.extend_from_slice(prefix.as_bytes());
            lines.append(held);
            if lines.last() != Some(&b'\n') {
                lines.push(b'\n');
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_streams_are_shown_and_the_same_file_once() {
        let file = |path: &str| json!({ "kind": "file", "path": path });
        let both = json!({ "stdout": file("/a"), "stderr": file("/b") });
        assert_eq!(kept_streams(&both), ["stdout", "stderr"]);
        let same = json!({ "stdout": file("/a"), "stderr": file("/a") });
        assert_eq!(kept_streams(&same), ["stdout"]);
        assert_eq!(kept_streams(&json!({ "stderr": file("/b") })), ["stderr"]);
        let fifo = json!({ "stdout": { "kind": "fifo", "path": "/f" }, "stderr": file("/b") });
        assert_eq!(kept_streams(&fifo), ["stderr"]);
        assert_eq!(kept_streams(&json!({})), ["stdout"]);
    }

    #[test]
    fn lines_are_prefixed_whole() {
        let mut held = Vec::new();
        assert_eq!(prefix_lines("a| ", &mut held, b"one\ntw"), b"a| one\n");
        assert_eq!(prefix_lines("a| ", &mut held, b"o\n\n"), b"a| two\na| \n");
        assert!(held.is_empty());
        let long = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(prefix_lines("", &mut held, &long).len(), LINE_BYTES_MAX + 1);
    }
}
