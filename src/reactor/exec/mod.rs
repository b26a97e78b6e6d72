//! Commands that are run in the context of tasks: made, watched, read and ended.

mod api;
mod ending;
#[cfg(feature = "cli")]
mod handover;
mod output;
#[cfg(fuzzing)]
mod pretend;
mod start;

pub use api::ExecEnds;

use super::run::{Main, Start};
use super::token::Key;
use crate::engine::ExecInput;
use crate::sys::reap::{self, Keep};
use crate::vocabulary::{ExecId, ExecSpec, Executed, Ordered, Pid, StreamKind, TaskId};
use output::Collected;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// One command.
#[derive(Debug)]
pub(super) struct Exec {
    task: TaskId,
    pid: Pid,
    pidfd: Option<OwnedFd>,
    /// The loop watches the pidfd.
    watched: bool,
    main: Main,
    /// The name of its group, where it has one of its own; else it is known by its session.
    leaf: Option<String>,
    /// What is left of it is to be killed.
    killed: bool,
    /// Nothing of it is left.
    empty: bool,
    /// The watch of its group, once something is left in that.
    group: Option<Key>,
    /// The exec is awaited, or has failed and the child's end is awaited.
    start: Option<Box<Start>>,
    /// Looks for what is left of it so far.
    looks: u8,
    /// Sessions that descendants of the main process had made when it was killed.
    sessions: Box<[i32]>,
    /// What it writes, where that is collected.
    output: Option<Box<Collected>>,
}

/// Every command that runs.
#[derive(Debug, Default)]
pub(super) struct Execs {
    all: Ordered<ExecId, Exec>,
    by_pid: Ordered<Pid, ExecId>,
    /// Those that wait for their turn to be started.
    starts: VecDeque<(ExecId, TaskId, Box<ExecSpec>)>,
    /// What the kernel answered, for the engine.
    inputs: VecDeque<(ExecId, ExecInput)>,
    /// Our ends of their streams, until they are taken.
    ends: Ordered<ExecId, ExecEnds>,
    /// Those whose end nobody was told of yet.
    ended: VecDeque<Executed>,
    /// Output that may be there.
    ready: VecDeque<(ExecId, StreamKind)>,
    /// What output is read into.
    buffer: Vec<u8>,
    /// Of the last group.
    number: u64,
    /// Runs that are over but for their commands, and whether the OOM killer had a part in it.
    held: Ordered<TaskId, Option<bool>>,
    #[cfg(fuzzing)]
    pretended: std::collections::BTreeMap<ExecId, pretend::Pretended>,
    /// What is there in place of processes.
    #[cfg(fuzzing)]
    pub(super) pretence: Option<super::pretend::Pretence>,
}

impl Execs {
    /// The command with this main process.
    pub(super) fn of_pid(&self, pid: Pid) -> Option<ExecId> {
        self.by_pid.get(&pid).copied()
    }

    /// The tasks in which a command is being started.
    #[cfg(feature = "cli")]
    pub(super) fn unfinished_starts(&self) -> impl Iterator<Item = TaskId> + '_ {
        let made = self.all.values().filter(|exec| exec.start.is_some()).map(|exec| exec.task);
        made.chain(self.starts.iter().map(|(_, task, _)| *task))
    }

    /// Those whose end the loop does not tell.
    pub(super) fn unwatched(&self) -> Vec<ExecId> {
        let unwatched = self.all.iter().filter(|(_, exec)| !exec.watched);
        unwatched.filter(|(_, exec)| exec.main == Main::Alive).map(|&(id, _)| id).collect()
    }

    pub(super) fn is_watched(&self, id: ExecId) -> bool {
        self.all.get(&id).is_some_and(|exec| exec.watched)
    }

    /// Whether the next turn has something to do at once.
    pub(super) fn has_more(&self) -> bool {
        !self.starts.is_empty()
            || !self.inputs.is_empty()
            || !self.ended.is_empty()
            || !self.ready.is_empty()
    }

    /// What the kernel answered last.
    pub(super) fn next_input(&mut self) -> Option<(ExecId, ExecInput)> {
        self.inputs.pop_front()
    }

    /// The groups of this task's commands that are watched; `None`: of all.
    fn groups_of(&self, task: Option<TaskId>) -> Vec<Key> {
        let is_its = |exec: &&Exec| task.is_none_or(|task| exec.task == task) && !exec.empty;
        let living = self.all.values().filter(is_its);
        living.filter_map(|exec| exec.group).collect()
    }

    /// A command of this task has processes: what is told here of the end of the task's run is told
    /// again when they are gone.
    pub(super) fn holds(&mut self, task: TaskId, oom_killed: Option<bool>) -> bool {
        let living = self.all.values().any(|exec| exec.task == task && !exec.empty);
        if living {
            let told_before = self.held.contains(&task);
            if !told_before {
                self.held.insert(task, oom_killed);
            }
        }
        living
    }

    /// By which a command that no group holds is known: its main process, and the sessions that
    /// its descendants had made.
    pub(super) fn family_of(&self, id: ExecId) -> Option<(Pid, &[i32])> {
        self.all.get(&id).map(|exec| (exec.pid, &*exec.sessions))
    }

    fn tell(&mut self, id: ExecId, input: ExecInput) {
        self.inputs.push_back((id, input));
    }

    /// The main process is reaped: its pid may be another process's from now on.
    fn forget_pid(&mut self, pid: Pid, id: ExecId) {
        if self.by_pid.get(&pid) == Some(&id) {
            self.by_pid.remove(&pid);
        }
    }

    /// Reaps a main process that was left as a zombie. The answer: its pid, where it did.
    fn reap_main(&mut self, id: ExecId) -> Option<Pid> {
        let exec = self.all.get_mut(&id).filter(|exec| exec.main == Main::Zombie)?;
        exec.main = Main::Gone;
        let pid = exec.pid;
        reap::look(pid, None, Keep::Nothing);
        self.forget_pid(pid, id);
        Some(pid)
    }

    fn forget(&mut self, id: ExecId) {
        self.all.remove(&id);
        // Somebody who was told of its end may still take its streams.
        if self.ended.back().is_none_or(|executed| executed.exec != id) {
            self.ends.remove(&id);
        }
    }

    /// How many there are, for tests that look for what is left behind.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.all.len()
            + self.by_pid.len()
            + self.starts.len()
            + self.ends.len()
            + self.ready.len()
            + self.held.len()
    }
}

/// The key of a command's descriptors: that of the command itself.
fn key_of(exec: ExecId) -> Key {
    Key { index: exec.index() as u32, generation: exec.generation() }
}

/// The command that a key of a descriptor means.
pub(super) fn id_of(key: Key) -> ExecId {
    ExecId::new(key.index, key.generation)
}
