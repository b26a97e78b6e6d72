//! The end of a run: the main process, then all that it leaves.
//!
//! Where a group holds the processes the main one is reaped at once, since the group is the name
//! of the rest. Elsewhere the rest is known by the number of its session and process group, which
//! the unreaped main process keeps from being used again.

use super::Supervisor;
use super::adopted_end::{adopted_still_lives, find_adopted};
use super::groups::{Finish, Holder};
use super::run::{Main, Rest};
use crate::engine::Input;
use crate::sys::reap::{Keep, Look};
use crate::sys::{pidfd, processes, reap};
use crate::vocabulary::{
    Containment, ExitStatus, Pid, RequestError, Signal, StateName, TaskId, Ticket, Wall,
};
use nix::errno::Errno;
use std::os::fd::AsFd;

impl Supervisor {
    /// The main process of a run has ended, or its init, or so it seems.
    pub(super) fn process_ended(&mut self, task: TaskId) {
        self.init_ended(task);
        let Some(run) = self.runs.get_mut(task) else { return };
        if run.main != Main::Alive {
            return;
        }
        if run.adopted {
            return self.adopted_ended(task);
        }
        let keep = match (run.containment, &run.init) {
            // Nobody else is in its session's place: a namespace is the name of the rest.
            (Containment::Session, None) => Keep::Zombie,
            // First it is taken down how it ended: nobody else can tell once it is reaped.
            _ if self.keeping.is_some() => Keep::Zombie,
            _ => Keep::Nothing,
        };
        let look = reap::look(run.pid, run.pidfd.as_ref(), keep);
        let status = match look {
            Look::Alive => return,
            Look::Ended(status) => status,
            Look::Gone => ExitStatus::Unknown,
        };
        // Closing it also takes it out of the epoll set.
        run.pidfd = None;
        run.main = Main::Zombie;
        if keep == Keep::Nothing || look == Look::Gone {
            self.main_is_gone(task);
        }
        self.tell_end(task, status, None);
    }

    /// The main process of a run has ended so; without a time: now.
    pub(super) fn tell_end(&mut self, task: TaskId, status: ExitStatus, time: Option<Wall>) {
        let Some(run) = self.runs.get(task) else { return };
        let (starting, killed) = (run.start.is_some(), run.rest == Some(Rest::Killed));
        if starting && self.start_ended(task) {
            return;
        }
        let input = match time {
            Some(time) => Input::MainExitedBefore { status, time },
            None => Input::MainExited(status),
        };
        self.inputs.push_back((task, input));
        if killed {
            self.end_rest(task);
        }
    }

    fn main_is_gone(&mut self, task: TaskId) {
        if let Some(run) = self.runs.get_mut(task) {
            run.main = Main::Gone;
            let pid = run.pid;
            self.runs.forget_pid(pid, task);
            if self.child_signal.is_some() {
                self.sweep.note_reaped(pid);
            }
        }
    }

    /// Kills the whole run; what has a main process goes on when that has ended.
    pub(super) fn kill_all(&mut self, task: TaskId) {
        let Some(run) = self.runs.get_mut(task) else { return self.emptied(task) };
        run.rest = Some(Rest::Killed);
        match run.main {
            Main::Alive => self.kill_main_and_group(task),
            Main::Zombie | Main::Gone => self.end_rest(task),
        }
    }

    /// Waits until nothing is left of a run whose main process has ended.
    pub(super) fn await_empty(&mut self, task: TaskId) {
        let Some(run) = self.runs.get_mut(task) else { return self.emptied(task) };
        run.rest = Some(Rest::Awaited);
        self.let_init_leave(task);
        self.end_rest(task);
    }

    /// Lets go of what a run leaves.
    pub(super) fn leave_rest(&mut self, task: TaskId) {
        self.reap_main(task);
        self.leave_init(task);
        match self.runs.get(task).zip(self.engine.identity(task)) {
            Some((run, identity)) if run.containment == Containment::CgroupV2 => {
                let leaf = self.groups.leaf(identity, run.number);
                let until_now = self.groups.oom_killed(&leaf);
                if let Finish::Watch(key) = self.groups.finish(leaf, None, false) {
                    self.register_group(key);
                }
                return self.run_over(task, until_now);
            }
            Some(_) => self.leave_session(),
            None => {}
        }
        self.emptied(task);
    }

    /// SIGKILL to every process of a run whose main one lives.
    pub(super) fn kill_main_and_group(&mut self, task: TaskId) {
        let Some(run) = self.runs.get(task) else { return };
        if run.adopted {
            return self.kill_adopted(task);
        }
        let rest = match (run.containment, self.engine.identity(task)) {
            (Containment::CgroupV2, Some(identity)) => {
                let killed = self.groups.kill(&self.groups.leaf(identity, run.number));
                if killed.is_ok() { Vec::new() } else { processes::descendants(run.pid) }
            }
            _ => processes::descendants(run.pid),
        };
        if run.containment == Containment::Session {
            let _ = processes::kill_group(run.pid, Signal::KILL);
        }
        // It may not have entered its group yet, or may have left it.
        if let Err(errno) = kill_main(run, Signal::KILL) {
            log::warn!("cannot kill process {}: {}", run.pid, errno.desc());
        }
        self.kill_init(task);
        rest.into_iter().for_each(kill_surely);
    }

    /// Ends or awaits what the main process left.
    pub(super) fn end_rest(&mut self, task: TaskId) {
        let Some(run) = self.runs.get(task) else { return };
        let kill = run.rest == Some(Rest::Killed);
        if kill {
            self.kill_init(task);
        }
        if run.containment == Containment::CgroupV2 {
            self.reap_main(task);
            return self.end_group(task, kill);
        }
        if run.adopted && run.init.is_none() {
            return self.look_at_adopted(task);
        }
        if kill && run.main == Main::Zombie {
            let _ = processes::kill_group(run.pid, Signal::KILL);
        }
        if run.init.is_some() {
            // It ends when all others have, and those that we have not reaped count.
            self.reap_main(task);
            if self.reap_init(task) {
                self.emptied(task);
            }
            return;
        }
        if self.options.own_process {
            // What is left can only be our own children, so that the number is not needed.
            self.reap_main(task);
        }
        self.look_at_rest(task);
    }

    /// Removes the group of a run, once nothing is left in it.
    fn end_group(&mut self, task: TaskId, kill: bool) {
        let Some((run, identity)) = self.runs.get(task).zip(self.engine.identity(task)) else {
            return;
        };
        if let Some(key) = run.group {
            if kill {
                self.groups.kill_watched(key);
            }
            return self.group_changed(key);
        }
        let leaf = self.groups.leaf(identity, run.number);
        match self.groups.finish(leaf, Some(Holder::Run(task)), kill) {
            Finish::Gone(oom_killed) => self.run_over(task, oom_killed),
            Finish::Watch(key) => {
                if let Some(run) = self.runs.get_mut(task) {
                    run.group = Some(key);
                }
                self.register_group(key);
            }
        }
    }

    /// Reaps a main process that was left as a zombie.
    fn reap_main(&mut self, task: TaskId) {
        if let Some(run) = self.runs.get(task)
            && run.main == Main::Zombie
        {
            let pid = run.pid;
            // What cannot be kept now is tried again: to wait for it would hold up the task.
            let _ = self.take_down();
            reap::look(pid, None, Keep::Nothing);
            self.main_is_gone(task);
        }
    }

    /// Nothing is left of a run that no v2 group held.
    pub(super) fn emptied(&mut self, task: TaskId) {
        self.reap_main(task);
        let oom_killed = match (self.runs.get(task), self.engine.identity(task)) {
            (Some(run), Some(identity)) => {
                let leaf = self.groups.leaf(identity, run.number);
                self.groups.release(&leaf)
            }
            _ => None,
        };
        self.run_over(task, oom_killed);
    }

    /// Nothing is left of a run, its groups included, but perhaps of commands in it.
    pub(super) fn run_over(&mut self, task: TaskId, oom_killed: Option<bool>) {
        self.reap_main(task);
        if self.execs.holds(task, oom_killed) {
            return self.look_at_groups_of_execs(Some(task));
        }
        self.watch_adopted_init(task);
        self.kill_init(task);
        if !self.reap_init(task) {
            if let Some(run) = self.runs.get_mut(task) {
                run.over = Some(oom_killed);
            }
            return;
        }
        #[cfg(feature = "stats")]
        self.sampler.forget(task);
        let start = self.runs.remove(task).and_then(|run| run.start);
        let input = match start.and_then(|start| start.failure) {
            Some(error) => {
                self.relay.abort_run(task);
                Input::StartFailed(error)
            }
            None => Input::Empty { oom_killed },
        };
        self.inputs.push_back((task, input));
    }

    /// Names the processes of a run.
    pub(super) fn list_processes(&mut self, task: TaskId) {
        let pids = self.processes_of(task);
        self.inputs.push_back((task, Input::Processes(pids)));
    }

    fn processes_of(&mut self, task: TaskId) -> Vec<Pid> {
        let Some(run) = self.runs.get(task) else { return Vec::new() };
        match (run.containment, self.engine.identity(task)) {
            (Containment::CgroupV2, Some(identity)) => {
                self.groups.processes(&self.groups.leaf(identity, run.number))
            }
            _ => {
                let (pid, main) = (run.pid, run.main);
                let mut pids = Vec::new();
                if main == Main::Alive {
                    pids.push(pid);
                    pids.extend(processes::descendants(pid));
                    // What was listed were its own, if it lives even now.
                    if !adopted_still_lives(run) {
                        pids.clear();
                    }
                }
                if let Some(init) = self.init_of(task) {
                    // Orphans become its children.
                    pids.push(init);
                    pids.extend(processes::descendants(init));
                    return pids;
                }
                for pid in self.rest_of_session(task) {
                    if !pids.contains(&pid) {
                        pids.push(pid);
                    }
                }
                pids
            }
        }
    }

    /// Sends a signal and says how that went.
    pub(super) fn send_signal(
        &mut self,
        task: TaskId,
        signal: Signal,
        all: bool,
        ticket: Option<Ticket>,
    ) {
        if ticket.is_none() {
            self.note_sessions(task);
        }
        let result = self.try_signal(task, signal, all);
        self.inputs.push_back((task, Input::Signaled { ticket, result }));
    }

    fn try_signal(&mut self, task: TaskId, signal: Signal, all: bool) -> Result<(), RequestError> {
        let errno = match self.runs.get(task) {
            None => Err(Errno::ESRCH),
            Some(run) if all => {
                let main = kill_main(run, signal);
                let (pid, alive, adopted) = (run.pid, run.main == Main::Alive, run.adopted);
                let init = self.init_of(task);
                for other in self.processes_of(task) {
                    if other == pid || Some(other) == init {
                        continue;
                    }
                    if adopted {
                        signal_surely(other, signal);
                    } else {
                        let _ = processes::kill(other, signal);
                    }
                }
                if alive { main } else { Ok(()) }
            }
            Some(run) => kill_main(run, signal),
        };
        let name = || self.engine.identity(task).map_or_else(String::new, |i| i.name.to_string());
        match errno {
            Ok(()) => Ok(()),
            Err(Errno::ESRCH) => Err(RequestError::NotRunning {
                name: name(),
                state: self.engine.status(task).map_or(StateName::Exited, |status| status.state),
            }),
            Err(errno) => Err(RequestError::NotPermitted {
                field: "signal".to_owned(),
                reason: format!("send {signal} to task {:?}: {}", name(), errno.desc()),
            }),
        }
    }
}

/// A signal to the main process, which is ours and not reaped.
pub(super) fn kill_main(run: &super::run::Run, signal: Signal) -> Result<(), Errno> {
    match (&run.pidfd, run.main) {
        (Some(fd), _) => pidfd::send_signal(fd.as_fd(), signal),
        (None, Main::Alive) if run.adopted => {
            find_adopted(run).and_then(|fd| pidfd::send_signal(fd.as_fd(), signal))
        }
        (None, Main::Alive) => processes::kill(run.pid, signal),
        (None, Main::Zombie | Main::Gone) => Err(Errno::ESRCH),
    }
}

/// SIGKILL to a process that a look found, and to no other: what has its number by now may be one.
pub(super) fn kill_surely(pid: Pid) {
    signal_surely(pid, Signal::KILL);
}

fn signal_surely(pid: Pid, signal: Signal) {
    let Some(before) = processes::family(pid) else { return };
    match pidfd::open(pid) {
        Ok(fd) if processes::family(pid).is_some_and(|now| now.session == before.session) => {
            let _ = pidfd::send_signal(fd.as_fd(), signal);
        }
        _ => {}
    }
}
