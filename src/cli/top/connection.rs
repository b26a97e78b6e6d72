//! A connection to the daemon that is never waited for.

use crate::cli::failure::Failure;
use crate::sys::channel::Channel;
use crate::vocabulary::limits::MESSAGE_BYTES_MAX;
use nix::errno::Errno;
use serde_json::{Value, json};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Read at once: keys are looked at in between.
const READ_BYTES: usize = 256 << 10;

/// A connection with one call at a time.
#[derive(Debug)]
pub(super) struct Connection {
    channel: Channel,
    input: Vec<u8>,
    /// Of the input, what was handed out already.
    taken: usize,
}

impl Connection {
    /// Connects, and makes a call.
    pub(super) fn call(path: &Path, method: &str, parameters: &Value) -> Result<Self, Failure> {
        let stream =
            UnixStream::connect(path).map_err(|error| Failure::unreachable(path, &error))?;
        let channel = Channel::of_socket(stream.into());
        let mut connection = Connection { channel, input: Vec::new(), taken: 0 };
        connection.send(method, parameters)?;
        Ok(connection)
    }

    /// Makes another call; the one before has been answered.
    pub(super) fn send(&mut self, method: &str, parameters: &Value) -> Result<(), Failure> {
        let more = matches!(method, "List" | "Events" | "Stats" | "Logs");
        let method = format!("org.ostler.{method}");
        let call = json!({ "method": method, "parameters": parameters, "more": more });
        let message = [call.to_string().as_bytes(), b"\0"].concat();
        match self.channel.write(&message) {
            Ok(sent) if sent == message.len() => Ok(()),
            // It fits the buffer of a socket that nothing else is on the way in.
            Ok(_) | Err(Errno::EAGAIN) => {
                Err(Failure::Other("the daemon does not read what it is asked".to_owned()))
            }
            // It may have said why before it closed the connection.
            Err(Errno::EPIPE | Errno::ECONNRESET) => Ok(()),
            Err(errno) => Err(Failure::Other(format!("talk to the daemon: {}", errno.desc()))),
        }
    }

    /// Takes in what has come, or some of it; false: the daemon has closed the connection.
    pub(super) fn receive(&mut self) -> Result<bool, Failure> {
        self.input.drain(..self.taken);
        self.taken = 0;
        let length = self.input.len();
        self.input.resize(length + READ_BYTES, 0);
        let got = self.channel.read(self.input.get_mut(length..).unwrap_or_default());
        self.input.truncate(length + got.unwrap_or(0));
        match got {
            Ok(0) | Err(Errno::ECONNRESET | Errno::EPIPE) => Ok(false),
            Ok(_) if length >= MESSAGE_BYTES_MAX => {
                let why = format!("the daemon's answer is longer than {MESSAGE_BYTES_MAX} bytes");
                Err(Failure::Other(why))
            }
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(true),
            Err(errno) => Err(Failure::Other(format!("talk to the daemon: {}", errno.desc()))),
        }
    }

    /// The next message that has come whole, without its terminator.
    pub(super) fn next_message(&mut self) -> Option<&[u8]> {
        let rest = self.input.get(self.taken..)?;
        let length = rest.iter().position(|&byte| byte == 0)?;
        let start = self.taken;
        self.taken += length + 1;
        self.input.get(start..start + length)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
