//! Groups that are to become empty: watched, and removed then.

use super::{Groups, Holder, TRIES_MAX, TRY_AGAIN, TRY_AGAIN_MAX, Watched, system};
use crate::reactor::token::{Key, Owner};
use crate::reactor::{Due, Supervisor, register};
use crate::sys::cgroup;
use crate::vocabulary::{TaskId, cause};
use mio::Interest;
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

/// How soon a v1 group is tried again that something was left in; doubled each time.
const TRY_AGAIN_LEFT: Duration = Duration::from_millis(10);

/// What a look at a watched group says.
enum Progress {
    Waiting,
    Removed(Option<Holder>, Option<bool>),
    TryAgain(Duration),
}

impl Supervisor {
    /// Has v1 groups removed in which something was left, which may take a moment to go.
    pub(in crate::reactor) fn look_for_left_groups(&mut self) {
        if self.groups.limits.take_new_left() {
            self.groups.tries_of_left = 0;
            self.deadlines.add(self.now.mono + TRY_AGAIN_LEFT, Due::LeftGroups);
        }
    }

    /// Tries to remove them. What stays for longer is tried again when another one is removed.
    pub(in crate::reactor) fn remove_left_groups(&mut self) {
        let tries = self.groups.tries_of_left;
        if self.groups.limits.remove_left() && tries < TRIES_MAX {
            self.groups.tries_of_left += 1;
            let wait = TRY_AGAIN_LEFT.saturating_mul(1 << tries);
            self.deadlines.add(self.now.mono + wait, Due::LeftGroups);
        }
    }

    /// Watches a group until it is empty, which it may be already.
    pub(in crate::reactor) fn register_group(&mut self, key: Key) {
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
    pub(in crate::reactor) fn group_changed(&mut self, key: Key) {
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
