//! A connection to the daemon, with failures as the verbs tell them.

use crate::cli::failure::Failure;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A connection to the daemon; calls are answered in order.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    broken: bool,
}

impl Connection {
    /// Connects to the socket at `path`.
    pub(crate) fn open(path: PathBuf) -> Result<Connection, Failure> {
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Connection { stream: BufReader::new(stream), broken: false }),
            Err(error) => {
                let reason = match error.kind() {
                    ErrorKind::NotFound => "there is no such socket".to_owned(),
                    ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
                    ErrorKind::PermissionDenied => "permission denied".to_owned(),
                    _ => error.to_string(),
                };
                Err(Failure::NoDaemon { path, reason })
            }
        }
    }

    /// Whether no further call can be made on it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Makes a call and returns the parameters of its reply.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, Failure> {
        self.send(&json!({ "method": method, "parameters": parameters }))?;
        self.receive().map(|(parameters, _)| parameters)
    }

    /// Makes a call with several replies, and hands out the parameters of each.
    pub(crate) fn stream(
        &mut self,
        method: &str,
        parameters: &Value,
        mut each: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.send(&json!({ "method": method, "parameters": parameters, "more": true }))?;
        loop {
            let (parameters, more) = self.receive()?;
            each(parameters).inspect_err(|_| self.broken = true)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn send(&mut self, call: &Value) -> Result<(), Failure> {
        let mut message = call.to_string().into_bytes();
        message.push(0);
        self.stream.get_mut().write_all(&message).map_err(|error| {
            self.broken = true;
            Failure::Other(format!("send to the daemon: {error}"))
        })
    }

    fn receive(&mut self) -> Result<(Value, bool), Failure> {
        let outcome = self.read_message();
        self.broken |= outcome.is_err();
        let mut reply = outcome?;
        let parameters = reply.get_mut("parameters").map_or_else(|| json!({}), Value::take);
        match reply.get("error").and_then(Value::as_str) {
            Some(error) => Err(Failure::Refused { error: error.to_owned(), parameters }),
            None => Ok((parameters, reply.get("continues") == Some(&Value::Bool(true)))),
        }
    }

    fn read_message(&mut self) -> Result<Value, Failure> {
        let mut message = Vec::new();
        match self.stream.read_until(0, &mut message) {
            Err(error) => Err(Failure::Other(format!("hear from the daemon: {error}"))),
            Ok(_) if message.pop() != Some(0) => {
                Err(Failure::Other("the daemon closed the connection".to_owned()))
            }
            Ok(_) => serde_json::from_slice(&message)
                .map_err(|error| Failure::Other(format!("the daemon's reply: {error}"))),
        }
    }
}
