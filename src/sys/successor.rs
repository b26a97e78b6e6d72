//! Going on with another program in the same process: it is opened once, asked by way of that
//! descriptor whether it can take over, and executed by way of it.

use super::faults;
use super::pidfd;
use crate::vocabulary::{Pid, Signal};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::stat::Mode;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program that may come after this one.
#[derive(Debug)]
pub(crate) struct Successor {
    program: OwnedFd,
}

/// One that was asked, as a child.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) pid: Pid,
    pidfd: OwnedFd,
    /// What it says; never waits.
    pub(crate) answer: File,
}

impl Successor {
    /// Opens a program. It survives an exec, since an interpreter of it opens it again.
    ///
    /// # Errors
    /// What open(2) says.
    pub(crate) fn open(path: &Path) -> Result<Successor, Errno> {
        faults::check("open")?;
        let program = open(path, OFlag::O_PATH, Mode::empty())?;
        Ok(Successor { program })
    }

    /// The number of its descriptor.
    pub(crate) fn number(&self) -> RawFd {
        self.program.as_raw_fd()
    }

    /// Starts it as a child with these words, the first of which is its name, and with `input` as
    /// its standard input.
    ///
    /// # Errors
    /// It cannot be executed, or no process or descriptor can be had.
    pub(crate) fn ask(&self, words: &[OsString], input: File) -> io::Result<Asked> {
        faults::check("pipe2")?;
        let (answer, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&answer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new(format!("/proc/self/fd/{}", self.number()));
        if let Some((name, rest)) = words.split_first() {
            command.arg0(name).args(rest);
        }
        faults::check("fork")?;
        let errors = writer.try_clone()?;
        let child = command.stdin(input).stdout(Stdio::from(writer)).stderr(errors).spawn()?;
        let pid = Pid::new(child.id().cast_signed()).ok_or(Errno::ECHILD)?;
        // Nobody has reaped it yet, so that the number is its own.
        Ok(Asked { pid, pidfd: pidfd::open(pid)?, answer: File::from(answer) })
    }

    /// Executes it in place of this program, with this environment. Returns only why it could not.
    pub(crate) fn execute(&self, words: &[OsString], environment: Vec<OsString>) -> Errno {
        let strings = |words: Vec<OsString>| -> Result<Vec<CString>, Errno> {
            let string = |word: OsString| CString::new(word.into_vec()).map_err(|_| Errno::EINVAL);
            words.into_iter().map(string).collect()
        };
        let execute = || {
            let (words, environment) = (strings(words.to_vec())?, strings(environment)?);
            faults::check("execveat")?;
            let flags = AtFlags::AT_EMPTY_PATH;
            nix::unistd::execveat(&self.program, c"", &words, &environment, flags)
        };
        execute().map_or_else(|errno| errno, |never| match never {})
    }
}

impl Asked {
    /// Ends it.
    pub(crate) fn kill(&self) {
        // It may have ended by itself.
        let _ = pidfd::send_signal(std::os::fd::AsFd::as_fd(&self.pidfd), Signal::KILL);
    }
}

/// A file in memory that says this, and cannot be changed any more.
///
/// # Errors
/// No memory or no descriptor can be had.
pub(crate) fn sealed_file(bytes: &[u8]) -> io::Result<File> {
    faults::check("memfd_create")?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create("ostler-state", flags)?);
    faults::check("write")?;
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    faults::check("fcntl(F_ADD_SEALS)")?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// Whether these signals are to wait from now on, until they may come again.
///
/// # Errors
/// A number that is none of a signal.
pub(crate) fn hold_signals(signals: &[Signal], hold: bool) -> Result<(), Errno> {
    let mut set = SigSet::empty();
    for signal in signals {
        set.add(nix::sys::signal::Signal::try_from(signal.number())?);
    }
    let how = if hold { SigmaskHow::SIG_BLOCK } else { SigmaskHow::SIG_UNBLOCK };
    if hold {
        // What can be held can be let go of.
        faults::check("rt_sigprocmask")?;
    }
    pthread_sigmask(how, Some(&set), None)
}

/// Has a signal come once more, to this process.
pub(crate) fn send_again(signal: Signal) {
    if let Ok(signal) = nix::sys::signal::Signal::try_from(signal.number()) {
        // It is ours to have.
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_is_sealed_stays_as_it_is() {
        let mut file = sealed_file(b"so").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "so");
        assert!(file.write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
    }

    #[test]
    fn what_is_no_program_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        assert_eq!(Successor::open(&path).unwrap_err(), Errno::ENOENT);
        std::fs::write(&path, "").unwrap();
        let successor = Successor::open(&path).unwrap();
        let input = || sealed_file(b"").unwrap();
        let refused = successor.ask(&["x".into()], input()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(successor.execute(&["x".into()], Vec::new()), Errno::EACCES);
        let nul = OsString::from_vec(vec![0]);
        assert_eq!(successor.execute(&[nul], Vec::new()), Errno::EINVAL);
    }

    #[test]
    fn a_program_is_asked_by_its_descriptor() {
        let successor = Successor::open(Path::new("/bin/cat")).unwrap();
        let asked = successor.ask(&["cat".into()], sealed_file(b"state").unwrap()).unwrap();
        let mut said = Vec::new();
        let mut buffer = [0; 100];
        loop {
            match (&asked.answer).read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => said.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            std::thread::yield_now();
        }
        assert_eq!(said, b"state");
        asked.kill();
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(asked.pid.number()), None);
    }
}
