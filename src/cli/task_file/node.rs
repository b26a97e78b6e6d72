//! A task file as a tree whose every part knows its place, whether it was TOML or JSON.

use super::problem::Problems;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) span: Option<Range<usize>>,
    pub(super) value: Value,
}

/// What a task file can hold.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// Something that no field takes, by what it is.
    Other(&'static str),
}

/// A key of a table.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Option<Range<usize>>,
    pub(super) node: Node,
}

/// Keys and values, in the order of the file.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Table(pub(super) Vec<Entry>);

impl Table {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|entry| entry.key != key);
    }

    /// The place of what a path such as `env[3]` or `restart.interval_ms` names, or of the last
    /// part of it that there is.
    pub(super) fn locate(&self, path: &str) -> Option<Range<usize>> {
        let path = path.strip_suffix("_ms").or(path.strip_suffix("_bytes")).unwrap_or(path);
        let mut parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
        let mut node = &self.get(parts.next()?)?.node;
        for part in parts {
            let inner = match &node.value {
                Value::Table(table) => table.get(part).map(|entry| &entry.node),
                Value::Array(nodes) => part.parse().ok().and_then(|n: usize| nodes.get(n)),
                _ => None,
            };
            match inner {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.span.clone()
    }
}

impl Node {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Reads TOML; each error of its syntax is noted, and what could be read nevertheless is returned.
pub(super) fn from_toml(text: &str, problems: &mut Problems<'_>) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        problems.add(error.span(), "", error.message());
    }
    toml_table(table.get_ref())
}

fn toml_table(table: &DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().clone().into_owned(),
            span: Some(key.span()),
            node: toml_node(value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.span.as_ref().map(|span| span.start));
    Table(entries)
}

fn toml_node(value: &Spanned<DeValue<'_>>) -> Node {
    let tree = match value.get_ref() {
        DeValue::String(text) => Value::String(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number too large"), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Value::Other("a number too large"), Value::Float)
        }
        DeValue::Boolean(on) => Value::Boolean(*on),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(array) => Value::Array(array.iter().map(toml_node).collect()),
        DeValue::Table(table) => Value::Table(toml_table(table)),
    };
    Node { span: Some(value.span()), value: tree }
}

/// Reads JSON. Only its syntax errors have a place.
pub(super) fn json(text: &str, problems: &mut Problems<'_>) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error: serde_json::Error| {
        let message = error.to_string();
        let reason = message.rsplit_once(" at line ").map_or(&*message, |(reason, _)| reason);
        problems.add_at(error.line(), error.column(), reason);
        serde_json::Value::Object(serde_json::Map::new())
    })
}

pub(super) fn from_json(value: serde_json::Value, problems: &mut Problems<'_>) -> Table {
    match value {
        serde_json::Value::Object(object) => json_table(object),
        _ => {
            problems.add(None, "", "must be an object");
            Table::default()
        }
    }
}

fn json_table(object: serde_json::Map<String, serde_json::Value>) -> Table {
    let entry = |(key, value)| Entry { key, span: None, node: json_node(value) };
    // null and absent are the same.
    Table(object.into_iter().filter(|(_, value)| !value.is_null()).map(entry).collect())
}

fn json_node(value: serde_json::Value) -> Node {
    let tree = match value {
        serde_json::Value::Null => Value::Other("null"),
        serde_json::Value::Bool(on) => Value::Boolean(on),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Integer(number),
            (None, Some(number)) => Value::Float(number),
            (None, None) => Value::Other("a number too large"),
        },
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(values) => {
            Value::Array(values.into_iter().map(json_node).collect())
        }
        serde_json::Value::Object(object) => Value::Table(json_table(object)),
    };
    Node { span: None, value: tree }
}
