//! One message of a client: JSON text to a call.

use crate::vocabulary::limits::JSON_DEPTH_MAX;
use serde_json::{Map, Value};

/// A call, its parameters not looked at yet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Call {
    /// `org.ostler.Launch`.
    pub(crate) method: String,
    /// An object, empty where there were none.
    pub(crate) parameters: Value,
    /// More than one reply is welcome.
    pub(crate) more: bool,
    /// No reply is wanted.
    pub(crate) oneway: bool,
    /// The connection is to carry something else after the reply.
    pub(crate) upgrade: bool,
}

/// A message that is no call.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Malformed {
    /// This part of it is not known, missing or not of its type; what follows it can be read.
    Field(String),
    /// Not JSON, or nested too deeply: whether an answer is due is not known, so that nothing
    /// after it can be answered in order.
    Json,
}

/// Reads a message without its terminator.
pub(crate) fn parse(message: &[u8]) -> Result<Call, Malformed> {
    if depth(message) > JSON_DEPTH_MAX {
        return Err(Malformed::Json);
    }
    let Ok(text) = std::str::from_utf8(message) else {
        return Err(not_utf8(message));
    };
    let Ok(Value::Object(mut object)) = serde_json::from_str(text) else {
        return Err(Malformed::Json);
    };
    let Some(Value::String(method)) = object.remove("method") else {
        return Err(Malformed::Field("method".to_owned()));
    };
    let parameters = match object.remove("parameters") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(parameters @ Value::Object(_)) => parameters,
        Some(_) => return Err(Malformed::Field("parameters".to_owned())),
    };
    let mut flag = |name: &str| match object.remove(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(Malformed::Field(name.to_owned())),
    };
    let (more, oneway, upgrade) = (flag("more")?, flag("oneway")?, flag("upgrade")?);
    match object.into_iter().find(|(_, value)| !value.is_null()) {
        None => Ok(Call { method, parameters, more, oneway, upgrade }),
        Some((unknown, _)) => Err(Malformed::Field(unknown)),
    }
}

/// How deep objects and lists are nested, without building anything.
fn depth(message: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in message {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Names the parameter that holds what is not UTF-8. Its text is only looked at, never used.
fn not_utf8(message: &[u8]) -> Malformed {
    let text = String::from_utf8_lossy(message);
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(object)) => {
            let place = object.get("parameters").and_then(|parameters| replaced(parameters, ""));
            Malformed::Field(place.unwrap_or_else(|| "method".to_owned()))
        }
        _ => Malformed::Json,
    }
}

/// The path of the first string with a replacement character.
fn replaced(value: &Value, path: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\u{fffd}').then(|| path.to_owned()),
        Value::Array(list) => (list.iter().enumerate())
            .find_map(|(index, element)| replaced(element, &format!("{path}[{index}]"))),
        Value::Object(object) => object.iter().find_map(|(key, value)| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            if key.contains('\u{fffd}') { Some(path) } else { replaced(value, &path) }
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(name: &str) -> Result<Call, Malformed> {
        Err(Malformed::Field(name.to_owned()))
    }

    #[test]
    fn a_call_has_a_method_and_perhaps_more() {
        let plain = Call {
            method: "a.B".into(),
            parameters: json!({}),
            more: false,
            oneway: false,
            upgrade: false,
        };
        assert_eq!(parse(br#"{"method":"a.B"}"#), Ok(plain.clone()));
        assert_eq!(
            parse(br#"{"method":"a.B","parameters":null,"more":null,"x":null}"#),
            Ok(plain.clone())
        );
        let call = parse(br#"{"method":"a.B","parameters":{"x":[1]},"more":true,"oneway":true}"#);
        let parameters = json!({"x": [1]});
        assert_eq!(call, Ok(Call { parameters, more: true, oneway: true, ..plain }));
    }

    #[test]
    fn what_is_no_call_is_said_to_be_none() {
        assert_eq!(parse(b"{}"), field("method"));
        assert_eq!(parse(br#"{"method":1}"#), field("method"));
        assert_eq!(parse(br#"{"method":"a","parameters":[]}"#), field("parameters"));
        assert_eq!(parse(br#"{"method":"a","more":1}"#), field("more"));
        assert_eq!(parse(br#"{"method":"a","mor":true}"#), field("mor"));
        for text in [&b""[..], b"x", b"[]", b"1", b"{\"method\":\"a\"} x", b"{\"method\":\"a\""] {
            assert_eq!(parse(text), Err(Malformed::Json), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_utf8_is_named() {
        let message = b"{\"method\":\"a\",\"parameters\":{\"task\":{\"env\":[\"a=\",\"b=\xff\"]}}}";
        assert_eq!(parse(message), field("task.env[1]"));
        assert_eq!(parse(b"{\"method\":\"a\xff\"}"), field("method"));
        assert_eq!(parse(b"{\"method\":\"a\", \xff}"), Err(Malformed::Json));
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_read() {
        let nested = |levels: usize| {
            let inner = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            format!("{{\"method\":\"a\",\"parameters\":{{\"x\":{inner}}}}}").into_bytes()
        };
        assert!(parse(&nested(JSON_DEPTH_MAX - 2)).is_ok());
        assert_eq!(parse(&nested(JSON_DEPTH_MAX - 1)), Err(Malformed::Json));
        assert_eq!(parse(&vec![b'['; 1 << 20]), Err(Malformed::Json));
        assert_eq!(depth(br#"{"a":"[[[[\"[["}"#), 1);
    }
}
