//! Processes of tasks that no group holds: what is left of a session.
//!
//! A look costs in proportion to all processes, so one look serves every run that waits for one.

use super::ending::kill_surely;
use super::run::{Main, Rest};
use super::{Due, Supervisor};
use crate::sys::clock;
use crate::sys::processes::{self, Family};
use crate::vocabulary::{Containment, ExecId, Mono, Ordered, Pid, TaskId};
use std::time::Duration;

/// A look that took longer is repeated only after ten times as long, so that looks cost at most a
/// tenth of the loop.
const CHEAP_LOOK: Duration = Duration::from_millis(1);
/// But no end is told later than this for it: a look is slow, too, where others have the processor.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How soon what was killed is looked at again; doubled up to the second.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(100);
/// How often what is awaited is looked at.
const AWAIT_LOOK: Duration = Duration::from_millis(250);

/// The looks that are due.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// For the rest of these runs.
    wanted: Ordered<TaskId>,
    /// And for that of these commands in tasks.
    wanted_execs: Ordered<ExecId>,
    not_before: Mono,
    /// We have children, or may get orphans, that belong to no run: they were left by a task that
    /// wanted it so, or were there before us.
    strangers: bool,
}

impl Looks {
    pub(super) fn new(own_process: bool) -> Looks {
        let strangers = own_process && processes::own_children().is_none_or(|all| !all.is_empty());
        Looks { strangers, ..Looks::default() }
    }
}

/// The living processes that are no run's main one.
#[derive(Debug, Default)]
struct Strays {
    /// Those that are our children.
    ours: Vec<Pid>,
    /// By session and by process group: that, and who is in it.
    by_leader: Ordered<(i32, Pid)>,
}

impl Strays {
    fn add(&mut self, pid: Pid, family: Family) {
        if family.parent == std::process::id() as i32 {
            self.ours.push(pid);
        }
        self.by_leader.add((family.session, pid));
        self.by_leader.add((family.group, pid));
    }

    /// All that are of this session or process group.
    fn members(&self, leader: i32) -> impl Iterator<Item = Pid> + '_ {
        let from = self.by_leader.from(&(leader, Pid::FIRST)).map(|&(key, ())| key);
        from.take_while(move |&(of, _)| of == leader).map(|(_, pid)| pid)
    }

    fn ours_of_session(&self, session: i32) -> impl Iterator<Item = Pid> + '_ {
        self.members(session).filter(|pid| self.ours.contains(pid))
    }

    fn of_leader(&self, leader: Pid) -> Vec<Pid> {
        self.members(leader.number()).collect()
    }
}

impl Supervisor {
    /// Has the rest of a run that no group holds looked for, and killed where that was decided.
    pub(super) fn look_at_rest(&mut self, task: TaskId) {
        let Some(run) = self.runs.get(task) else { return };
        if run.adopted {
            return self.look_at_adopted(task);
        }
        if run.main == Main::Gone && !self.options.own_process {
            // Somebody else has reaped it: the number may be another's now.
            return self.emptied(task);
        }
        if run.rest.is_some() {
            self.looks.wanted.add(task);
            self.deadlines.add(self.looks.not_before, Due::Look);
        }
    }

    /// Looks for all that wait for it, if it is time. True: it was, and there are answers.
    pub(super) fn look_for_rests(&mut self) -> bool {
        if self.looks.wanted.is_empty() && self.looks.wanted_execs.is_empty() {
            return false;
        }
        // One look serves those as well whose end is handled in the next turn.
        if !self.ended.is_empty() {
            return false;
        }
        let now = clock::now().mono;
        if now < self.looks.not_before {
            return false;
        }
        let strays = self.strays();
        for &task in std::mem::take(&mut self.looks.wanted).keys() {
            self.look_among(now, &strays, task);
        }
        for &exec in std::mem::take(&mut self.looks.wanted_execs).keys() {
            let left = self.exec_rest_among(&strays, exec);
            self.exec_rest_found(now, exec, left);
        }
        let after = clock::now().mono;
        let took = after.since(now);
        if took > CHEAP_LOOK {
            self.looks.not_before = after + (took * 10).min(LOOK_PAUSE_MAX);
        }
        true
    }

    /// Has the rest of a command that no group holds looked for.
    pub(super) fn want_look_for_exec(&mut self, exec: ExecId) {
        self.looks.wanted_execs.add(exec);
        self.deadlines.add(self.looks.not_before, Due::Look);
    }

    /// The living processes of a command, the main one aside.
    pub(super) fn rest_of_exec(&mut self, exec: ExecId) -> Vec<Pid> {
        let strays = self.strays();
        self.exec_rest_among(&strays, exec)
    }

    fn exec_rest_among(&self, strays: &Strays, exec: ExecId) -> Vec<Pid> {
        match self.execs.family_of(exec) {
            Some((main, sessions)) => self.family_among(strays, main, sessions),
            None => Vec::new(),
        }
    }

    fn look_among(&mut self, now: Mono, strays: &Strays, task: TaskId) {
        let Some(run) = self.runs.get(task) else { return };
        let Some(rest) = run.rest else { return };
        let left = self.rest_among(strays, task);
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
        self.deadlines.add(now + again, Due::Rest(task));
    }

    /// The living processes of a run's session and process group, the main one aside.
    pub(super) fn rest_of_session(&mut self, task: TaskId) -> Vec<Pid> {
        if self.runs.get(task).is_some_and(|run| run.adopted) {
            return self.left_of_adopted(task);
        }
        let strays = self.strays();
        self.rest_among(&strays, task)
    }

    /// In a process of our own every orphan becomes our child; a run that is the only one owns all
    /// of them, but for strangers.
    fn rest_among(&self, strays: &Strays, task: TaskId) -> Vec<Pid> {
        let Some(run) = self.runs.get(task) else { return Vec::new() };
        let all_are_its = self.options.own_process && self.runs.len() == 1 && !self.looks.strangers;
        if all_are_its {
            return strays.ours.clone();
        }
        self.family_among(strays, run.pid, &run.sessions)
    }

    /// The session and the process group of `main`, and of these sessions what was given to us.
    fn family_among(&self, strays: &Strays, main: Pid, sessions: &[i32]) -> Vec<Pid> {
        let mut left = strays.of_leader(main);
        for &session in sessions {
            // The number may have become that of another run.
            let taken = Pid::new(session).is_none_or(|pid| self.is_a_main_process(pid));
            if !taken {
                left.extend(strays.ours_of_session(session));
            }
        }
        left
    }

    fn is_a_main_process(&self, pid: Pid) -> bool {
        self.runs.of_pid(pid).is_some() || self.execs.of_pid(pid).is_some()
    }

    /// A task without a group is told to stop: its descendants are found only while their parents
    /// live, so that the sessions that they have made are noted now. They become our children, and
    /// only those are taken for them later.
    pub(super) fn note_sessions(&mut self, task: TaskId) {
        let Some(run) = self.runs.get_mut(task) else { return };
        if run.containment != Containment::Session
            || run.main != Main::Alive
            || !self.options.own_process
        {
            return;
        }
        let made = processes::descendants(run.pid).into_iter().filter_map(processes::family);
        run.sessions = sessions_of(made, run.pid);
    }

    fn strays(&mut self) -> Strays {
        let own = self.options.own_process;
        let candidates = match own.then(processes::own_children).flatten() {
            Some(children) => children,
            None => processes::all(),
        };
        let mut strays = Strays::default();
        for pid in candidates {
            if self.is_a_main_process(pid) {
                continue;
            }
            match processes::family(pid) {
                Some(family) if family.dead && own => self.reap_orphan(pid),
                Some(family) if !family.dead => strays.add(pid, family),
                _ => {}
            }
        }
        strays
    }

    /// A run without a group lets go of what it leaves, which is not another's then.
    pub(super) fn leave_session(&mut self) {
        self.looks.strangers |= self.options.own_process;
    }
}

/// The sessions that descendants of `main` have made, once each.
pub(super) fn sessions_of(family: impl Iterator<Item = Family>, main: Pid) -> Box<[i32]> {
    let mut sessions = Ordered::new();
    for family in family.filter(|family| family.session != main.number()) {
        sessions.add(family.session);
    }
    sessions.keys().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_children_can_be_taken_for_orphans_of_a_task() {
        let own = std::process::id() as i32;
        let mut strays = Strays::default();
        for (pid, parent, session) in [(10, 1, 10), (11, own, 11), (12, 11, 11), (13, 1, 11)] {
            let family = Family { dead: false, parent, group: pid, session };
            strays.add(Pid::new(pid).expect("positive"), family);
        }
        let numbers = |pids: &[Pid]| pids.iter().map(|pid| pid.number()).collect::<Vec<i32>>();
        assert_eq!(numbers(&strays.ours), [11], "the list may be that of the whole system");
        assert_eq!(numbers(&strays.of_leader(Pid::new(11).expect("positive"))), [11, 12, 13]);
    }
}
