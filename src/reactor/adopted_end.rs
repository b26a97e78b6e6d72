//! The end of a run that an earlier supervisor has made. Its processes are not our children: the
//! main one is known by its pidfd alone, which also names its process group, and what else there is
//! by its cgroup. Nothing is ever signalled by a number that may have become another's.

use super::ending::kill_surely;
use super::run::{Main, Rest, Run};
use super::start::key_of;
use super::token::Owner;
use super::{Due, Supervisor, register};
use crate::sys::adopted::{self, Ending, Found};
use crate::sys::{pidfd, processes};
use crate::vocabulary::limits::STATUS_PATIENCE;
use crate::vocabulary::{Containment, ExitStatus, Pid, Signal, TaskId, Wall};
use mio::Interest;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How soon what is left is looked at again: nothing tells of its end. Doubled up to the second.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);
/// How soon the end of a process is seen that the loop could not be made to tell.
pub(super) const UNWATCHED_LOOK: Duration = Duration::from_millis(250);

impl Supervisor {
    /// The main process of an adopted run has ended, or so it seems.
    pub(super) fn adopted_ended(&mut self, task: TaskId) {
        let now = self.now.mono;
        let told = self.told_of_adopted(task);
        let Some(run) = self.runs.get_mut(task) else { return };
        let time = told.map(|(_, time)| time);
        let ending = match (told, &run.pidfd, run.mark) {
            (Some((status, _)), _, _) => Ending::Ended(status),
            (None, Some(fd), _) => adopted::ending(run.pid, fd.as_fd()),
            // Descriptors were scarce.
            (None, None, Some(mark)) => match adopted::find(run.pid, mark) {
                Found::It(fd) => adopted::ending(run.pid, fd.as_fd()),
                Found::Gone => Ending::Unknown,
                Found::Unknown(_) => Ending::Alive,
            },
            (None, None, None) => Ending::Unknown,
        };
        let status = match ending {
            Ending::Alive => {
                return self.adopted_lives(task);
            }
            Ending::Ended(status) => status,
            Ending::Unreaped if run.status_until.is_none_or(|until| now < until) => {
                if run.status_until.is_none() {
                    let until = now + STATUS_PATIENCE;
                    run.status_until = Some(until);
                    self.deadlines.add(until, Due::Status(task));
                }
                return;
            }
            Ending::Unreaped | Ending::Unknown => ExitStatus::Unknown,
        };
        run.main = Main::Gone;
        let pid = run.pid;
        if run.containment == Containment::CgroupV2 {
            run.pidfd = None;
        }
        self.runs.forget_pid(pid, task);
        self.tell_end(task, status, time);
    }

    /// The main process of an adopted run lives. Where descriptors were scarce, they may not be by
    /// now.
    fn adopted_lives(&mut self, task: TaskId) {
        let Some(run) = self.runs.get_mut(task).filter(|run| !run.watched) else { return };
        let kill = run.rest == Some(Rest::Killed);
        let pidfd = run.pidfd.take().or_else(|| find_adopted(run).ok());
        let pidfd = pidfd.filter(|fd| self.leaves_enough(fd, 2));
        let owner = Owner::Process(key_of(task));
        match pidfd {
            Some(fd) if register(&self.poll, fd.as_fd(), owner, Interest::READABLE).is_ok() => {
                self.runs.watch(task, fd);
            }
            _ => self.deadlines.add(self.now.mono + UNWATCHED_LOOK, Due::Status(task)),
        }
        if kill {
            // There may have been no descriptor to kill it by.
            self.kill_adopted(task);
        }
    }

    /// How and when an adopted main process has ended, if a keeper has told; an init above it ends
    /// alike.
    fn told_of_adopted(&mut self, task: TaskId) -> Option<(ExitStatus, Wall)> {
        let run = self.runs.get(task)?;
        let main = (run.pid, run.mark);
        let init = run.init.as_ref().map(|init| (init.pid, init.mark));
        self.told_by_keeper(main.0, main.1)
            .or_else(|| init.and_then(|(pid, mark)| self.told_by_keeper(pid, mark)))
    }

    /// SIGKILL to all of an adopted run whose main process may live.
    pub(super) fn kill_adopted(&mut self, task: TaskId) {
        let Some(run) = self.runs.get(task) else { return };
        let pid = run.pid;
        let killed = match (run.containment, self.engine.identity(task)) {
            (Containment::CgroupV2, Some(identity)) => {
                self.groups.kill(&self.groups.leaf(identity, run.number)).is_ok()
            }
            _ => false,
        };
        let mut rest = if killed { Vec::new() } else { processes::descendants(pid) };
        if !adopted_still_lives(run) {
            rest.clear();
        }
        if run.containment == Containment::Session
            && let Some(fd) = &run.pidfd
        {
            // Not before Linux 6.9: then the main process alone is sure.
            let _ = pidfd::signal_group(fd.as_fd(), Some(Signal::KILL));
        }
        match super::ending::kill_main(run, Signal::KILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => log::warn!("cannot kill process {pid}: {}", errno.desc()),
        }
        self.kill_init(task);
        rest.into_iter().for_each(kill_surely);
    }

    /// Looks at what the main process of an adopted run has left that no cgroup holds.
    pub(super) fn look_at_adopted(&mut self, task: TaskId) {
        let left = self.left_of_adopted(task);
        if left.is_empty() {
            return self.emptied(task);
        }
        let Some(run) = self.runs.get_mut(task) else { return };
        run.looks = run.looks.saturating_add(1);
        let again = LOOK_AGAIN.saturating_mul(1 << run.looks.min(7)).min(LOOK_AGAIN_MAX);
        if run.rest == Some(Rest::Killed) {
            if let Some(fd) = &run.pidfd {
                let _ = pidfd::signal_group(fd.as_fd(), Some(Signal::KILL));
            }
            left.into_iter().for_each(kill_surely);
        }
        self.deadlines.add(self.now.mono + again, Due::Rest(task));
    }

    /// What lives in the session and process group of an adopted main process that has ended. As
    /// long as the group is there, its number is nobody else's; without a pidfd nobody knows.
    pub(super) fn left_of_adopted(&self, task: TaskId) -> Vec<Pid> {
        let Some(run) = self.runs.get(task) else { return Vec::new() };
        let is_there =
            || run.pidfd.as_ref().is_some_and(|fd| pidfd::signal_group(fd.as_fd(), None).is_ok());
        if !is_there() {
            return Vec::new();
        }
        let leader = run.pid.number();
        let mut left = processes::all();
        left.retain(|&pid| {
            pid != run.pid
                && processes::family(pid).is_some_and(|family| {
                    !family.dead && (family.session == leader || family.group == leader)
                })
        });
        if is_there() { left } else { Vec::new() }
    }
}

/// Whether an adopted main process, if it is one, has not ended.
pub(super) fn adopted_still_lives(run: &Run) -> bool {
    if !run.adopted {
        return true;
    }
    match &run.pidfd {
        Some(fd) => adopted::ending(run.pid, fd.as_fd()) == Ending::Alive,
        None => run.main == Main::Alive && find_adopted(run).is_ok(),
    }
}

/// The main process of an adopted run for which no descriptor was kept. ESRCH: it is gone.
pub(super) fn find_adopted(run: &Run) -> Result<OwnedFd, Errno> {
    match adopted::find(run.pid, run.mark.ok_or(Errno::ESRCH)?) {
        Found::It(fd) => Ok(fd),
        Found::Gone => Err(Errno::ESRCH),
        Found::Unknown(errno) => Err(errno),
    }
}
