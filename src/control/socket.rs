//! The daemon's socket: made for its users alone, taken over from a daemon that is gone.

use crate::sys::peer::Peer;
use crate::sys::unix_socket::DirectoryLock;
use crate::sys::{inherited, processes, trusted_path, unix_socket};
use crate::vocabulary::{Pid, cause};
use nix::errno::Errno;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What the names of stored listeners begin with.
const STORED_PREFIX: &str = "ostler-socket.";

/// A listening socket's file; it is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    /// The file itself: another daemon's under the same name is not removed.
    file: File,
}

impl Socket {
    /// Makes the socket: mode 0600, in a directory of mode 0700 that is made if it is missing. With
    /// a group, 0660 and 0750. A socket that nobody listens on any more is replaced. A directory
    /// that is another user's, or to which such a one's link leads, is refused: clients would soon
    /// talk to somebody else.
    ///
    /// ```
    /// use ostler::control::Socket;
    /// # fn main() -> std::io::Result<()> {
    /// # let directory = tempfile::tempdir()?;
    /// # let directory = directory.path();
    /// let path = directory.join("ostler/ostler.sock");
    /// let (socket, listener) = Socket::bind(&path, None)?;
    /// assert!(Socket::bind(&path, None).is_err(), "somebody listens on it");
    /// drop((socket, listener));
    /// assert!(!path.exists());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Of several that bind at once one wins, whatever they find: they take turns, for which the
    /// directory is locked. Where another one takes longer than 5 s this is an error, too.
    ///
    /// # Errors
    /// When another daemon listens there, or the place cannot be written or belongs to others.
    pub fn bind(path: &Path, gid: Option<u32>) -> io::Result<(Socket, UnixListener)> {
        let directory = directory_of(path);
        make_directory(directory, gid)?;
        check_directory(directory)?;
        let _turn = take_turn(directory, path, BIND_PATIENCE)?;
        remove_stale(path)?;
        let listener = unix_socket::bind_private(path, gid).map_err(|errno| {
            let why = match errno {
                Errno::ENAMETOOLONG => "the path is longer than a socket's may be, 107 bytes",
                _ => errno.desc(),
            };
            let text = format!("make the socket {path:?}: {why}");
            io::Error::new(io::Error::from(errno).kind(), text)
        })?;
        let file = unix_socket::pin(path)?;
        Ok((Socket { path: path.to_owned(), file }, listener))
    }

    /// The name under which a service manager can store the listener: it tells whether the file
    /// is still that of the listener when it comes back.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub fn stored_name(&self) -> io::Result<String> {
        stored_name(&self.file)
    }

    /// Whether a descriptor of this name is a listener that an earlier daemon has stored.
    pub fn is_stored_name(name: &str) -> bool {
        name.starts_with(STORED_PREFIX)
    }

    /// Goes on with a listener that an earlier daemon has stored under this name: who has connected
    /// since then waits in it. `None` where the file is another one by now.
    ///
    /// # Errors
    /// When the file or the listener cannot be used.
    pub fn resume(path: &Path, name: &str, listener: &UnixListener) -> io::Result<Option<Socket>> {
        let socket = Socket::go_on(path, name)?;
        if socket.is_some() {
            unix_socket::listen_again(listener)?;
        }
        Ok(socket)
    }

    /// Goes on with the socket that had this name. `None` where the file is another one by now.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn go_on(path: &Path, name: &str) -> io::Result<Option<Socket>> {
        let file = match unix_socket::pin(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let is_same = stored_name(&file)? == name;
        Ok(is_same.then(|| Socket { path: path.to_owned(), file }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn stored_name(file: &File) -> io::Result<String> {
    let file = file.metadata()?;
    Ok(format!("{STORED_PREFIX}{}.{}", file.dev(), file.ino()))
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon may be about to replace it.
        let _turn = take_turn(directory_of(&self.path), &self.path, DROP_PATIENCE);
        let (Ok(found), Ok(ours)) = (self.path.symlink_metadata(), self.file.metadata()) else {
            return;
        };
        if (found.dev(), found.ino()) == (ours.dev(), ours.ino())
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the socket {:?}: {}", self.path, cause(&error));
        }
    }
}

/// The descriptors passed by who started this process (`LISTEN_FDS`, `LISTEN_PID`), close-on-exec,
/// and their names (`LISTEN_FDNAMES`). To be called once, before anything else opens descriptors.
///
/// # Errors
/// When one of them is not open.
pub fn passed_descriptors() -> io::Result<Vec<(Option<String>, OwnedFd)>> {
    let passed = inherited::passed().map_err(|(number, errno)| {
        let text = format!("take passed descriptor {number}: {}", errno.desc());
        io::Error::new(io::Error::from(errno).kind(), text)
    })?;
    Ok(passed.into_iter().map(|passed| (passed.name, passed.fd)).collect())
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

/// Waits until nobody else binds a socket in this directory. None where that cannot be known: the
/// directory may be one that we may not read, or one that anybody can lock.
fn take_turn(
    directory: &Path,
    path: &Path,
    patience: Duration,
) -> io::Result<Option<DirectoryLock>> {
    let deadline = Instant::now() + patience;
    loop {
        match DirectoryLock::take(directory) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(TURN_PAUSE),
            // Anybody may lock what he may read, for as long as he likes.
            Ok(None) if directory.metadata()?.mode() & 0o004 != 0 => {
                log::warn!("somebody holds a lock on {directory:?}, goes on without");
                return Ok(None);
            }
            Ok(None) => {
                let text = format!("make the socket {path:?}: another one is being made there");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
            Err(errno) => {
                log::debug!("cannot lock {directory:?}, goes on without: {}", errno.desc());
                return Ok(None);
            }
        }
    }
}

/// Making a socket takes less than a millisecond; only a lock of somebody else takes longer.
const BIND_PATIENCE: Duration = Duration::from_secs(5);
/// The loop may be waiting for it.
const DROP_PATIENCE: Duration = Duration::from_millis(100);
const TURN_PAUSE: Duration = Duration::from_millis(5);
/// Making a process takes milliseconds; as with the lock of a state directory.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(2);

/// Makes the directory unless it is there; one that is there is somebody's, and stays as it is.
fn make_directory(directory: &Path, gid: Option<u32>) -> io::Result<()> {
    let explain = |error: io::Error| {
        let text = format!("make the socket's directory {directory:?}: {}", cause(&error));
        io::Error::new(error.kind(), text)
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(explain)?,
    }
    match gid {
        None => Ok(()),
        Some(gid) => {
            let shared = unix_socket::share(directory, gid, 0o750);
            shared.map_err(|errno| explain(errno.into()))
        }
    }
}

/// A directory that was there may be a trap: whoever has it can put another socket in the place of
/// ours, and is then told what clients tell.
fn check_directory(directory: &Path) -> io::Result<()> {
    let refuse = |kind, why: String| {
        let text = format!("use the socket's directory {directory:?}: {why}");
        Err(io::Error::new(kind, text))
    };
    let found = match trusted_path::open_directory(directory) {
        Ok(open) => File::from(open).metadata()?,
        Err(Errno::ELOOP) => {
            let why = "a symbolic link that leads there was made by neither root nor us";
            return refuse(io::ErrorKind::PermissionDenied, why.to_owned());
        }
        Err(errno) => return refuse(io::Error::from(errno).kind(), errno.desc().to_owned()),
    };
    if !trusted_path::is_trusted(found.uid()) {
        let why = format!("it belongs to user {}, who could replace the socket", found.uid());
        return refuse(io::ErrorKind::PermissionDenied, why);
    }
    if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
        let mode = found.mode() & 0o7777;
        log::warn!(
            "the socket's directory {directory:?} can be written by others (mode {mode:04o}), who \
             can put a socket of theirs in the place of ours"
        );
    }
    Ok(())
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        let text = format!("make the socket {path:?}: something else is there");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let deadline = Instant::now() + ORPHAN_PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                log::info!("the socket {path:?} was left over by a daemon that is gone");
                return std::fs::remove_file(path);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(held) if is_orphaned(&held) && is_let_go(&held, deadline) => {}
            // It answers, or it is too busy to: either way somebody is there.
            _ => {
                let text = format!("another daemon serves {path:?}");
                return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
            }
        }
    }
}

/// Whether the process is gone that listened here: a child of it may be on its way to its program,
/// and has the socket until then.
fn is_orphaned(socket: &UnixStream) -> bool {
    let pid = Peer::of(socket.as_fd()).ok().and_then(|peer| Pid::new(peer.pid));
    pid.is_some_and(|pid| !processes::exists(pid))
}

/// Waits for the end of who listens, which is that of a connection that nobody takes.
fn is_let_go(mut connection: &UnixStream, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() || connection.set_read_timeout(Some(left)).is_err() {
        return false;
    }
    match connection.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn the_socket_is_for_its_owner_or_its_group_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("private/sock");
        let (socket, _listener) = Socket::bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(socket.path(), path);
        UnixStream::connect(&path).expect("it listens");
        let path = place.path().join("shared/sock");
        let gid = nix::unistd::getgid().as_raw();
        let _bound = Socket::bind(&path, Some(gid)).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()), 0o750);
        assert_eq!(path.metadata().unwrap().gid(), gid);
    }

    #[test]
    fn a_stored_listener_goes_on_where_the_file_is_still_its_own() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sock");
        let (socket, listener) = Socket::bind(&path, None).unwrap();
        let name = socket.stored_name().unwrap();
        assert!(Socket::is_stored_name(&name));
        // A daemon that is killed removes nothing.
        std::mem::forget(socket);
        let client = UnixStream::connect(&path).unwrap();
        let resumed = Socket::resume(&path, &name, &listener).unwrap().expect("it is the same");
        assert!(listener.accept().is_ok());
        drop((client, resumed));
        assert!(!path.exists());
        assert!(Socket::resume(&path, &name, &listener).unwrap().is_none(), "it is gone");
        // So that no file has its inode.
        let _other = UnixListener::bind(place.path().join("other")).unwrap();
        let _foreign = UnixListener::bind(&path).unwrap();
        assert!(Socket::resume(&path, "ostler-socket.0.0", &listener).unwrap().is_none());
        assert!(path.exists(), "it is another's");
    }

    #[test]
    fn a_socket_is_taken_over_from_the_dead_only() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sock");
        drop(UnixListener::bind(&path).unwrap());
        let (first, listener) = Socket::bind(&path, None).expect("nobody listens");
        let error = Socket::bind(&path, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let (_second, _listener) = Socket::bind(&path, None).expect("nobody listens any more");
        drop(first);
        assert!(path.exists(), "it is the other one's by now");
        let file = place.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(Socket::bind(&file, None).is_err());
        assert!(file.exists());
        let long = place.path().join("x".repeat(120));
        assert!(Socket::bind(&long, None).unwrap_err().to_string().contains("107 bytes"));
    }

    #[test]
    fn a_lock_that_anybody_may_hold_keeps_nobody_from_starting() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sock");
        let _held = DirectoryLock::take(place.path()).unwrap().expect("nobody has it");
        let turn = || take_turn(place.path(), &path, Duration::from_millis(50));
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(turn().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(turn().unwrap().is_none());
    }

    #[test]
    fn of_many_that_find_a_dead_one_at_once_one_wins() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("sock");
        // One of about sixty went wrong where nobody took turns.
        for _ in 0..500 {
            drop(UnixListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(4);
            let bind = || {
                start.wait();
                Socket::bind(&path, None)
            };
            let bound: Vec<_> = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(bind));
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1);
            for error in lost.into_iter().filter_map(Result::err) {
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
            }
            UnixStream::connect(&path).expect("the one that has won is there");
        }
    }
}
