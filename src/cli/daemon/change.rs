//! A change of the declared tasks that is under way: what goes is stopped, then what comes is
//! launched.

use super::declared::{Changes, Declaration, Declared, Wanted};
use crate::control::{ReloadTicket, Reloaded};
use crate::reactor::Supervisor;
use crate::vocabulary::limits::LAUNCH_TIMEOUT_DEFAULT;
use crate::vocabulary::{IfExists, Reply, Request, RequestError, TaskSpec, Ticket};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Its stops and launches, and what has become of them.
#[derive(Debug)]
pub(super) struct Change {
    /// Who waits for it; a signal and the start of the daemon are answered to nobody.
    pub(super) asker: Option<ReloadTicket>,
    pub(super) report: Reloaded,
    steps: HashMap<Ticket, Step>,
    /// Tasks to be stopped once others are gone, each with how many of those there are left.
    waiting: HashMap<String, usize>,
    /// Tasks that can be stopped now.
    free: VecDeque<String>,
    /// Those that are stopped because they are changed, not gone.
    changed: BTreeSet<String>,
    launches: VecDeque<Wanted>,
    /// All that go are gone.
    launching: bool,
}

/// What was asked of the supervisor.
#[derive(Debug)]
enum Step {
    Stop(String),
    Remove(String),
    Launch(Declaration),
}

/// What would be done.
pub(super) fn preview(changes: Changes, supervisor: &Supervisor) -> Reloaded {
    let names = changes.launch.into_iter().filter_map(|wanted| wanted.spec.name);
    let (restarted, started) = names.partition(|name| changes.changed.contains(name));
    Reloaded {
        started,
        stopped: changes.stop,
        restarted,
        failed: taken(changes.taken, supervisor),
        unchanged: changes.unchanged,
    }
}

fn taken(names: Vec<String>, supervisor: &Supervisor) -> Vec<(String, RequestError)> {
    let status = |name: &String| supervisor.find(name).and_then(|task| supervisor.status(task));
    let exists = |name: String| {
        let status = Box::new(status(&name)?);
        Some((name, RequestError::TaskExists { status }))
    };
    names.into_iter().filter_map(exists).collect()
}

impl Change {
    /// Nothing is asked of the supervisor before [`Change::go_on`].
    pub(super) fn begin(
        changes: Changes,
        asker: Option<ReloadTicket>,
        declared: &Declared,
        supervisor: &Supervisor,
    ) -> Change {
        let leaving = changes.stop.into_iter().chain(changes.changed.iter().cloned());
        let mut waiting: HashMap<String, usize> = leaving.map(|name| (name, 0)).collect();
        let names: Vec<String> = waiting.keys().cloned().collect();
        for earlier in names.iter().flat_map(|name| declared.after(name)) {
            waiting.entry(earlier.clone()).and_modify(|count| *count += 1);
        }
        let free = names.into_iter().filter(|name| waiting.get(name) == Some(&0));
        let free: VecDeque<String> = free.collect();
        waiting.retain(|_, count| *count > 0);
        Change {
            asker,
            report: Reloaded {
                failed: taken(changes.taken, supervisor),
                unchanged: changes.unchanged,
                ..Reloaded::default()
            },
            steps: HashMap::new(),
            waiting,
            free,
            changed: changes.changed,
            launches: changes.launch.into(),
            launching: false,
        }
    }

    /// Whether all of it is done.
    pub(super) fn is_done(&self) -> bool {
        self.steps.is_empty() && !self.has_more()
    }

    /// Whether there is something to be asked without anything having happened.
    pub(super) fn has_more(&self) -> bool {
        !self.free.is_empty() || self.may_launch() && !self.launches.is_empty()
    }

    fn may_launch(&self) -> bool {
        let all_are_gone = self.free.is_empty() && self.waiting.is_empty();
        self.launching || self.steps.is_empty() && all_are_gone
    }

    /// Takes the answer to one of its steps; whether it was one.
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        reply: &Reply,
        declared: &mut Declared,
        supervisor: &mut Supervisor,
    ) -> bool {
        let Some(step) = self.steps.remove(&ticket) else { return false };
        match step {
            Step::Stop(name) => self.stopped(name, reply, declared, supervisor),
            Step::Remove(name) => match reply {
                Ok(_) | Err(RequestError::NoSuchTask { .. }) => {
                    declared.remove(&name);
                    self.report.stopped.push(name);
                }
                Err(error) => self.report.failed.push((name, error.clone())),
            },
            Step::Launch(declaration) => {
                let name = declaration.name.clone();
                match (reply, supervisor.find(&name)) {
                    (Ok(_), Some(task)) => declared.insert(declaration, task),
                    (Ok(_), None) => {}
                    (Err(error), _) => {
                        self.report.failed.push((name, error.clone()));
                        return true;
                    }
                }
                let is_changed = self.changed.contains(&name);
                let Reloaded { started, restarted, .. } = &mut self.report;
                if is_changed { restarted } else { started }.push(name);
            }
        }
        true
    }

    fn stopped(
        &mut self,
        name: String,
        reply: &Reply,
        declared: &mut Declared,
        supervisor: &mut Supervisor,
    ) {
        for earlier in declared.after(&name) {
            let Some(count) = self.waiting.get_mut(earlier) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.waiting.remove(earlier);
                self.free.push_back(earlier.clone());
            }
        }
        match reply {
            Ok(_) | Err(RequestError::NoSuchTask { .. }) if self.changed.contains(&name) => {
                declared.remove(&name);
            }
            Ok(_) | Err(RequestError::NoSuchTask { .. }) => {
                let request = Request::Remove { name: name.clone(), force: false };
                self.steps.insert(supervisor.submit(request), Step::Remove(name));
            }
            Err(error) => {
                self.launches.retain(|wanted| wanted.spec.name.as_ref() != Some(&name));
                self.report.failed.push((name, error.clone()));
            }
        }
    }

    /// Stops those that nothing comes after any more; launches when all are gone. No more than
    /// `most` at once.
    pub(super) fn go_on(&mut self, most: usize, supervisor: &mut Supervisor) {
        for _ in 0..most {
            if let Some(name) = self.free.pop_front() {
                let request = Request::Stop { name: name.clone(), signal: None, grace: None };
                self.steps.insert(supervisor.submit(request), Step::Stop(name));
                continue;
            }
            self.launching = self.may_launch();
            let next = if self.launching { self.launches.pop_front() } else { None };
            let Some(wanted) = next else { return };
            let declaration = wanted.declaration();
            let request = Request::Launch {
                spec: Box::new(TaskSpec { declared: true, ..wanted.spec }),
                // A changed task has exited by now, and is replaced.
                if_exists: IfExists::Replace,
                timeout: LAUNCH_TIMEOUT_DEFAULT,
            };
            self.steps.insert(supervisor.submit(request), Step::Launch(declaration));
        }
    }
}
