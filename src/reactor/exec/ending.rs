//! The end of a command: its main process, then all that it leaves.

use crate::engine::{ExecAction, ExecInput};
use crate::reactor::ending::kill_surely;
use crate::reactor::groups::{Finish, Holder};
use crate::reactor::orphans::sessions_of;
use crate::reactor::run::Main;
use crate::reactor::{Due, Supervisor};
use crate::sys::reap::{self, Keep, Look};
use crate::sys::{pidfd, processes};
use crate::vocabulary::{ExecId, ExitStatus, Mono, Pid, Signal, TaskId};
use std::os::fd::AsFd;
use std::time::Duration;

/// How soon what was killed is looked at again; doubled up to the second.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);

impl Supervisor {
    pub(in crate::reactor) fn perform_exec(&mut self, exec: ExecId, action: ExecAction) {
        #[cfg(fuzzing)]
        if self.pretence().is_some() {
            return self.pretend_exec(exec, action);
        }
        match action {
            ExecAction::Spawn { task, spec } => self.execs.starts.push_back((exec, task, spec)),
            ExecAction::Signal(signal) => self.signal_exec_main(exec, signal),
            ExecAction::Kill => self.kill_all_of_exec(exec),
            ExecAction::ListProcesses => {
                let pids = self.processes_of_exec(exec);
                self.execs.tell(exec, ExecInput::Processes(pids));
            }
            ExecAction::FinishOutput => self.finish_exec_output(exec),
            ExecAction::Forget => self.execs.forget(exec),
        }
    }

    /// The main process of a command has ended, or so it seems.
    pub(in crate::reactor) fn exec_process_ended(&mut self, exec: ExecId) {
        let Some(found) = self.execs.all.get_mut(&exec) else { return };
        if found.main != Main::Alive {
            return;
        }
        let status = match reap::look(found.pid, found.pidfd.as_ref(), Keep::Zombie) {
            Look::Alive => return,
            Look::Ended(status) => status,
            Look::Gone => ExitStatus::Unknown,
        };
        // Closing it also takes it out of the epoll set.
        found.pidfd = None;
        found.main = Main::Zombie;
        let killed = found.killed;
        if let Some(start) = &mut found.start {
            if let Some(Err(error)) = start.pipe.take().map(|mut pipe| pipe.last_word()) {
                start.failure.get_or_insert(error);
            }
            if start.failure.is_some() {
                found.killed = true;
                return self.end_exec_rest(exec);
            }
            found.start = None;
            self.execs.tell(exec, ExecInput::ExecSucceeded);
        }
        self.execs.tell(exec, ExecInput::MainExited(status));
        if killed {
            self.end_exec_rest(exec);
        }
    }

    /// Kills all of a command; what has a main process goes on when that has ended.
    fn kill_all_of_exec(&mut self, exec: ExecId) {
        if self.take_back_exec(exec) {
            return;
        }
        let Some(found) = self.execs.all.get_mut(&exec) else { return };
        found.killed = true;
        match found.main {
            Main::Alive => self.kill_exec_processes(exec),
            Main::Zombie | Main::Gone => self.end_exec_rest(exec),
        }
    }

    /// SIGKILL to every process of a command whose main one lives.
    pub(super) fn kill_exec_processes(&mut self, exec: ExecId) {
        let Some(found) = self.execs.all.get_mut(&exec) else { return };
        let pid = found.pid;
        let by_group = found.leaf.as_ref().is_some_and(|leaf| self.groups.kill(leaf).is_ok());
        let rest = if by_group { Vec::new() } else { processes::descendants(pid) };
        if found.leaf.is_none() {
            let made = rest.iter().filter_map(|&pid| processes::family(pid));
            found.sessions = sessions_of(made, pid);
            let _ = processes::kill_group(pid, Signal::KILL);
        }
        // It may not have entered its group yet, or may have left it.
        let killed = match &found.pidfd {
            Some(fd) => pidfd::send_signal(fd.as_fd(), Signal::KILL),
            None => processes::kill(pid, Signal::KILL),
        };
        if let Err(errno) = killed {
            log::warn!("cannot kill process {pid}: {}", errno.desc());
        }
        rest.into_iter().for_each(kill_surely);
    }

    fn signal_exec_main(&mut self, exec: ExecId, signal: Signal) {
        let Some(found) = self.execs.all.get(&exec) else { return };
        let sent = match (&found.pidfd, found.main) {
            (Some(fd), _) => pidfd::send_signal(fd.as_fd(), signal),
            (None, Main::Alive) => processes::kill(found.pid, signal),
            (None, Main::Zombie | Main::Gone) => Ok(()),
        };
        if let Err(errno) = sent {
            log::debug!("cannot send {signal} to process {}: {}", found.pid, errno.desc());
        }
    }

    /// Ends what the main process left.
    fn end_exec_rest(&mut self, exec: ExecId) {
        let Some(found) = self.execs.all.get(&exec) else { return };
        if found.empty {
            return;
        }
        let Some(leaf) = found.leaf.clone() else {
            if found.main == Main::Zombie {
                let _ = processes::kill_group(found.pid, Signal::KILL);
            }
            if self.options.own_process {
                // What is left can only be our own children, so that the number is not needed.
                self.reap_exec_main(exec);
            }
            return self.look_at_exec(exec);
        };
        let group = found.group;
        self.reap_exec_main(exec);
        if let Some(key) = group {
            return self.group_changed(key);
        }
        match self.groups.finish(leaf, Some(Holder::Exec(exec)), true) {
            Finish::Gone(_) => self.exec_emptied(exec),
            Finish::Watch(key) => {
                if let Some(found) = self.execs.all.get_mut(&exec) {
                    found.group = Some(key);
                }
                self.register_group(key);
            }
        }
    }

    /// The group of a task is gone, and with it those of its commands, which tell nothing any more.
    /// `None`: that of a task that lives no more.
    pub(in crate::reactor) fn look_at_groups_of_execs(&mut self, task: Option<TaskId>) {
        for key in self.execs.groups_of(task) {
            self.group_changed(key);
        }
    }

    /// The group of a command is gone.
    pub(in crate::reactor) fn exec_group_gone(&mut self, exec: ExecId, key: super::Key) {
        if self.execs.all.get(&exec).is_some_and(|found| found.group == Some(key)) {
            self.exec_emptied(exec);
        }
    }

    fn reap_exec_main(&mut self, exec: ExecId) {
        if let Some(pid) = self.execs.reap_main(exec)
            && self.child_signal.is_some()
        {
            self.sweep.note_reaped(pid);
        }
    }

    /// Has what is left of a command that no group holds looked for.
    pub(in crate::reactor) fn look_at_exec(&mut self, exec: ExecId) {
        let wanted = self.execs.all.get(&exec).is_some_and(|found| found.killed && !found.empty);
        if wanted {
            self.want_look_for_exec(exec);
        }
    }

    /// These are left of it: they are killed, and looked for again.
    pub(in crate::reactor) fn exec_rest_found(&mut self, now: Mono, exec: ExecId, left: Vec<Pid>) {
        let Some(found) = self.execs.all.get_mut(&exec).filter(|found| !found.empty) else {
            return;
        };
        if left.is_empty() {
            return self.exec_emptied(exec);
        }
        found.looks = found.looks.saturating_add(1);
        let again = LOOK_AGAIN.saturating_mul(1 << found.looks.min(7)).min(LOOK_AGAIN_MAX);
        left.into_iter().for_each(kill_surely);
        self.deadlines.add(now + again, Due::ExecRest(exec));
    }

    /// Nothing of a command is left.
    fn exec_emptied(&mut self, exec: ExecId) {
        self.reap_exec_main(exec);
        let Some(found) = self.execs.all.get_mut(&exec) else { return };
        found.empty = true;
        let task = found.task;
        let input = match found.start.take().and_then(|start| start.failure) {
            Some(error) => {
                self.execs.ends.remove(&exec);
                ExecInput::StartFailed(error)
            }
            None => ExecInput::Empty,
        };
        self.execs.tell(exec, input);
        if let Some(&oom_killed) = self.execs.held.get(&task)
            && !self.execs.holds(task, oom_killed)
        {
            self.execs.held.remove(&task);
            self.run_over(task, oom_killed);
        }
    }

    fn processes_of_exec(&mut self, exec: ExecId) -> Vec<Pid> {
        let Some(found) = self.execs.all.get(&exec) else { return Vec::new() };
        if let Some(leaf) = &found.leaf {
            return self.groups.processes(leaf);
        }
        let mut pids = Vec::new();
        if found.main == Main::Alive {
            pids.push(found.pid);
            pids.extend(processes::descendants(found.pid));
        }
        for pid in self.rest_of_exec(exec) {
            if !pids.contains(&pid) {
                pids.push(pid);
            }
        }
        pids
    }
}
