//! Reading a JSON object field by field; whatever is left over, or not of its type, is refused with
//! its path.

use crate::vocabulary::{InvalidField, Signal, UnknownSignal};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// Largest number of the protocol: the largest integer that every JSON implementation keeps.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Why parameters were refused.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Refusal {
    /// The field of this path is not known, is missing, or is not of its type.
    Parameter(String),
    /// A field of a task has its type, but cannot be.
    Task(InvalidField),
    /// No such signal.
    Signal(UnknownSignal),
}

type Read<T> = Result<T, Refusal>;

/// The fields of an object that were not read yet. null is absent.
#[derive(Debug)]
pub(crate) struct Fields {
    path: String,
    left: Map<String, Value>,
}

impl Fields {
    /// The fields of `value`, which stands at `path` (empty: the outermost).
    pub(crate) fn of(path: impl Into<String>, value: Value) -> Read<Fields> {
        let path = path.into();
        match value {
            Value::Object(left) => Ok(Fields { path, left }),
            _ => Err(Refusal::Parameter(path)),
        }
    }

    /// The path of a field of this object.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn refused(&self, name: &str) -> Refusal {
        Refusal::Parameter(self.path_of(name))
    }

    /// Takes a field out, whatever its type.
    pub(crate) fn value(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Takes out a field that has to be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Fields, &str) -> Read<Option<T>>,
    ) -> Read<T> {
        read(self, name)?.ok_or_else(|| self.refused(name))
    }

    fn typed<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Option<T>) -> Read<Option<T>> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.refused(name)),
        }
    }

    /// A string without NUL.
    pub(crate) fn string(&mut self, name: &str) -> Read<Option<String>> {
        self.typed(name, text)
    }

    /// A string without NUL that has to be there.
    pub(crate) fn required_string(&mut self, name: &str) -> Read<String> {
        self.required(name, Fields::string)
    }

    /// true or false.
    pub(crate) fn flag(&mut self, name: &str) -> Read<Option<bool>> {
        self.typed(name, |value| value.as_bool())
    }

    /// A number of the protocol: 0 to 2^53-1.
    pub(crate) fn number(&mut self, name: &str) -> Read<Option<u64>> {
        self.typed(name, |value| value.as_u64().filter(|&number| number <= NUMBER_MAX))
    }

    /// A number that may be negative; what does not fit is nearest what does, so that the check of
    /// its range refuses it.
    pub(crate) fn signed(&mut self, name: &str) -> Read<Option<i32>> {
        self.typed(name, |value| {
            let number = value.as_i64().filter(|number| number.unsigned_abs() <= NUMBER_MAX)?;
            Some(number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
        })
    }

    /// A number, or -1 for no limit.
    pub(crate) fn limit(&mut self, name: &str) -> Read<Option<Option<u64>>> {
        self.typed(name, |value| match value.as_i64() {
            Some(-1) => Some(None),
            _ => value.as_u64().filter(|&number| number <= NUMBER_MAX).map(Some),
        })
    }

    /// A number with a fraction, or -1 for no limit.
    pub(crate) fn fraction(&mut self, name: &str) -> Read<Option<Option<f64>>> {
        self.typed(name, |value| match value.as_f64()? {
            -1.0 => Some(None),
            number if number >= 0.0 => Some(Some(number)),
            _ => None,
        })
    }

    /// Milliseconds.
    pub(crate) fn milliseconds(&mut self, name: &str) -> Read<Option<Duration>> {
        Ok(self.number(name)?.map(Duration::from_millis))
    }

    /// One of several names.
    pub(crate) fn one_of<T: Copy>(&mut self, name: &str, of: &[(&str, T)]) -> Read<Option<T>> {
        self.typed(name, |value| {
            let value = value.as_str()?;
            of.iter().find(|(known, _)| *known == value).map(|&(_, meaning)| meaning)
        })
    }

    /// The name or number of a signal.
    pub(crate) fn signal(&mut self, name: &str) -> Read<Option<Signal>> {
        let Some(text) = self.string(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(Refusal::Signal)
    }

    /// A list, each element read by `read` with its path.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        read: impl Fn(&str, Value) -> Read<T>,
    ) -> Read<Option<Vec<T>>> {
        let Some(list) = self.typed(name, |value| match value {
            Value::Array(list) => Some(list),
            _ => None,
        })?
        else {
            return Ok(None);
        };
        let path = self.path_of(name);
        let elements = list.into_iter().enumerate();
        elements
            .map(|(index, value)| read(&format!("{path}[{index}]"), value))
            .collect::<Read<_>>()
            .map(Some)
    }

    /// A list of strings without NUL.
    pub(crate) fn strings(&mut self, name: &str) -> Read<Option<Vec<String>>> {
        self.list(name, |path, value| {
            text(value).ok_or_else(|| Refusal::Parameter(path.to_owned()))
        })
    }

    /// An object with strings as keys and values.
    pub(crate) fn table(&mut self, name: &str) -> Read<Option<BTreeMap<String, String>>> {
        let Some(object) = self.object(name)? else { return Ok(None) };
        let mut table = BTreeMap::new();
        for (key, value) in object.left {
            if value.is_null() {
                continue;
            }
            let path = format!("{}.{key}", object.path);
            match text(value) {
                Some(value) if !key.contains('\0') => table.insert(key, value),
                _ => return Err(Refusal::Parameter(path)),
            };
        }
        Ok(Some(table))
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &str) -> Read<Option<Fields>> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => Fields::of(self.path_of(name), value).map(Some),
        }
    }

    /// Refuses what was not read.
    pub(crate) fn finish(self) -> Read<()> {
        match self.left.iter().find(|(_, value)| !value.is_null()) {
            None => Ok(()),
            Some((name, _)) => Err(self.refused(name)),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.contains('\0') => Some(text),
        _ => None,
    }
}
