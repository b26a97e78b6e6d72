//! Sinks in JSON.

use super::fields::{Fields, Refusal};
use super::task::is_false;
use crate::vocabulary::limits::MAX_FILES_DEFAULT;
use crate::vocabulary::{FileSink, InvalidField, Numbering, Sink};
use serde::Serialize;

/// `Sink` as the protocol has it.
#[derive(Serialize)]
pub(super) struct SinkShape<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_files: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    numbering: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    direct: bool,
}

impl<'a> SinkShape<'a> {
    pub(super) fn of(sink: &'a Sink) -> SinkShape<'a> {
        let mut shape = SinkShape {
            kind: sink.kind(),
            path: sink.path(),
            max_size_bytes: None,
            max_files: None,
            numbering: None,
            direct: false,
        };
        match sink {
            Sink::Discard | Sink::Inherit => {}
            // The protocol has no name for it; like `inherit` it is a stream of the host's.
            Sink::Descriptor(_) => shape.kind = Sink::Inherit.kind(),
            Sink::Fifo { direct, .. } => shape.direct = *direct,
            Sink::File(file) => {
                shape.max_size_bytes = file.max_size;
                shape.max_files = (file.max_files != MAX_FILES_DEFAULT).then_some(file.max_files);
                shape.numbering = match file.numbering {
                    Numbering::Shift => None,
                    Numbering::Count => Some("count"),
                };
                shape.direct = file.direct;
            }
        }
        shape
    }
}

/// A sink as it was asked for: what is absent in one of stderr may come from one of stdout.
#[derive(Clone)]
pub(super) struct AskedSink {
    kind: Kind,
    path: Option<String>,
    max_size: Option<u64>,
    max_files: Option<u64>,
    numbering: Option<Numbering>,
    direct: Option<bool>,
}

#[derive(Copy, Clone, PartialEq)]
enum Kind {
    Discard,
    Inherit,
    Fifo,
    File,
}

impl AskedSink {
    /// Reads a `Sink`.
    pub(super) fn decode(mut fields: Fields) -> Result<AskedSink, Refusal> {
        const KINDS: [(&str, Kind); 4] = [
            ("discard", Kind::Discard),
            ("inherit", Kind::Inherit),
            ("fifo", Kind::Fifo),
            ("file", Kind::File),
        ];
        const NUMBERINGS: [(&str, Numbering); 2] =
            [("shift", Numbering::Shift), ("count", Numbering::Count)];
        let asked = AskedSink {
            kind: fields.required("kind", |fields, name| fields.one_of(name, &KINDS))?,
            path: fields.string("path")?,
            max_size: fields.number("max_size_bytes")?,
            max_files: fields.number("max_files")?,
            numbering: fields.one_of("numbering", &NUMBERINGS)?,
            direct: fields.flag("direct")?,
        };
        fields.finish()?;
        Ok(asked)
    }

    /// Takes what is absent here from `stdout`, if both mean the same path.
    pub(super) fn complete_from(&mut self, stdout: &AskedSink) {
        if self.path.is_none() || self.path != stdout.path || self.kind != stdout.kind {
            return;
        }
        self.max_size = self.max_size.or(stdout.max_size);
        self.max_files = self.max_files.or(stdout.max_files);
        self.numbering = self.numbering.or(stdout.numbering);
        self.direct = self.direct.or(stdout.direct);
    }

    /// The sink, if its fields fit its kind. `stream` is the field of the task.
    pub(super) fn into_sink(self, stream: &str) -> Result<Sink, Refusal> {
        let refuse = |field: &str, reason: &str| {
            let (field, reason) = (format!("{stream}.{field}"), reason.to_owned());
            Err(Refusal::Task(InvalidField { field, reason }))
        };
        let is_file = self.kind == Kind::File;
        let has_path = matches!(self.kind, Kind::Fifo | Kind::File);
        for (field, given, allowed) in [
            ("path", self.path.is_some(), has_path),
            ("max_size_bytes", self.max_size.is_some(), is_file),
            ("max_files", self.max_files.is_some(), is_file),
            ("numbering", self.numbering.is_some(), is_file),
            ("direct", self.direct.is_some(), has_path),
        ] {
            if given && !allowed {
                return refuse(field, "this kind of sink has no such field");
            }
        }
        let direct = self.direct.unwrap_or_default();
        match (self.kind, self.path) {
            (Kind::Discard, _) => Ok(Sink::Discard),
            (Kind::Inherit, _) => Ok(Sink::Inherit),
            (Kind::Fifo | Kind::File, None) => refuse("path", "is missing"),
            (Kind::Fifo, Some(path)) => Ok(Sink::Fifo { path, direct }),
            (Kind::File, Some(path)) => Ok(Sink::File(FileSink {
                max_size: self.max_size,
                // Too many for the type are too many for the check of the task as well.
                max_files: self
                    .max_files
                    .map_or(MAX_FILES_DEFAULT, |n| u32::try_from(n).unwrap_or(u32::MAX)),
                numbering: self.numbering.unwrap_or_default(),
                direct,
                path,
            })),
        }
    }
}
