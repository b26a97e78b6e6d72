//! A change of the declared tasks that is under way: what goes is stopped, then what comes is
//! launched.

use super::declared::{Changes, Declaration, Declared};
use crate::control::{ReloadTicket, Reloaded};
use crate::reactor::Supervisor;
use crate::vocabulary::limits::LAUNCH_TIMEOUT_DEFAULT;
use crate::vocabulary::{IfExists, Reply, Request, RequestError, TaskSpec, Ticket};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Its stops and launches, and what has become of them.
#[derive(Debug)]
pub(super) struct Change {
    /// Who waits for it; a signal and the start of the daemon are answered to nobody.
    pub(super) asker: Option<ReloadTicket>,
    pub(super) report: Reloaded,
    steps: HashMap<Ticket, Step>,
    /// Tasks to be stopped, each with the number of those that are to be gone before it.
    waiting: BTreeMap<String, usize>,
    /// Those of them that are changed, not gone.
    changed: BTreeSet<String>,
    launches: Vec<TaskSpec>,
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
    let names = changes.launch.into_iter().filter_map(|spec| spec.name);
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
    pub(super) fn begin(
        changes: Changes,
        asker: Option<ReloadTicket>,
        declared: &Declared,
        supervisor: &mut Supervisor,
    ) -> Change {
        let leaving = changes.stop.into_iter().chain(changes.changed.iter().cloned());
        let mut waiting: BTreeMap<String, usize> = leaving.map(|name| (name, 0)).collect();
        let names: Vec<String> = waiting.keys().cloned().collect();
        for earlier in names.iter().flat_map(|name| declared.after(name)) {
            waiting.entry(earlier.clone()).and_modify(|count| *count += 1);
        }
        let mut change = Change {
            asker,
            report: Reloaded {
                failed: taken(changes.taken, supervisor),
                unchanged: changes.unchanged,
                ..Reloaded::default()
            },
            steps: HashMap::new(),
            waiting,
            changed: changes.changed,
            launches: changes.launch,
        };
        change.go_on(supervisor);
        change
    }

    /// Whether all of it is done.
    pub(super) fn is_done(&self) -> bool {
        self.steps.is_empty()
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
                        self.go_on(supervisor);
                        return true;
                    }
                }
                let is_changed = self.changed.contains(&name);
                let Reloaded { started, restarted, .. } = &mut self.report;
                if is_changed { restarted } else { started }.push(name);
            }
        }
        self.go_on(supervisor);
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
            self.waiting
                .entry(earlier.clone())
                .and_modify(|count| *count = count.saturating_sub(1));
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
                self.launches.retain(|spec| spec.name.as_ref() != Some(&name));
                self.report.failed.push((name, error.clone()));
            }
        }
    }

    /// Stops those that nothing comes after any more; launches when all are gone.
    fn go_on(&mut self, supervisor: &mut Supervisor) {
        let free = |(name, count): (&String, &usize)| (*count == 0).then(|| name.clone());
        let free: Vec<String> = self.waiting.iter().filter_map(free).collect();
        for name in free {
            self.waiting.remove(&name);
            let request = Request::Stop { name: name.clone(), signal: None, grace: None };
            self.steps.insert(supervisor.submit(request), Step::Stop(name));
        }
        if self.steps.is_empty() && self.waiting.is_empty() {
            for spec in std::mem::take(&mut self.launches) {
                let declaration = Declaration::of(&spec);
                let request = Request::Launch {
                    spec: Box::new(spec),
                    // A changed task has exited by now, and is replaced.
                    if_exists: IfExists::Replace,
                    timeout: LAUNCH_TIMEOUT_DEFAULT,
                };
                self.steps.insert(supervisor.submit(request), Step::Launch(declaration));
            }
        }
    }
}
