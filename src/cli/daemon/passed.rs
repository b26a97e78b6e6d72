//! What the service manager of the daemon has passed to it at its start.

use crate::control::{Socket, passed_descriptors};
use crate::keeper::EXITS_NAME;
use crate::reactor::Manager;
use crate::sys::{pipe, unix_socket};
use crate::vocabulary::cause;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// Descriptors by what they are for.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// Sockets to serve on.
    pub(super) listeners: Vec<UnixListener>,
    /// Sockets that earlier daemons have made and stored, by their names.
    pub(super) stored_sockets: Vec<(String, UnixListener)>,
    /// What is kept for the supervisor.
    pub(super) manager: Manager,
}

impl Passed {
    /// Takes them; nothing else may have been opened before.
    pub(super) fn take() -> Result<Passed, String> {
        let mut passed = Passed::default();
        let all = passed_descriptors().map_err(|error| format!("LISTEN_FDS: {}", cause(&error)))?;
        for (index, (name, fd)) in all.into_iter().enumerate() {
            let is_pipe = pipe::is_pipe(fd.as_fd());
            match name {
                Some(name) if name == EXITS_NAME && is_pipe => {
                    passed.manager.exits = Some(Arc::new(fd));
                }
                Some(name) if is_pipe => passed.manager.stored.push((name, Arc::new(fd))),
                name if unix_socket::is_listening(fd.as_fd()) => match name {
                    Some(name) if Socket::is_stored_name(&name) => {
                        passed.stored_sockets.push((name, fd.into()));
                    }
                    _ => passed.listeners.push(fd.into()),
                },
                _ => {
                    let number = index + 1;
                    let why = "is neither a listening Unix socket nor a stored stream";
                    return Err(format!("LISTEN_FDS: number {number} {why}"));
                }
            }
        }
        // Without a store, or without a word of it, there is nobody to send descriptors to.
        let most = std::env::var("FDSTORE").ok().and_then(|most| most.parse().ok()).unwrap_or(0);
        passed.manager.most = most;
        passed.manager.socket = std::env::var_os("NOTIFY_SOCKET").filter(|_| most > 0);
        Ok(passed)
    }
}
