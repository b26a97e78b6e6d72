//! The directory in which a supervisor keeps its state: for it alone, on a local file system.

use super::faults;
use super::mounts::Mounts;
use super::trusted_path::{self, is_trusted};
use crate::vocabulary::cause;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
#[cfg(feature = "cli")]
use std::os::fd::RawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOCK: &str = "lock";
/// A supervisor that was killed holds its lock until the kernel has cleared it away.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A directory that nobody else uses while this lives.
#[derive(Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
    /// Held, not used.
    #[cfg_attr(not(feature = "cli"), expect(dead_code))]
    lock: Flock<File>,
}

impl StateDirectory {
    /// Makes the directory if it is not there (0700), checks that it is for us alone, and locks it.
    ///
    /// # Errors
    /// Say what is wrong with it, in a sentence.
    pub(crate) fn take(path: &Path) -> io::Result<StateDirectory> {
        let explain = |what: &str, error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("{what} the state directory {path:?}: {}", cause(&error)),
            )
        };
        let path = std::path::absolute(path).map_err(|error| explain("find", error))?;
        faults::check("mkdir").map_err(|errno| explain("make", errno.into()))?;
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.map_err(|error| explain("make", error))?,
        }
        let path = found(&path)?;
        check(&path)?;
        let lock = lock(&path)?;
        Ok(StateDirectory { path, lock })
    }

    /// Goes on with the directory that the program before this one of the same process has locked.
    ///
    /// # Errors
    /// This is not its lock.
    #[cfg(feature = "cli")]
    pub(crate) fn go_on(path: &Path, lock: File) -> io::Result<StateDirectory> {
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
            let text = format!("go on with the lock of {path:?}: {}", errno.desc());
            io::Error::new(io::Error::from(errno).kind(), text)
        })?;
        Ok(StateDirectory { path: path.to_owned(), lock })
    }

    /// The number of the descriptor that holds the lock.
    #[cfg(feature = "cli")]
    pub(crate) fn lock_number(&self) -> RawFd {
        self.lock.as_raw_fd()
    }

    /// A file in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where it is, without links on the way.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Who else could put another directory in its place, in words.
    pub(crate) fn exposed(&self) -> Option<String> {
        self.path.ancestors().skip(1).find_map(|above| {
            let found = std::fs::metadata(above).ok()?;
            // Who has a directory that is sticky, or anything in it, can rename that.
            if !is_trusted(found.uid()) {
                Some(format!("user {}, to whom {above:?} belongs", found.uid()))
            } else if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
                Some(format!("whoever may write to {above:?} (mode {:04o})", found.mode() & 0o7777))
            } else {
                None
            }
        })
    }
}

/// The directory itself, whatever links lead there: none of them may be somebody else's, who could
/// have us go on with tasks that were never ours.
fn found(path: &Path) -> io::Result<PathBuf> {
    let failed = |errno: Errno| {
        let why = match errno {
            Errno::ELOOP => "a symbolic link that leads there was made by neither root nor us",
            Errno::ENOTDIR => "it is not a directory",
            errno => errno.desc(),
        };
        let text = format!("use the state directory {path:?}: {why}");
        io::Error::new(io::Error::from(errno).kind(), text)
    };
    let directory = trusted_path::open_directory(path).map_err(failed)?;
    std::fs::read_link(format!("/proc/thread-self/fd/{}", directory.as_raw_fd()))
        .or_else(|_| std::fs::canonicalize(path))
}

fn check(path: &Path) -> io::Result<()> {
    let refuse = |why: String| {
        let text = format!("use the state directory {path:?}: {why}");
        Err(io::Error::new(ErrorKind::PermissionDenied, text))
    };
    let found = std::fs::metadata(path)?;
    if !found.is_dir() {
        return refuse("it is not a directory".to_owned());
    }
    let own = nix::unistd::geteuid().as_raw();
    if found.uid() != own {
        return refuse(format!("it belongs to user {}, not to us ({own})", found.uid()));
    }
    if found.mode() & 0o022 != 0 {
        let mode = found.mode() & 0o7777;
        return refuse(format!("others may write to it (mode {mode:04o}): chmod 0700 it"));
    }
    if !Mounts::new().are_local([path].into_iter()) {
        return refuse(
            "it is not on a local file system, where it could not be locked and a write could \
             hold up every task"
                .to_owned(),
        );
    }
    Ok(())
}

fn lock(directory: &Path) -> io::Result<Flock<File>> {
    let path = directory.join(LOCK);
    faults::check("open")?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(&path)
        .map_err(|error| {
            io::Error::new(error.kind(), format!("open {path:?}: {}", cause(&error)))
        })?;
    let begun = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // For whoever comes in vain; nothing depends on it.
                let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
                return Ok(lock);
            }
            Err((again, Errno::EWOULDBLOCK)) if begun.elapsed() < LOCK_PATIENCE => {
                file = again;
                std::thread::sleep(LOCK_PAUSE);
            }
            Err((mut busy, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                let _ = busy.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another supervisor".to_owned(),
                    pid => format!("another supervisor, process {pid}"),
                };
                let text = format!("the state directory {directory:?} is in use by {holder}");
                return Err(io::Error::new(ErrorKind::ResourceBusy, text));
            }
            Err((_, errno)) => {
                let text = format!("lock {path:?}: {}", errno.desc());
                return Err(io::Error::new(io::Error::from(errno).kind(), text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_one_has_it_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let first = StateDirectory::take(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        let error = StateDirectory::take(&path).unwrap_err();
        let expected = format!("is in use by another supervisor, process {}", std::process::id());
        assert!(error.to_string().ends_with(&expected), "{error}");
        drop(first);
        StateDirectory::take(&path).unwrap();
    }

    #[test]
    fn one_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        drop(StateDirectory::take(&path).unwrap());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o770)).unwrap();
        let error = StateDirectory::take(&path).unwrap_err().to_string();
        assert!(error.contains("others may write to it (mode 0770)"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let file = path.join("x");
        std::fs::write(&file, "").unwrap();
        let error = StateDirectory::take(&file).unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");
        let error = StateDirectory::take(&path.join("no/such")).unwrap_err().to_string();
        assert!(error.contains("make the state directory"), "{error}");
        if super::super::own_process::is_root() {
            std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
            let error = StateDirectory::take(&path).unwrap_err().to_string();
            assert!(error.contains("belongs to user 1000, not to us (0)"), "{error}");
        } else {
            println!("skipped: a directory of another user: not root");
        }
    }
}
