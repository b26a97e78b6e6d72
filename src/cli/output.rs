//! Standard output and standard error of the verbs.

use super::complain::complain;
use super::failure::Failure;
use crate::vocabulary::cause;
use serde_json::Value;
use std::io::{self, ErrorKind, Write};

/// Writes to standard output at once, so that a pipe sees each line when it happens.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(Failure::Other(format!("write standard output: {}", cause(&error)))),
    }
}

/// Writes a line.
pub(crate) fn print_line(line: &str) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Writes a value of the protocol as one line of JSON; what is null is left out.
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print_line(&without_null(value).to_string())
}

fn without_null(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name.clone(), without_null(field)))
            .collect(),
        Value::Array(items) => items.iter().map(without_null).collect(),
        other => other.clone(),
    }
}

/// Says `ostler: WHAT: WHY` on standard error, or the failure as lines of JSON.
pub(crate) fn report(what: &str, failure: &Failure, json: bool) {
    match failure {
        Failure::OutputClosed => {}
        failure if json => {
            for object in failure.to_json() {
                // Where standard error is closed there is nobody to tell.
                let _ = writeln!(io::stderr(), "{object}");
            }
        }
        failure => complain(what, failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_fields_are_left_out() {
        let value = json!({ "a": null, "b": [{ "c": null, "d": 0 }], "e": "" });
        assert_eq!(without_null(&value), json!({ "b": [{ "d": 0 }], "e": "" }));
    }
}
