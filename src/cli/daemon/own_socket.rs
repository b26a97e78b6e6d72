//! The daemon's own socket: that of an earlier daemon where a service manager has stored it, so
//! that clients need not notice that one has died.

use super::settings::Refusal;
use crate::cli::notify::Notifier;
use crate::control::Socket;
use crate::vocabulary::cause;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// The socket to serve on: that of an earlier daemon where it was stored, else a new one, which is
/// stored for later ones.
pub(super) fn own_socket(
    path: Option<&Path>,
    gid: Option<u32>,
    stored: Vec<(String, UnixListener)>,
    notifier: &Notifier,
) -> Result<Option<(Socket, UnixListener)>, Refusal> {
    let mut found = None;
    for (name, listener) in stored {
        let socket = match path.filter(|_| found.is_none()) {
            Some(path) => Socket::resume(path, &name, &listener).map_err(Refusal::failed)?,
            None => None,
        };
        match socket {
            Some(socket) => found = Some((socket, listener)),
            None => notifier.forget(&name),
        }
    }
    let Some(path) = path.filter(|_| found.is_none()) else { return Ok(found) };
    let (socket, listener) = Socket::bind(path, gid).map_err(Refusal::failed)?;
    match socket.stored_name() {
        Ok(name) => notifier.store(&name, listener.as_fd()),
        Err(error) => log::warn!("the socket {path:?} is not stored: {}", cause(&error)),
    }
    Ok(Some((socket, listener)))
}
