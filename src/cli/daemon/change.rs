//! A change of the declared tasks that is under way: what goes is stopped, then what comes is
//! launched.

use super::declared::{Changes, Declared};
use super::launches::Launches;
use crate::control::{ReloadTicket, Reloaded};
use crate::reactor::Supervisor;
use crate::vocabulary::limits::LAUNCH_TIMEOUT_DEFAULT;
use crate::vocabulary::{IfExists, Reply, Request, RequestError, Ticket};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Its stops and launches, and what has become of them.
#[derive(Debug)]
pub(super) struct Change {
    /// Who waits for it; a signal and the start of the daemon are answered to nobody.
    asker: Option<ReloadTicket>,
    /// Without what was launched.
    report: Reloaded,
    /// What was launched: started, or restarted where it has changed.
    launched: Vec<usize>,
    steps: HashMap<Ticket, Step>,
    /// Tasks that are to be stopped, each with what it comes after.
    earlier: HashMap<String, Vec<String>>,
    /// Tasks to be stopped once others are gone, each with how many of those there are left.
    waiting: HashMap<String, usize>,
    /// Tasks that can be stopped now.
    free: VecDeque<String>,
    /// Those that are stopped because they are changed, not gone.
    changed: BTreeSet<String>,
    launches: Launches,
    /// The next one of them.
    next: usize,
    /// Changed tasks that could not be stopped, so that they are not launched.
    kept: BTreeSet<String>,
    /// All that go are gone.
    launching: bool,
}

/// What was asked of the supervisor.
#[derive(Debug)]
enum Step {
    Stop(String),
    Remove(String),
    /// One of the launches, by its number.
    Launch(usize),
}

/// What would be done.
pub(super) fn preview(changes: Changes, supervisor: &Supervisor) -> Reloaded {
    let names = changes.launch.names().filter(|name| !name.is_empty()).map(str::to_owned);
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
        supervisor: &Supervisor,
    ) -> Change {
        let leaving = changes.stop.into_iter().chain(changes.changed.iter().cloned());
        let leaving = leaving.map(|name| (after(&name, supervisor), name));
        let earlier: HashMap<String, Vec<String>> =
            leaving.map(|(after, name)| (name, after)).collect();
        let mut waiting: HashMap<String, usize> =
            earlier.keys().map(|name| (name.clone(), 0)).collect();
        for name in earlier.values().flatten() {
            waiting.entry(name.clone()).and_modify(|count| *count += 1);
        }
        let free = earlier.keys().filter(|name| waiting.get(*name) == Some(&0));
        let free: VecDeque<String> = free.cloned().collect();
        waiting.retain(|_, count| *count > 0);
        Change {
            asker,
            report: Reloaded {
                failed: taken(changes.taken, supervisor),
                unchanged: changes.unchanged,
                ..Reloaded::default()
            },
            launched: Vec::new(),
            steps: HashMap::new(),
            earlier,
            waiting,
            free,
            changed: changes.changed,
            launches: changes.launch,
            next: 0,
            kept: BTreeSet::new(),
            launching: false,
        }
    }

    /// Whether all of it is done.
    pub(super) fn is_done(&self) -> bool {
        self.steps.is_empty() && !self.has_more()
    }

    /// Whether there is something to be asked without anything having happened.
    pub(super) fn has_more(&self) -> bool {
        !self.free.is_empty() || self.may_launch() && self.next < self.launches.len()
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
                Ok(_) | Err(RequestError::NoSuchTask { .. }) => self.report.stopped.push(name),
                Err(error) => self.report.failed.push((name, error.clone())),
            },
            Step::Launch(number) => {
                let name = self.launches.name(number);
                if let Err(error) = reply {
                    self.report.failed.push((name.to_owned(), error.clone()));
                    return true;
                }
                if let (Some(task), Some(print)) =
                    (supervisor.find(name), self.launches.print(number))
                {
                    declared.insert(task, print);
                }
                self.launched.push(number);
            }
        }
        true
    }

    /// What has come of it; nothing more comes.
    pub(super) fn end(self) -> (Option<ReloadTicket>, Reloaded) {
        let names = self.launched.iter().map(|&number| self.launches.name(number).to_owned());
        let (restarted, started) = names.partition(|name| self.changed.contains(name));
        (self.asker, Reloaded { started, restarted, ..self.report })
    }

    fn stopped(
        &mut self,
        name: String,
        reply: &Reply,
        declared: &mut Declared,
        supervisor: &mut Supervisor,
    ) {
        for earlier in self.earlier.remove(&name).unwrap_or_default() {
            let Some(count) = self.waiting.get_mut(&earlier) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.waiting.remove(&earlier);
                self.free.push_back(earlier);
            }
        }
        match reply {
            Ok(_) | Err(RequestError::NoSuchTask { .. }) if self.changed.contains(&name) => {
                supervisor.find(&name).into_iter().for_each(|task| declared.remove(task));
            }
            Ok(_) | Err(RequestError::NoSuchTask { .. }) => {
                let request = Request::Remove { name: name.clone(), force: false };
                self.steps.insert(supervisor.submit(request), Step::Remove(name));
            }
            Err(error) => {
                self.kept.insert(name.clone());
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
            if !self.launching || self.next >= self.launches.len() {
                return;
            }
            self.launch(self.next, supervisor);
            self.next += 1;
        }
    }

    fn launch(&mut self, number: usize, supervisor: &mut Supervisor) {
        let name = self.launches.name(number);
        if self.kept.contains(name) {
            return;
        }
        match self.launches.spec(number) {
            Ok(spec) => {
                let request = Request::Launch {
                    spec: Box::new(spec),
                    // A changed task has exited by now, and is replaced.
                    if_exists: IfExists::Replace,
                    timeout: LAUNCH_TIMEOUT_DEFAULT,
                };
                self.steps.insert(supervisor.submit(request), Step::Launch(number));
            }
            Err(wrong) => {
                self.report.failed.push((name.to_owned(), RequestError::InvalidTask(wrong)));
            }
        }
    }
}

/// What a task of the file comes after, as it was launched.
fn after(name: &str, supervisor: &Supervisor) -> Vec<String> {
    let status = supervisor.find(name).and_then(|task| supervisor.status(task));
    status.map(|status| status.identity.spec().after.clone()).unwrap_or_default()
}
