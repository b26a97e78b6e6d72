//! A connection to the daemon, with failures as the verbs tell them.

use crate::cli::failure::Failure;
use crate::control::{CallError, Client};
use crate::vocabulary::cause;
use serde_json::Value;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A connection to the daemon; calls are answered in order.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    broken: bool,
}

impl Connection {
    /// Connects to the socket at `path`.
    pub(crate) fn open(path: PathBuf) -> Result<Connection, Failure> {
        match Client::connect(&path) {
            Ok(client) => Ok(Connection { client, broken: false }),
            Err(error) => Err(Failure::unreachable(&path, &error)),
        }
    }

    /// Whether no further call can be made on it.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Makes a call and returns the parameters of its reply.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Result<Value, Failure> {
        self.client.call(method, parameters.clone()).map_err(|error| {
            self.broken = !matches!(error, CallError::Remote { .. });
            tell(error)
        })
    }

    /// Makes a call after whose reply the connection carries something else: hands out that
    /// connection, and what has come on it already.
    pub(crate) fn upgrade(
        self,
        method: &str,
        parameters: &Value,
    ) -> Result<(UnixStream, Vec<u8>), Failure> {
        let (_, stream, early) = self.client.upgrade(method, parameters.clone()).map_err(tell)?;
        Ok((stream, early))
    }

    /// Makes a call with several replies, and hands out the parameters of each. After a failure
    /// no further call can be made.
    pub(crate) fn stream(
        &mut self,
        method: &str,
        parameters: &Value,
        mut each: impl FnMut(Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.follow(method, parameters, |reply| each(reply).map(|()| true))
    }

    /// The same, until it is told to go on no more: then no further call can be made either.
    pub(crate) fn follow(
        &mut self,
        method: &str,
        parameters: &Value,
        mut each: impl FnMut(Value) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        self.broken = true;
        for reply in self.client.stream(method, parameters.clone()).map_err(tell)? {
            if !each(reply.map_err(tell)?)? {
                return Ok(());
            }
        }
        self.broken = false;
        Ok(())
    }
}

fn tell(error: CallError) -> Failure {
    match error {
        CallError::Remote { error, parameters } => Failure::Refused { error, parameters },
        CallError::Io(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                Failure::Other("the daemon closed the connection".to_owned())
            }
            _ => Failure::Other(format!("talk to the daemon: {}", cause(&error))),
        },
        CallError::Protocol(why) => Failure::Other(format!("the daemon's answer: {why}")),
    }
}
