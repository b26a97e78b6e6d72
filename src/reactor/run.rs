//! The runs that have a process or anything else left in the kernel.

use super::oom::OomWatch;
use super::output::ChildEnds;
use super::token::Key;
use crate::sys::spawn::{Placement, Plan, StatusPipe};
use crate::vocabulary::{Containment, Mono, Ordered, Pid, ProcessMark, StartError, TaskId};
use std::os::fd::{OwnedFd, RawFd};

/// One run of a task.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) task: TaskId,
    /// Its number: with the task's name, that of its group.
    pub(super) number: u64,
    pub(super) pid: Pid,
    /// `None` when descriptors are scarce, or when exits are told by SIGCHLD.
    pub(super) pidfd: Option<OwnedFd>,
    /// The loop watches the pidfd.
    pub(super) watched: bool,
    pub(super) main: Main,
    pub(super) containment: Containment,
    /// What becomes of the rest, once that is decided.
    pub(super) rest: Option<Rest>,
    /// The watch of its group, once something is left in that.
    pub(super) group: Option<Key>,
    /// The exec is awaited, or has failed and the child's end is awaited.
    pub(super) start: Option<Box<Start>>,
    /// Looks for what is left of it so far.
    pub(super) looks: u8,
    /// Sessions that descendants of the main process had made when it was told to stop.
    pub(super) sessions: Box<[i32]>,
    /// What tells the main process from every other one; kept for a later supervisor.
    pub(super) mark: Option<ProcessMark>,
    /// An earlier supervisor has made it: its processes are not our children.
    pub(super) adopted: bool,
    /// The main process has ended, and how becomes known before this or not at all.
    pub(super) status_until: Option<Mono>,
    /// Process 1 of its own pid namespace, as long as it is not reaped.
    pub(super) init: Option<Box<Init>>,
    /// All but the init is gone, which the end of the run waits for: what is known of the OOM
    /// killer.
    pub(super) over: Option<Option<bool>>,
    /// The OOM killer is watched for, since it is to end all of the run.
    pub(super) oom: Option<OomWatch>,
}

impl Run {
    /// One whose main process lives, and of which nothing else is known yet.
    pub(super) fn new(task: TaskId, number: u64, pid: Pid, containment: Containment) -> Run {
        Run {
            task,
            number,
            pid,
            pidfd: None,
            watched: true,
            main: Main::Alive,
            containment,
            rest: None,
            group: None,
            start: None,
            looks: 0,
            sessions: Box::default(),
            mark: None,
            adopted: false,
            status_until: None,
            init: None,
            over: None,
            oom: None,
        }
    }
}

// Ten thousand of them are to fit into a few megabytes.
const _: () = assert!(size_of::<Run>() <= 136);

/// The init of a run.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) pid: Pid,
    /// See [`Run::mark`].
    pub(super) mark: Option<ProcessMark>,
    pub(super) pidfd: OwnedFd,
    /// The loop watches it.
    pub(super) watched: bool,
}

/// The main process.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Main {
    Alive,
    /// Ended, and not reaped yet: its pid and process group cannot be another's.
    Zombie,
    /// Reaped, by us or by somebody else.
    Gone,
}

/// What becomes of the processes that the main one leaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    Killed,
    Awaited,
}

/// A start whose outcome is not known yet.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) pipe: Option<StatusPipe>,
    pub(super) failure: Option<StartError>,
    /// It may have got as far as the exec after its failure was decided.
    pub(super) executed: bool,
    /// What is there so far is the init; this is how it goes on when that is ready.
    pub(super) inside: Option<Box<Inside>>,
}

/// The second half of a start.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) plan: Plan,
    pub(super) stdin: Option<RawFd>,
    pub(super) ends: ChildEnds,
    pub(super) group: Option<Placement>,
}

/// All runs, by task and by pid.
#[derive(Debug, Default)]
pub(super) struct Runs {
    slots: Vec<Option<Run>>,
    len: usize,
    /// Those whose end the loop does not tell.
    unwatched: usize,
    by_pid: Ordered<Pid, TaskId>,
}

impl Runs {
    pub(super) fn insert(&mut self, run: Run) {
        let index = run.task.index();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        self.remove_at(index);
        self.len += 1;
        self.unwatched += usize::from(!run.watched);
        if let Some(slot) = self.slots.get_mut(index) {
            self.by_pid.insert(run.pid, run.task);
            *slot = Some(run);
        }
    }

    pub(super) fn get(&self, task: TaskId) -> Option<&Run> {
        self.slots.get(task.index())?.as_ref().filter(|run| run.task == task)
    }

    pub(super) fn get_mut(&mut self, task: TaskId) -> Option<&mut Run> {
        self.slots.get_mut(task.index())?.as_mut().filter(|run| run.task == task)
    }

    pub(super) fn remove(&mut self, task: TaskId) -> Option<Run> {
        self.get(task)?;
        self.remove_at(task.index())
    }

    fn remove_at(&mut self, index: usize) -> Option<Run> {
        let run = self.slots.get_mut(index)?.take()?;
        self.len -= 1;
        self.unwatched -= usize::from(!run.watched);
        self.forget_pid(run.pid, run.task);
        if let Some(init) = &run.init {
            self.forget_pid(init.pid, run.task);
        }
        Some(run)
    }

    /// What was taken for the main process of a run is its init, and this is the main one.
    pub(super) fn enter(
        &mut self,
        task: TaskId,
        pid: Pid,
        pidfd: Option<OwnedFd>,
        watched: bool,
    ) -> Option<&mut Run> {
        let run = self.slots.get_mut(task.index())?.as_mut().filter(|run| run.task == task)?;
        let init = run.pidfd.take()?;
        let (above, mark) = (run.pid, run.mark.take());
        run.init = Some(Box::new(Init { pid: above, mark, pidfd: init, watched: true }));
        self.unwatched -= usize::from(!run.watched);
        self.unwatched += usize::from(!watched);
        self.by_pid.insert(pid, task);
        (run.pid, run.pidfd, run.watched) = (pid, pidfd, watched);
        Some(run)
    }

    /// The loop tells the end of this one from now on, by its pidfd.
    pub(super) fn watch(&mut self, task: TaskId, pidfd: OwnedFd) {
        if let Some(run) = self.slots.get_mut(task.index()).and_then(Option::as_mut)
            && run.task == task
            && !run.watched
        {
            (run.pidfd, run.watched) = (Some(pidfd), true);
            self.unwatched -= 1;
        }
    }

    /// How many have an end that the loop does not tell.
    pub(super) fn unwatched(&self) -> usize {
        self.unwatched
    }

    /// The pid may be another process's from now on.
    pub(super) fn forget_pid(&mut self, pid: Pid, task: TaskId) {
        if self.by_pid.get(&pid) == Some(&task) {
            self.by_pid.remove(&pid);
        }
    }

    /// This process is one of a task's, beside its main one.
    #[cfg(feature = "cli")]
    pub(super) fn note_pid(&mut self, pid: Pid, task: TaskId) {
        self.by_pid.insert(pid, task);
    }

    pub(super) fn of_pid(&self, pid: Pid) -> Option<TaskId> {
        self.by_pid.get(&pid).copied()
    }

    /// The task in this place of the table, for a scan in slices.
    pub(super) fn at(&self, index: usize) -> Option<&Run> {
        self.slots.get(index)?.as_ref()
    }

    /// Gives back the room behind the last run.
    pub(super) fn shrink(&mut self) {
        let used = self.slots.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.slots.truncate(used);
        self.slots.shrink_to_fit();
    }

    /// Places of the table.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}
