//! Starting a program as a service manager does, with descriptors at 3 and up (sd_listen_fds(3)).
//!
//! For a small process of one thread: the child is an ordinary fork, and may allocate.

use super::blocked_signals::BlockedSignals;
use super::faults;
use crate::vocabulary::Pid;
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction, sigprocmask};
use nix::unistd::{ForkResult, fork, setsid};
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io::Write;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

/// Number of the first descriptor that is passed.
const FIRST: RawFd = 3;
/// Found, cannot be executed.
const NOT_EXECUTABLE: i32 = 126;
/// Not found.
const NOT_FOUND: i32 = 127;

/// A program and what it gets.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    /// It and its arguments.
    pub(crate) command: &'a [CString],
    /// `NAME=VALUE`. Those in `with_own_pid` are not in it.
    pub(crate) environment: Vec<CString>,
    /// Names of variables whose value is the pid of the program.
    pub(crate) with_own_pid: &'a [&'a str],
    /// At 3 and up, in this order.
    pub(crate) fds: Vec<BorrowedFd<'a>>,
    /// Soft and hard limit of descriptors that it is to have.
    pub(crate) nofile: (u64, u64),
}

impl Service<'_> {
    /// Starts it in a session of its own, so that signals of a terminal come through us alone.
    /// Where it cannot be executed, the child says so on standard error and exits with 126 or 127.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM: no process can be had.
    pub(crate) fn start(&self, signals: &BlockedSignals) -> Result<Pid, Errno> {
        faults::check("fork")?;
        // SAFETY: this process has one thread, so that no lock is held in the child, which only
        // executes the program or exits.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Pid::new(child.as_raw()).ok_or(Errno::ECHILD),
            ForkResult::Child => {
                let (what, errno) = self.execute(signals);
                let command = self.command.first().map(|c| c.to_string_lossy()).unwrap_or_default();
                let mut stderr = std::io::stderr();
                let why = errno.desc();
                let _ = writeln!(stderr, "ostler: keeper: {what} {command:?}: {why}");
                let code = if errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE };
                // SAFETY: ends the child without running what belongs to the parent.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// What failed, and why.
    fn execute(&self, signals: &BlockedSignals) -> (&'static str, Errno) {
        match self.prepare(signals) {
            Ok(environment) => {
                let Some(command) = self.command.first() else { return ("execute", Errno::EINVAL) };
                let failed = nix::unistd::execvpe(command, self.command, &environment);
                ("execute", failed.err().unwrap_or(Errno::EINVAL))
            }
            Err(errno) => ("prepare for", errno),
        }
    }

    fn prepare(&self, signals: &BlockedSignals) -> Result<Vec<CString>, Errno> {
        setsid()?;
        let fds: Vec<RawFd> = self.fds.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
        place(fds)?;
        // After the descriptors, of which there may be more than the soft limit.
        setrlimit(Resource::RLIMIT_NOFILE, self.nofile.0 as rlim_t, self.nofile.1 as rlim_t)?;
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours. The runtime of Rust ignores it.
        unsafe { sigaction(Signal::SIGPIPE, &default) }?;
        sigprocmask(nix::sys::signal::SigmaskHow::SIG_SETMASK, Some(signals.before()), None)?;
        let pid = std::process::id();
        let own = self.with_own_pid.iter().map(|name| CString::new(format!("{name}={pid}")));
        let environment = self.environment.iter().cloned().chain(own.flatten());
        Ok(environment.collect())
    }
}

/// Moves descriptors to 3 and up, in order, and lets them through the exec. Whatever else is there
/// is closed. Never more than one descriptor more than before is open: there may be no room.
fn place(mut fds: Vec<RawFd>) -> Result<(), Errno> {
    let mut position: HashMap<RawFd, usize> =
        fds.iter().enumerate().map(|(index, &fd)| (fd, index)).collect();
    for index in 0..fds.len() {
        let target = FIRST + index as RawFd;
        let Some(&from) = fds.get(index) else { break };
        if from == target {
            // SAFETY: plain numbers.
            Errno::result(unsafe { libc::fcntl(from, libc::F_SETFD, 0) })?;
            continue;
        }
        if let Some(&other) = position.get(&target) {
            // One that is still to be placed stands there: it moves on.
            // SAFETY: plain numbers.
            let moved = unsafe { libc::fcntl(target, libc::F_DUPFD_CLOEXEC, target + 1) };
            let moved = Errno::result(moved)?;
            position.remove(&target);
            position.insert(moved, other);
            if let Some(fd) = fds.get_mut(other) {
                *fd = moved;
            }
        }
        // SAFETY: plain numbers; in this child nobody uses what is closed by it.
        Errno::result(unsafe { libc::dup2(from, target) })?;
        // SAFETY: as above.
        unsafe { libc::close(from) };
        position.remove(&from);
    }
    Ok(())
}

/// Raises the soft limit of descriptors to the hard one; both as they were.
pub(crate) fn raise_descriptor_limit() -> Result<(u64, u64), Errno> {
    faults::check("getrlimit")?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        faults::check("setrlimit")?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok((soft, hard))
}

/// A word as exec(3) takes it; `None` where it has a NUL in it.
pub(crate) fn c_string(word: &OsStr) -> Option<CString> {
    CString::new(word.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};
    use std::os::unix::fs::MetadataExt;

    /// Has the descriptors of some files placed in a child, and compares what is there.
    fn placed(order: impl Fn(Vec<OwnedFd>) -> Vec<OwnedFd>) {
        let directory = tempfile::tempdir().unwrap();
        let path = |index: usize| directory.path().join(index.to_string());
        let open = |index| OwnedFd::from(File::create(path(index)).unwrap());
        let fds = order((0..40).map(open).collect());
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let wanted: Vec<u64> =
            fds.iter().map(|fd| nix::sys::stat::fstat(fd).unwrap().st_ino).collect();
        // SAFETY: the child places descriptors, compares them and exits.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let right = place(numbers).is_ok()
                    && wanted.iter().enumerate().all(|(index, &inode)| {
                        // SAFETY: borrowed for one call.
                        let fd = unsafe { BorrowedFd::borrow_raw(FIRST + index as RawFd) };
                        let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD);
                        flags == Ok(0) && nix::sys::stat::fstat(fd).unwrap().st_ino == inode
                    });
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(i32::from(!right)) }
            }
            ForkResult::Parent { child } => {
                let status = nix::sys::wait::waitpid(child, None).unwrap();
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
        }
        assert!(path(0).metadata().unwrap().ino() > 0);
    }

    #[test]
    fn descriptors_get_their_places_whatever_their_order() {
        placed(|fds| fds);
        placed(|mut fds| {
            fds.reverse();
            fds
        });
        placed(|mut fds| {
            fds.rotate_left(7);
            fds.swap(0, 20);
            fds
        });
        placed(|fds| fds.into_iter().step_by(3).collect());
    }

    #[test]
    fn the_program_is_told_which_descriptors_it_has() {
        let (reader, writer) = std::io::pipe().unwrap();
        let script = "echo \"$LISTEN_PID $$ $A\" >&3";
        let words = ["sh", "-c", script].map(|word| CString::new(word).unwrap());
        let service = Service {
            command: &words,
            environment: vec![c"A=b".into(), c"PATH=/usr/bin:/bin".into()],
            with_own_pid: &["LISTEN_PID"],
            fds: vec![writer.as_fd()],
            nofile: raise_descriptor_limit().unwrap(),
        };
        let signals = BlockedSignals::block(&[]).unwrap();
        let pid = service.start(&signals).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid.number()), None).unwrap();
        drop(service);
        drop(writer);
        let text = std::io::read_to_string(reader).unwrap();
        assert_eq!(text, format!("{pid} {pid} b\n"));
    }
}
