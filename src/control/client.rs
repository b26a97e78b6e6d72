//! A blocking client.

use crate::vocabulary::cause;
use crate::vocabulary::limits::MESSAGE_BYTES_MAX;
use serde_json::{Value, json};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A connection to a server, for one call at a time. It waits without limit.
///
/// ```no_run
/// use ostler::control::Client;
/// use serde_json::json;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = Client::connect("/run/ostler/ostler.sock")?;
/// let launched = client.call("org.ostler.Launch", json!({"task": {"command": "sleep"}}))?;
/// println!("{}", launched["status"]["name"]);
/// for reply in client.stream("org.ostler.Events", json!({}))? {
///     println!("{}", reply?["events"]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Why there is no answer, or none that was hoped for.
#[derive(Debug)]
#[non_exhaustive]
pub enum CallError {
    /// The connection failed.
    Io(io::Error),
    /// The server answered with an error.
    Remote {
        /// `org.ostler.NoSuchTask`.
        error: String,
        /// An object.
        parameters: Value,
    },
    /// The server sent what is no reply.
    Protocol(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Io(error) => f.write_str(&cause(error)),
            CallError::Remote { error, parameters } => write!(f, "{error} {parameters}"),
            CallError::Protocol(text) => write!(f, "not a reply of the protocol: {text}"),
        }
    }
}

impl std::error::Error for CallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            CallError::Io(error) => Some(error),
            CallError::Remote { .. } | CallError::Protocol(_) => None,
        }
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> CallError {
        CallError::Io(error)
    }
}

impl Client {
    /// Connects to the socket of a daemon.
    ///
    /// # Errors
    /// As connect(2).
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Client> {
        UnixStream::connect(path).map(Client::new)
    }

    /// Talks over a connected socket.
    pub fn new(stream: UnixStream) -> Client {
        Client { stream: BufReader::new(stream) }
    }

    /// Calls a method by its full name, and waits for the one reply.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, CallError> {
        if let Err(error) = self.send(&json!({ "method": method, "parameters": parameters })) {
            return Err(self.refusal(error));
        }
        match self.receive()? {
            (reply, false) => Ok(reply),
            (_, true) => Err(CallError::Protocol("more than one reply".to_owned())),
        }
    }

    /// Calls a method that answers with as many replies as it takes. They have to be read to the
    /// end before the next call.
    ///
    /// # Errors
    /// When the call cannot be sent.
    pub fn stream(&mut self, method: &str, parameters: Value) -> Result<Replies<'_>, CallError> {
        let call = json!({ "method": method, "parameters": parameters, "more": true });
        match self.send(&call) {
            Ok(()) => Ok(Replies { client: self, over: false }),
            Err(error) => Err(self.refusal(error)),
        }
    }

    /// Calls a method after whose reply the connection carries something else. The answer: the
    /// reply, the connection, and what of that something has come already.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn upgrade(
        mut self,
        method: &str,
        parameters: Value,
    ) -> Result<(Value, UnixStream, Vec<u8>), CallError> {
        let call = json!({ "method": method, "parameters": parameters, "upgrade": true });
        if let Err(error) = self.send(&call) {
            return Err(self.refusal(error));
        }
        match self.receive()? {
            (reply, false) => {
                let early = self.stream.buffer().to_vec();
                Ok((reply, self.stream.into_inner(), early))
            }
            (_, true) => Err(CallError::Protocol("more than one reply".to_owned())),
        }
    }

    /// Calls a method and wants no answer.
    ///
    /// # Errors
    /// When the call cannot be sent.
    pub fn send_oneway(&mut self, method: &str, parameters: Value) -> Result<(), CallError> {
        let call = json!({ "method": method, "parameters": parameters, "oneway": true });
        Ok(self.send(&call)?)
    }

    /// The connection itself.
    pub fn socket(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    fn send(&mut self, call: &Value) -> io::Result<()> {
        let mut message = call.to_string().into_bytes();
        message.push(0);
        self.stream.get_mut().write_all(&message)
    }

    /// Why a call could not be sent: a server that refuses a connection says why before it closes
    /// it, perhaps before the call was sent.
    fn refusal(&mut self, error: io::Error) -> CallError {
        match self.receive() {
            Err(refused @ CallError::Remote { .. }) => refused,
            _ => error.into(),
        }
    }

    fn receive(&mut self) -> Result<(Value, bool), CallError> {
        let mut message = Vec::new();
        (&mut self.stream).take(MESSAGE_BYTES_MAX as u64).read_until(0, &mut message)?;
        if message.pop() != Some(0) {
            return Err(if message.len() + 1 >= MESSAGE_BYTES_MAX {
                CallError::Protocol(format!("it is longer than {MESSAGE_BYTES_MAX} bytes"))
            } else {
                let text = "the connection was closed before the answer";
                CallError::Io(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            });
        }
        let reply = serde_json::from_slice(&message);
        let Ok(Value::Object(mut reply)) = reply else {
            return Err(CallError::Protocol("it is no JSON object".to_owned()));
        };
        let parameters = reply.remove("parameters").unwrap_or_else(|| json!({}));
        match reply.remove("error") {
            Some(Value::String(error)) => Err(CallError::Remote { error, parameters }),
            Some(Value::Null) | None => {
                Ok((parameters, reply.get("continues") == Some(&Value::Bool(true))))
            }
            Some(_) => Err(CallError::Protocol("its error is no string".to_owned())),
        }
    }
}

/// The replies to one call, each as it comes. Ends after the last one or an error.
#[derive(Debug)]
pub struct Replies<'a> {
    client: &'a mut Client,
    over: bool,
}

impl Iterator for Replies<'_> {
    type Item = Result<Value, CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let reply = self.client.receive();
        self.over = !matches!(reply, Ok((_, true)));
        Some(reply.map(|(parameters, _)| parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(answers: &[u8]) -> (Client, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(answers).expect("room");
        (Client::new(ours), theirs)
    }

    #[test]
    fn one_call_one_reply() {
        let answers = b"{\"parameters\":{\"a\":1}}\0{\"error\":\"x.Y\",\"parameters\":{\"b\":2}}\0";
        let (mut client, mut server) = client_of(answers);
        assert_eq!(client.call("x.A", json!({"c": 3})).unwrap(), json!({"a": 1}));
        let Err(CallError::Remote { error, parameters }) = client.call("x.B", json!({})) else {
            panic!("an error");
        };
        assert_eq!((error.as_str(), parameters), ("x.Y", json!({"b": 2})));
        drop(client);
        let mut sent = String::new();
        server.read_to_string(&mut sent).unwrap();
        let calls: Vec<Value> = sent
            .split_terminator('\0')
            .map(|call| serde_json::from_str(call).expect("JSON"))
            .collect();
        assert_eq!(
            calls,
            [
                json!({"method": "x.A", "parameters": {"c": 3}}),
                json!({"method": "x.B", "parameters": {}})
            ]
        );
    }

    #[test]
    fn replies_end_with_the_last_one() {
        let answers =
            b"{\"parameters\":{\"a\":1},\"continues\":true}\0{\"parameters\":{\"a\":2}}\0";
        let (mut client, _server) = client_of(answers);
        let replies = client.stream("x.A", json!({})).unwrap();
        let values: Vec<Value> = replies.map(Result::unwrap).collect();
        assert_eq!(values, [json!({"a": 1}), json!({"a": 2})]);
    }

    #[test]
    fn a_refusal_is_read_also_when_the_call_cannot_be_sent() {
        let (mut client, server) = client_of(b"{\"error\":\"x.No\"}\0");
        drop(server);
        let error = client.call("x.A", json!({})).unwrap_err();
        assert!(matches!(error, CallError::Remote { error, .. } if error == "x.No"));
        let error = client.call("x.A", json!({})).unwrap_err();
        assert!(matches!(error, CallError::Io(_)));
        let (mut client, server) = client_of(b"{\"error\":\"x.No\"}\0");
        drop(server);
        let error = client.stream("x.A", json!({})).map(drop).unwrap_err();
        assert!(matches!(error, CallError::Remote { error, .. } if error == "x.No"));
    }
}
