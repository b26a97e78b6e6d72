//! Where a stream goes, in a task file.

use super::fields::Fields;
use super::node::Value;
use crate::cli::sink::parse_sink;
use crate::vocabulary::{FileSink, Numbering, Sink};

/// Reads `stdout` or `stderr`: a table, or the short form of the command line.
pub(super) fn read(fields: &mut Fields<'_, '_, '_>, key: &str) -> Option<Sink> {
    let entry = fields.entry(key)?;
    match &entry.node.value {
        Value::String(_) => {
            // The path is made absolute afterwards, so that a directory that cannot be is told.
            let mut sink = fields.parsed(key, |text| parse_sink(text, str::to_owned))?;
            if let Sink::File(FileSink { path, .. }) | Sink::Fifo { path, .. } = &mut sink {
                *path = fields.absolute(key, std::mem::take(path));
            }
            Some(sink)
        }
        _ => read_table(fields, key),
    }
}

/// Reads `stderr`, which may be `"stdout"`: the same sink.
pub(super) fn read_stderr(fields: &mut Fields<'_, '_, '_>, stdout: Option<&Sink>) -> Option<Sink> {
    let entry = fields.entry("stderr")?;
    match &entry.node.value {
        Value::String(text) if text == "stdout" => stdout.cloned(),
        _ => read(fields, "stderr"),
    }
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    Discard,
    Inherit,
    Fifo,
    File,
}

const KINDS: [(&str, Kind); 4] = [
    ("discard", Kind::Discard),
    ("inherit", Kind::Inherit),
    ("fifo", Kind::Fifo),
    ("file", Kind::File),
];

const NUMBERINGS: [(&str, Numbering); 2] =
    [("shift", Numbering::Shift), ("count", Numbering::Count)];

fn read_table(fields: &mut Fields<'_, '_, '_>, key: &str) -> Option<Sink> {
    let place = fields.span(key);
    let table = fields.table(key)?;
    let mut below = fields.below(table, key);
    let kind = below.word("kind", &KINDS);
    if table.get("kind").is_none() {
        let path = below.path.clone();
        below.problems.add(place.clone(), path, "needs kind: discard, inherit, fifo or file");
    }
    let path = below.path("path");
    let max_size = below.size("max_size");
    let max_files = below.integer("max_files", 1..=i64::from(u32::MAX));
    let numbering = below.word("numbering", &NUMBERINGS);
    let direct = below.boolean("direct");
    let needless: &[&str] = match kind {
        Some(Kind::Discard | Kind::Inherit) => {
            &["path", "max_size", "max_files", "numbering", "direct"]
        }
        Some(Kind::Fifo) => &["max_size", "max_files", "numbering"],
        Some(Kind::File) | None => &[],
    };
    let kind_name = kind.map_or("", |kind| KINDS.iter().find(|k| k.1 == kind).map_or("", |k| k.0));
    for key in needless {
        below.refuse(key, &format!("has no meaning with kind {kind_name:?}"));
    }
    if matches!(kind, Some(Kind::Fifo | Kind::File)) && table.get("path").is_none() {
        let field = below.path.clone();
        below.problems.add(place, field, format!("needs a path, as its kind is {kind_name:?}"));
    }
    below.finish();
    Some(match kind? {
        Kind::Discard => Sink::Discard,
        Kind::Inherit => Sink::Inherit,
        Kind::Fifo => Sink::Fifo { path: path?, direct: direct.unwrap_or_default() },
        Kind::File => {
            let default = FileSink::new(path?);
            let max_files = max_files.and_then(|number| u32::try_from(number).ok());
            Sink::File(FileSink {
                max_size,
                max_files: max_files.unwrap_or(default.max_files),
                numbering: numbering.unwrap_or_default(),
                direct: direct.unwrap_or_default(),
                ..default
            })
        }
    })
}
