//! Takes the fields of one table, noting what is of the wrong kind, and the keys that none asked
//! for.

use super::node::{Entry, Node, Table, Value};
use super::problem::{Problems, suggestion};
use crate::cli::units::{parse_duration, parse_size};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

/// The fields of one table.
#[derive(Debug)]
pub(super) struct Fields<'t, 'p, 'x> {
    table: &'t Table,
    /// `task.web.restart`.
    pub(super) path: String,
    /// Where it stands, for what cannot be told at one of its keys.
    pub(super) place: Option<Range<usize>>,
    /// Relative paths start here.
    pub(super) directory: &'t Path,
    asked: Vec<String>,
    /// Keys that have a meaning elsewhere only.
    refused: Vec<String>,
    pub(super) problems: &'p mut Problems<'x>,
}

impl<'t, 'p, 'x> Fields<'t, 'p, 'x> {
    pub(super) fn new(
        table: &'t Table,
        path: impl Into<String>,
        directory: &'t Path,
        problems: &'p mut Problems<'x>,
    ) -> Fields<'t, 'p, 'x> {
        let (asked, refused) = (Vec::new(), Vec::new());
        Fields { table, path: path.into(), place: None, directory, asked, refused, problems }
    }

    /// The fields of a table below this one.
    pub(super) fn below<'s>(&'s mut self, table: &'t Table, key: &str) -> Fields<'t, 's, 'x> {
        let (path, place) = (self.path_of(key), self.span(key));
        Fields { place, ..Fields::new(table, path, self.directory, self.problems) }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The entry of a key, which is known from now on.
    pub(super) fn entry(&mut self, key: &str) -> Option<&'t Entry> {
        self.ask(key);
        self.table.get(key)
    }

    fn ask(&mut self, key: &str) {
        if !self.asked.iter().any(|asked| asked == key) {
            self.asked.push(key.to_owned());
        }
    }

    pub(super) fn wrong(&mut self, key: &str, node: &Node, reason: impl Into<String>) {
        let path = self.path_of(key);
        self.problems.add(node.span.clone(), path, reason);
    }

    fn wrong_kind(&mut self, key: &str, node: &Node, expected: &str) {
        self.wrong(key, node, format!("must be {expected}, not {}", node.kind()));
    }

    pub(super) fn string(&mut self, key: &str) -> Option<String> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.wrong_kind(key, node, "a string");
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::Boolean(on) => Some(*on),
            _ => {
                self.wrong_kind(key, node, "true or false");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::Integer(number) if range.contains(number) => Some(*number),
            Value::Integer(_) => {
                let (low, high) = range.into_inner();
                self.wrong(key, node, format!("must be {low} to {high}"));
                None
            }
            _ => {
                self.wrong_kind(key, node, "a whole number");
                None
            }
        }
    }

    /// A string that is one of several words.
    pub(super) fn word<T: Copy>(&mut self, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        let given = self.string(key)?;
        let node = &self.table.get(key)?.node;
        // Both on_failure and on-failure are accepted.
        let found = words.iter().find(|(word, _)| *word == given.replace('-', "_"));
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(key, node, format!("{given:?} is not one of {}", all.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A string that `parse` understands.
    pub(super) fn parsed<T, E: ToString>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(key)?;
        let node = &self.table.get(key)?.node;
        parse(&text).map_err(|error| self.wrong(key, node, error.to_string())).ok()
    }

    pub(super) fn text_of<T: FromStr<Err: ToString>>(&mut self, key: &str) -> Option<T> {
        self.parsed(key, T::from_str)
    }

    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::String(text) => {
                parse_duration(text).map_err(|error| self.wrong(key, node, error)).ok()
            }
            Value::Integer(0) => Some(Duration::ZERO),
            _ => {
                self.wrong_kind(key, node, "a string with a unit, such as \"5s\" or \"500ms\"");
                None
            }
        }
    }

    pub(super) fn size(&mut self, key: &str) -> Option<u64> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::String(text) => {
                parse_size(text).map_err(|error| self.wrong(key, node, error)).ok()
            }
            _ => {
                self.wrong_kind(key, node, "a string such as \"64M\"");
                None
            }
        }
    }

    /// A path, made absolute with the file's directory.
    pub(super) fn path(&mut self, key: &str) -> Option<String> {
        let text = self.string(key)?;
        Some(self.absolute(key, text))
    }

    pub(super) fn absolute(&mut self, key: &str, path: String) -> String {
        if path.is_empty() || path.starts_with('/') {
            return path;
        }
        match std::path::absolute(self.directory.join(&path)).map(|p| p.into_os_string()) {
            Ok(full) => full.into_string().unwrap_or_else(|full| {
                let reason = format!("{} is not UTF-8, write an absolute path", full.display());
                let span = self.table.get(key).and_then(|entry| entry.node.span.clone());
                let field = self.path_of(key);
                self.problems.add(span, field, reason);
                path
            }),
            // Only an empty path or an unreadable current directory; validation refuses it then.
            Err(_) => path,
        }
    }

    /// The values of a list, each as a node.
    pub(super) fn list(&mut self, key: &str) -> Option<&'t [Node]> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::Array(nodes) => Some(nodes),
            _ => {
                self.wrong_kind(key, node, "a list");
                None
            }
        }
    }

    pub(super) fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let mut strings = Vec::new();
        for (index, node) in self.list(key)?.iter().enumerate() {
            match &node.value {
                Value::String(text) => strings.push(text.clone()),
                _ => self.wrong_kind(&format!("{key}[{index}]"), node, "a string"),
            }
        }
        Some(strings)
    }

    pub(super) fn table(&mut self, key: &str) -> Option<&'t Table> {
        let node = &self.entry(key)?.node;
        match &node.value {
            Value::Table(table) => Some(table),
            _ => {
                self.wrong_kind(key, node, "a table");
                None
            }
        }
    }

    /// A table whose keys are free and whose values are strings, or numbers where `numbers`.
    pub(super) fn map(&mut self, key: &str, numbers: bool) -> Option<BTreeMap<String, String>> {
        let mut map = BTreeMap::new();
        for entry in &self.table(key)?.0 {
            match &entry.node.value {
                Value::String(text) => drop(map.insert(entry.key.clone(), text.clone())),
                Value::Integer(number) if numbers => {
                    map.insert(entry.key.clone(), number.to_string());
                }
                _ => self.wrong_kind(&format!("{key}.{}", entry.key), &entry.node, "a string"),
            }
        }
        Some(map)
    }

    /// Notes that a key is needed.
    pub(super) fn missing(&mut self, key: &str) {
        let first = self.table.0.first().and_then(|entry| entry.span.clone());
        let (place, path) = (first.or_else(|| self.place.clone()), self.path.clone());
        self.problems.add(place, path, format!("needs {key}"));
    }

    /// Refuses a key that has a meaning elsewhere.
    pub(super) fn refuse(&mut self, key: &str, reason: &str) {
        self.refused.push(key.to_owned());
        if let Some(entry) = self.table.get(key) {
            let path = self.path_of(key);
            self.problems.add(entry.span.clone(), path, reason);
        }
    }

    /// Notes each key that was not asked for.
    pub(super) fn finish(self) {
        let known = self.asked.iter().filter(|key| !self.refused.contains(key));
        let known: Vec<&str> = known.map(String::as_str).collect();
        for entry in &self.table.0 {
            if !self.asked.contains(&entry.key) && !self.refused.contains(&entry.key) {
                let hint = match suggestion(&entry.key, known.iter().copied()) {
                    Some(meant) => format!(", did you mean {meant:?}?"),
                    None => format!(", known are {}", known.join(", ")),
                };
                let reason = format!("unknown key {:?}{hint}", entry.key);
                self.problems.add(entry.span.clone(), self.path.clone(), reason);
            }
        }
    }

    /// The place of this table's key.
    pub(super) fn span(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).and_then(|entry| entry.node.span.clone())
    }
}
