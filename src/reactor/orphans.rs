//! Processes of tasks that no group holds: what is left of a session.

use super::ending::kill_surely;
use super::run::{Main, Rest};
use super::{Due, Supervisor};
use crate::sys::{clock, processes};
use crate::vocabulary::{Pid, TaskId};
use std::time::Duration;

/// A look that took longer is repeated only after ten times as long, so that looks cost at most a
/// tenth of the loop.
const CHEAP_LOOK: Duration = Duration::from_millis(1);
/// How soon what was killed is looked at again; doubled up to the second.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);
/// How often what is awaited is looked at.
const AWAIT_LOOK: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Looks for what is left of a run that no group holds, and kills it where that was decided.
    pub(super) fn look_at_rest(&mut self, task: TaskId) {
        let Some(run) = self.runs.get(task) else { return };
        if run.main == Main::Gone && !self.options.own_process {
            // Somebody else has reaped it: the number may be another's now.
            return self.emptied(task);
        }
        let Some(rest) = run.rest else { return };
        let now = clock::now().mono;
        if now < self.sweep.next_look {
            self.deadlines.add(self.sweep.next_look, Due::Rest(task));
            return;
        }
        let left = self.rest_of_session(task);
        let after = clock::now().mono;
        let took = after.since(now);
        if took > CHEAP_LOOK {
            self.sweep.next_look = after + took * 10;
        }
        if left.is_empty() {
            return self.emptied(task);
        }
        let again = match rest {
            Rest::Awaited => AWAIT_LOOK,
            Rest::Killed => {
                left.into_iter().for_each(kill_surely);
                let Some(run) = self.runs.get_mut(task) else { return };
                run.looks = run.looks.saturating_add(1);
                LOOK_AGAIN.saturating_mul(1 << run.looks.min(7)).min(LOOK_AGAIN_MAX)
            }
        };
        self.deadlines.add(after + again, Due::Rest(task));
    }

    /// The living processes of a run's session and process group, the main one aside. In a process
    /// of our own every orphan becomes our child; a run that is the only one owns all of them.
    pub(super) fn rest_of_session(&mut self, task: TaskId) -> Vec<Pid> {
        let Some(run) = self.runs.get(task) else { return Vec::new() };
        let leader = run.pid;
        let own = self.options.own_process;
        let all_are_its = own && self.runs.is_only(task);
        let candidates = match own.then(processes::own_children).flatten() {
            Some(children) => children,
            None => processes::all(),
        };
        let mut left = Vec::new();
        for pid in candidates {
            if pid == leader || self.runs.of_pid(pid).is_some() {
                continue;
            }
            match processes::family(pid) {
                Some(family) if family.dead && own => self.reap_orphan(pid),
                Some(family) if family.dead => {}
                Some(family) => {
                    let member = [family.session, family.group].contains(&leader.number());
                    if member || all_are_its {
                        left.push(pid);
                    }
                }
                None => {}
            }
        }
        left
    }
}
