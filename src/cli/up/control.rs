//! The socket of an `up`, for it alone, so that `ostler ps` and the like work beside it.

use crate::cli::arguments::UpArguments;
use crate::control::{Server, ServerOptions, Socket};
use crate::reactor::Supervisor;
use crate::vocabulary::cause;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The server, and what is to be removed in the end.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) server: Server,
    /// Removes its file, then the directory is empty.
    socket: Option<Socket>,
    directory: Option<Directory>,
}

/// The place of the socket, for another program that goes on.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct HandedControl {
    path: Option<PathBuf>,
    /// Of the socket, by its file.
    name: Option<String>,
    /// What was made for it.
    directory: Option<PathBuf>,
}

/// What the server of an `up` can do, wherever its socket is.
pub(super) fn options() -> ServerOptions {
    ServerOptions { upgrades: true, ..ServerOptions::default() }
}

/// A directory of our own, removed when this is dropped.
#[derive(Debug)]
struct Directory(PathBuf);

impl Control {
    /// Listens on the socket of `--socket`, or one in a directory made for it; nowhere with
    /// `none`.
    pub(super) fn listen(
        supervisor: &mut Supervisor,
        arguments: &UpArguments,
    ) -> io::Result<Control> {
        let (directory, path) = match arguments.socket.as_deref() {
            Some("none") => (None, None),
            Some(path) => (None, Some(PathBuf::from(path))),
            None => {
                let directory = Directory::make()?;
                let path = directory.0.join("ostler.sock");
                (Some(directory), Some(path))
            }
        };
        let shown = path.as_ref().map(|path| path.to_string_lossy().into_owned());
        let options = ServerOptions { socket: shown, ..options() };
        let mut server = Server::new(supervisor, options);
        let mut socket = None;
        if let Some(path) = path {
            let (bound, listener) = Socket::bind(&path, None)?;
            server.listen(supervisor, listener)?;
            socket = Some(bound);
        }
        Ok(Control { server, socket, directory })
    }

    /// What another program needs to go on with it, but for the server.
    pub(super) fn hand_over(&self) -> HandedControl {
        let socket = self.socket.as_ref();
        HandedControl {
            path: socket.map(|socket| socket.path().to_owned()),
            name: socket.and_then(|socket| socket.stored_name().ok()),
            directory: self.directory.as_ref().map(|directory| directory.0.clone()),
        }
    }

    /// Goes on where another program of this process stood.
    pub(super) fn go_on(server: Server, handed: HandedControl) -> io::Result<Control> {
        let socket = match (&handed.path, &handed.name) {
            (Some(path), Some(name)) => Socket::go_on(path, name)?,
            _ => None,
        };
        Ok(Control { server, socket, directory: handed.directory.map(Directory) })
    }

    /// Where it is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.socket.as_ref().map(Socket::path)
    }
}

impl Directory {
    fn make() -> io::Result<Directory> {
        let parent = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
        let parent = parent.map_or_else(std::env::temp_dir, PathBuf::from);
        // A number that is in use is a leftover, or somebody's trap: the next one is tried.
        for number in 0..100 {
            let path = parent.join(format!("ostler-up-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Directory(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let reason = format!(
                        "cannot make a directory for the socket {path:?}: {}",
                        cause(&error)
                    );
                    return Err(io::Error::new(error.kind(), reason));
                }
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "no name is free for the socket's directory"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            log::warn!("cannot remove the directory {:?}: {}", self.0, cause(&error));
        }
    }
}
