//! Groups that are to become empty: watched, looked at again, and removed.

use super::groups::system;
use super::token::{GENERATION_MASK, Key, Owner};
use super::{Due, Groups, Supervisor, register};
use crate::sys::cgroup;
use crate::vocabulary::{ExecId, TaskId, cause};
use mio::Interest;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How soon a group that could not be removed is tried again; doubled up to the second.
const TRY_AGAIN: Duration = Duration::from_millis(1);
const TRY_AGAIN_MAX: Duration = Duration::from_millis(100);
/// How often what fails for another reason than processes in the group is tried again.
const TRIES_MAX: u32 = 8;
/// How soon a v1 group is tried again that something was left in; doubled each time.
const TRY_AGAIN_LEFT: Duration = Duration::from_millis(10);

/// A group that is to become empty.
#[derive(Debug)]
pub(super) struct Watched {
    generation: u32,
    leaf: String,
    /// `None` where no descriptor could be had: then time tells.
    events: Option<OwnedFd>,
    /// Who waits for it.
    owner: Option<Holder>,
    /// What is in it is still to be killed.
    kill: bool,
    tries: u32,
}

/// Who waits for a group to become empty.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// The run of a task.
    Run(TaskId),
    /// A command in a task.
    Exec(ExecId),
}

/// What became of a group whose main process is gone.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    /// It is removed; whether the OOM killer ended a process in it, where somebody counts.
    Gone(Option<bool>),
    /// Something is left in it.
    Watch(Key),
}

/// What a look at a watched group says.
enum Progress {
    Waiting,
    Removed(Option<Holder>, Option<bool>),
    TryAgain(Duration),
}

impl Supervisor {
    /// Has v1 groups removed in which something was left, which may take a moment to go.
    pub(super) fn look_for_left_groups(&mut self) {
        if self.groups.limits.take_new_left() {
            self.groups.tries_of_left = 0;
            self.deadlines.add(self.now.mono + TRY_AGAIN_LEFT, Due::LeftGroups);
        }
    }

    /// Tries to remove them. What stays for longer is tried again when another one is removed.
    pub(super) fn remove_left_groups(&mut self) {
        let tries = self.groups.tries_of_left;
        if self.groups.limits.remove_left() && tries < TRIES_MAX {
            self.groups.tries_of_left += 1;
            let wait = TRY_AGAIN_LEFT.saturating_mul(1 << tries);
            self.deadlines.add(self.now.mono + wait, Due::LeftGroups);
        }
    }

    /// Watches a group until it is empty, which it may be already.
    pub(super) fn register_group(&mut self, key: Key) {
        if let Some(watched) = self.groups.get_mut(key)
            && let Some(events) = &watched.events
            && let Err(error) =
                register(&self.poll, events.as_fd(), Owner::Group(key), Interest::PRIORITY)
        {
            log::warn!("cannot watch cgroup {}: {}", watched.leaf, cause(&error));
            watched.events = None;
        }
        self.group_changed(key);
    }

    /// A watched group may have become empty.
    pub(super) fn group_changed(&mut self, key: Key) {
        match self.groups.look(key) {
            Progress::Waiting => {}
            Progress::Removed(owner, oom_killed) => {
                // It may be at another run by now.
                let waits =
                    |task: TaskId| self.runs.get(task).is_some_and(|run| run.group == Some(key));
                match owner {
                    Some(Holder::Run(task)) if waits(task) => self.run_over(task, oom_killed),
                    Some(Holder::Exec(exec)) => self.exec_group_gone(exec, key),
                    Some(Holder::Run(_)) => {}
                    None => self.look_at_groups_of_execs(None),
                }
            }
            Progress::TryAgain(wait) => {
                self.deadlines.add(self.now.mono + wait, Due::Group(key));
            }
        }
    }
}

impl Watched {
    fn try_again(&mut self) -> Progress {
        self.tries = self.tries.saturating_add(1);
        let wait = TRY_AGAIN.saturating_mul(1 << self.tries.min(7));
        Progress::TryAgain(wait.min(TRY_AGAIN_MAX))
    }
}

impl Groups {
    /// Removes a group whose main process is gone; what is left in it is killed or watched.
    pub(super) fn finish(&mut self, leaf: String, owner: Option<Holder>, kill: bool) -> Finish {
        let oom_killed = self.oom_killed(&leaf);
        let Ok(Some(tree)) = &self.tree else {
            self.remove_limits(&leaf);
            return Finish::Gone(oom_killed);
        };
        if tree.remove_group(&leaf).is_ok() {
            self.remove_limits(&leaf);
            return Finish::Gone(oom_killed);
        }
        let events = tree.open_events(&leaf).ok();
        self.next_generation = self.next_generation.wrapping_add(1) & GENERATION_MASK;
        let generation = self.next_generation;
        let watched = Watched { generation, leaf, events, owner, kill, tries: 0 };
        Finish::Watch(Key { index: self.watched.insert(watched) as u32, generation })
    }

    /// What is left in a watched group is to be killed.
    pub(super) fn kill_watched(&mut self, key: Key) {
        if let Some(watched) = self.get_mut(key) {
            watched.kill = true;
        }
    }

    /// How many groups are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Watched> {
        self.watched.get_mut(key.index as usize).filter(|w| w.generation == key.generation)
    }

    fn look(&mut self, key: Key) -> Progress {
        let Ok(Some(tree)) = &self.tree else { return Progress::Waiting };
        let index = key.index as usize;
        let Some(watched) =
            self.watched.get_mut(index).filter(|watched| watched.generation == key.generation)
        else {
            return Progress::Waiting;
        };
        if watched.kill {
            match tree.kill_group(&watched.leaf) {
                Ok(()) => watched.kill = false,
                Err(errno) => {
                    if watched.tries == 0 {
                        let leaf = &watched.leaf;
                        log::warn!("cannot kill cgroup {leaf}, trying again: {}", errno.desc());
                    }
                    return watched.try_again();
                }
            }
        }
        if watched.events.as_ref().is_some_and(cgroup::is_populated) {
            return Progress::Waiting;
        }
        let oom_killed = self.limits.oom_killed(system(&self.mounted, &self.tree), &watched.leaf);
        if let Err(errno) = tree.remove_group_recursively(&watched.leaf) {
            // Anything but processes that are left is no reason to wait for long.
            if errno == Errno::EBUSY || watched.tries < TRIES_MAX {
                return watched.try_again();
            }
            log::warn!("cgroup {} stays: it cannot be removed: {}", watched.leaf, errno.desc());
        }
        let watched = self.watched.remove(index);
        self.remove_limits(&watched.leaf);
        Progress::Removed(watched.owner, oom_killed)
    }
}
