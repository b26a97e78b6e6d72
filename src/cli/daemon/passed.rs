//! What the service manager of the daemon has passed to it at its start.

use crate::control::passed_descriptors;
use crate::keeper::EXITS_NAME;
use crate::sys::{pipe, unix_socket};
use crate::vocabulary::cause;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// Descriptors by what they are for.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Sockets to serve on.
    pub(super) listeners: Vec<UnixListener>,
    /// Streams of tasks, with the names under which an earlier daemon has stored them.
    pub(super) streams: Vec<(String, OwnedFd)>,
    /// Where a keeper tells how processes have ended that earlier daemons have left.
    pub(super) exits: Option<OwnedFd>,
}

impl Passed {
    /// Takes them; nothing else may have been opened before.
    pub(super) fn take() -> Result<Passed, String> {
        let mut passed = Passed::default();
        let all = passed_descriptors().map_err(|error| format!("LISTEN_FDS: {}", cause(&error)))?;
        for (index, (name, fd)) in all.into_iter().enumerate() {
            let is_pipe = pipe::is_pipe(fd.as_fd());
            match name {
                Some(name) if name == EXITS_NAME && is_pipe => passed.exits = Some(fd),
                Some(name) if is_pipe => passed.streams.push((name, fd)),
                _ if unix_socket::is_listening(fd.as_fd()) => passed.listeners.push(fd.into()),
                _ => {
                    let number = index + 1;
                    let why = "is neither a listening Unix socket nor a stored stream";
                    return Err(format!("LISTEN_FDS: number {number} {why}"));
                }
            }
        }
        Ok(passed)
    }
}
