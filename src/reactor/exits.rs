//! How exits become known: pidfds in the epoll set, and SIGCHLD in a process of our own, for
//! orphans and for tasks without a pidfd.

use super::run::Main;
use super::{Due, Supervisor};
use crate::sys::child_signal::{ChildSignal, SIGNALS_AT_ONCE};
use crate::sys::reap;
#[cfg(not(feature = "cli"))]
use crate::sys::reap::Keep;
use crate::vocabulary::limits::{EXITS_PER_TURN, PLACES_PER_TURN};
use crate::vocabulary::{Mono, Pid, TaskId};
use std::time::Duration;

/// A look for children whose signal was lost costs 32 ns per living child: at most this often.
const SWEEP_PAUSE: Duration = Duration::from_millis(10);
/// Orphans whose signal was lost stay zombies for this long at most.
const ORPHAN_SWEEP: Duration = Duration::from_secs(1);
/// How soon the end of a guest's task is seen that the loop could not be made to tell.
const UNWATCHED_LOOK: Duration = Duration::from_millis(250);
/// Zombies that one sweep takes by itself; more of them are found by a scan of the table.
const SWEEP_MAX: usize = 16;

/// Signals of children reaped before that are recognized.
const REAPED_MAX: usize = 64;

/// The search for children that ended without a signal of their own.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// Where the scan of the table goes on.
    scan: Option<usize>,
    not_before: Mono,
    due: Option<Mono>,
    /// Reaped already, by way of their pidfds: their signals are due, or were lost.
    reaped: Vec<Pid>,
}

impl Sweep {
    pub(super) fn is_scanning(&self) -> bool {
        self.scan.is_some()
    }

    /// A child was reaped whose signal may still come.
    pub(super) fn note_reaped(&mut self, pid: Pid) {
        if self.reaped.len() >= REAPED_MAX {
            // Most of these signals were lost. To forget one costs one needless call.
            self.reaped.clear();
        }
        self.reaped.push(pid);
    }

    fn was_reaped(&mut self, pid: Pid) -> bool {
        let known = self.reaped.iter().position(|&reaped| reaped == pid);
        known.map(|index| self.reaped.swap_remove(index)).is_some()
    }
}

impl Supervisor {
    /// SIGCHLD came: for each signal that was not lost, its child.
    pub(super) fn child_signaled(&mut self) {
        loop {
            let named = self.child_signal.as_ref().map_or(Vec::new(), ChildSignal::take_some);
            for &pid in &named {
                match self.runs.of_pid(pid) {
                    None => self.other_child_signaled(pid),
                    Some(task) if self.is_watched(task) => {}
                    Some(task) => self.process_ended(task),
                }
            }
            if named.len() < SIGNALS_AT_ONCE {
                break;
            }
        }
        // The signal of another one may have been lost in this one.
        if self.has_unwatched() {
            self.schedule_sweep(self.sweep.not_before.max(self.now.mono));
        } else {
            self.schedule_sweep(self.now.mono + ORPHAN_SWEEP);
        }
    }

    /// Goes on with the ends that the loop has told of: as many as a turn has time for.
    pub(super) fn take_ended(&mut self) {
        for _ in 0..EXITS_PER_TURN {
            let Some(task) = self.ended.pop_front() else { return };
            self.process_ended(task);
        }
    }

    /// A child that is no task's main process: that of a command, or an orphan.
    fn other_child_signaled(&mut self, pid: Pid) {
        match self.execs.of_pid(pid) {
            Some(exec) if self.execs.is_watched(exec) => {}
            Some(exec) => self.exec_process_ended(exec),
            None if self.sweep.was_reaped(pid) => {}
            None => self.reap_orphan(pid),
        }
    }

    fn has_unwatched(&self) -> bool {
        self.runs.unwatched() > 0 || !self.execs.unwatched().is_empty()
    }

    fn is_watched(&self, task: TaskId) -> bool {
        self.runs.get(task).is_some_and(|run| run.watched)
    }

    /// There are tasks whose end the loop does not tell: SIGCHLD does, or a scan from time to time.
    pub(super) fn look_for_unwatched(&mut self) {
        if self.child_signal.is_none() {
            self.schedule_sweep(self.now.mono + UNWATCHED_LOOK);
        }
    }

    pub(super) fn schedule_sweep(&mut self, at: Mono) {
        match self.sweep.due {
            Some(due) if due <= at => return,
            Some(due) => self.deadlines.cancel(due, Due::Sweep),
            None => {}
        }
        self.sweep.due = Some(at);
        self.deadlines.add(at, Due::Sweep);
    }

    /// Takes zombies until there is none; many of them start a scan of the table.
    pub(super) fn sweep_children(&mut self) {
        self.sweep.due = None;
        self.sweep.not_before = self.now.mono + SWEEP_PAUSE;
        if self.child_signal.is_none() {
            // Other children are none of our business.
            self.sweep.scan = Some(0);
            return;
        }
        for _ in 0..SWEEP_MAX {
            let Some(pid) = reap::any_zombie() else { return };
            match (self.runs.of_pid(pid), self.execs.of_pid(pid)) {
                (None, None) => {
                    self.reap_orphan(pid);
                    continue;
                }
                (Some(task), _) => self.process_ended(task),
                (None, Some(exec)) => self.exec_process_ended(exec),
            }
            // The engine decides what becomes of the rest, and then it is reaped.
            self.settle();
            if self.runs.of_pid(pid).is_some() || self.execs.of_pid(pid).is_some() {
                break;
            }
        }
        self.sweep.scan = Some(0);
    }

    /// Looks at the next slice of the table for tasks without a pidfd that have ended.
    pub(super) fn continue_scan(&mut self) {
        let Some(from) = self.sweep.scan else { return };
        let mut to = from.saturating_add(PLACES_PER_TURN).min(self.runs.places());
        let mut ended = 0;
        for index in from..to {
            let Some(run) = self.runs.at(index).filter(|run| !run.watched) else { continue };
            let task = run.task;
            self.process_ended(task);
            ended += usize::from(self.runs.get(task).is_none_or(|run| run.main != Main::Alive));
            if ended == EXITS_PER_TURN {
                to = index + 1;
                break;
            }
        }
        self.sweep.scan = (to < self.runs.places()).then_some(to);
        if self.sweep.scan.is_none() {
            for exec in self.execs.unwatched() {
                self.exec_process_ended(exec);
            }
        }
        match (self.sweep.scan, &self.child_signal) {
            (Some(_), _) => {}
            (None, Some(_)) => self.schedule_sweep(self.now.mono + SWEEP_PAUSE),
            (None, None) if self.has_unwatched() => self.look_for_unwatched(),
            (None, None) => {}
        }
    }

    /// A child of ours that is no task's main process: an orphan that we were given.
    pub(super) fn reap_orphan(&mut self, pid: Pid) {
        #[cfg(feature = "cli")]
        self.reap_helper(pid);
        #[cfg(not(feature = "cli"))]
        reap::look(pid, None, Keep::Nothing);
    }
}
