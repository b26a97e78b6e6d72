//! Looking at and reaping known children. `waitpid(-1)` is nowhere: it costs in proportion to all
//! children and steals those of a host.

use super::{faults, pidfd};
use crate::vocabulary::{ExitStatus, Pid};
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What a look at a child found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// It lives.
    Alive,
    /// It has ended.
    Ended(ExitStatus),
    /// It is not our child any more: reaped by somebody else.
    Gone,
}

/// Whether the child is left as a zombie after the look, which keeps its pid and process group
/// from being used again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Keep {
    /// Only look.
    Zombie,
    /// Reap it.
    Nothing,
}

/// Looks at the child of this pid, by its pidfd where there is one.
pub(crate) fn look(pid: Pid, pidfd: Option<&OwnedFd>, keep: Keep) -> Look {
    let (kind, id) = match pidfd {
        Some(fd) => (libc::P_PIDFD, fd.as_raw_fd() as u32),
        None => (libc::P_PID, pid.number() as u32),
    };
    let found = match wait(kind, id, keep) {
        Err(Errno::ECHILD) => Err(Errno::ECHILD),
        // P_PIDFD is not known before Linux 5.4. The number is good as long as it is our child's.
        Err(_) => wait(libc::P_PID, pid.number() as u32, keep),
        found => found,
    };
    match found {
        Ok(Some((_, status))) => Look::Ended(status),
        Ok(None) => Look::Alive,
        Err(_) => match pidfd.and_then(|fd| pidfd::exit_status(fd.as_fd())) {
            Some(status) => Look::Ended(status),
            None => Look::Gone,
        },
    }
}

/// Any child that has ended, left as a zombie. Costs 32 ns per living child: only behind a
/// debounce, and only in a process whose children are all ours.
pub(crate) fn any_zombie() -> Option<Pid> {
    wait(libc::P_ALL, 0, Keep::Zombie).ok().flatten().map(|(pid, _)| pid)
}

/// waitid(2) itself: the wrapper of nix refuses children that a real-time signal ended.
fn wait(kind: libc::idtype_t, id: u32, keep: Keep) -> Result<Option<(Pid, ExitStatus)>, Errno> {
    let mut flags = libc::WEXITED | libc::WNOHANG;
    if keep == Keep::Zombie {
        flags |= libc::WNOWAIT;
    }
    faults::check("waitid")?;
    // SAFETY: an all-zero siginfo is a valid one; the kernel leaves it so where nothing has ended.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the struct outlives the call.
    Errno::result(unsafe { libc::waitid(kind, id, &mut info, flags) })?;
    // SAFETY: waitid fills the fields of a child's signal, or leaves zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let Some(pid) = Pid::new(pid) else { return Ok(None) };
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Exited(status as u8),
        _ => ExitStatus::Signaled(status as u8),
    };
    Ok(Some((pid, status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn sh(script: &str) -> (std::process::Child, Pid) {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        (child, pid)
    }

    fn until_ended(pid: Pid, pidfd: Option<&OwnedFd>, keep: Keep) -> Look {
        loop {
            match look(pid, pidfd, keep) {
                Look::Alive => std::thread::yield_now(),
                look => return look,
            }
        }
    }

    #[test]
    #[allow(clippy::zombie_processes, reason = "reaped by what is tested")]
    fn every_kind_of_end_is_told() {
        for (script, end) in [
            ("exit 7", ExitStatus::Exited(7)),
            ("exit 255", ExitStatus::Exited(255)),
            ("kill -9 $$", ExitStatus::Signaled(9)),
            ("kill -40 $$", ExitStatus::Signaled(40)),
        ] {
            let (_child, pid) = sh(script);
            let pidfd = pidfd::open(pid).unwrap();
            assert_eq!(until_ended(pid, Some(&pidfd), Keep::Zombie), Look::Ended(end));
            assert_eq!(look(pid, None, Keep::Nothing), Look::Ended(end));
            assert_eq!(look(pid, None, Keep::Nothing), Look::Gone);
        }
    }

    #[test]
    fn a_stolen_status_is_told_by_the_pidfd_where_the_kernel_can() {
        let (mut child, pid) = sh("exit 9");
        let pidfd = pidfd::open(pid).unwrap();
        child.wait().unwrap();
        let look = look(pid, Some(&pidfd), Keep::Nothing);
        assert!(matches!(look, Look::Ended(ExitStatus::Exited(9)) | Look::Gone), "{look:?}");
    }
}
