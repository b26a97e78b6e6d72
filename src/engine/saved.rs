//! What of the tasks outlives the supervisor: taken down whenever it changes, and taken up again by
//! a later engine, which goes on where this one stood.

use super::restart::{Attempts, History};
use super::task::{Cause, Changed, Ended, Main, State, Task, Then};
use super::{Action, Engine, Work};
use crate::vocabulary::{
    Containment, EventKind, Exit, ExitStatus, Identity, LaunchNumber, Mono, Now, StartError,
    TaskId, Wall,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// A task as a later engine needs it.
#[derive(Clone, PartialEq, Debug)]
pub struct Saved {
    /// Name, launch and spec.
    pub identity: Arc<Identity>,
    /// The launches that it comes after.
    pub after: Vec<LaunchNumber>,
    /// Where it stands.
    pub state: State,
    /// Until when it may stand there.
    pub deadline: Option<Mono>,
    /// What follows the end of its run.
    pub then: Then,
    /// How long an exec may take.
    pub start_timeout: Duration,
    /// Number of the current or last run, 0 before the first.
    pub run: u64,
    /// When the exec of that run succeeded.
    pub began: Mono,
    /// The same, for people. `None`: the task has never run.
    pub started: Option<Wall>,
    /// Automatic restarts so far.
    pub restarts: u32,
    /// What of them its policy has to remember.
    pub attempts: Attempts,
    /// Of the last run that ended.
    pub exit: Option<Exit>,
    /// Why the last start failed.
    pub error: Option<Arc<StartError>>,
    /// What holds its processes together, while it has any.
    pub containment: Option<Containment>,
    /// The restart policy has ended it.
    pub gave_up: bool,
    /// Output is still on its way to a slow reader.
    pub output_pending: bool,
    /// Its run was taken over from an earlier supervisor.
    pub adopted: bool,
}

/// What is to be taken down.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// This launch is forgotten.
    Removed(LaunchNumber),
    /// This task is new, or another than it was.
    Task(Saved),
    /// This task stands elsewhere; what its identity says and what it comes after is as before.
    State(Saved),
}

impl Engine {
    /// From now on every change comes out of [`Engine::next_change`].
    pub fn note_changes(&mut self) {
        self.table.note_changes();
    }

    /// The next change that is to be taken down. Several of one task are one.
    pub fn next_change(&mut self) -> Option<Change> {
        if let Some(number) = self.table.next_removed() {
            return Some(Change::Removed(number));
        }
        let (id, changed) = self.table.next_changed()?;
        let saved = self.saved(id)?;
        Some(match changed {
            Changed::All | Changed::Spec => Change::Task(saved),
            Changed::State | Changed::Nothing => Change::State(saved),
        })
    }

    /// A task as it is to be taken down; `None` once it is forgotten.
    pub fn saved(&self, id: TaskId) -> Option<Saved> {
        let task = self.table.get(id)?;
        let after = self.order.dependencies(id);
        Some(Saved {
            identity: Arc::clone(&task.identity),
            after: after.iter().filter_map(|&id| Some(self.identity(id)?.number)).collect(),
            state: task.state,
            deadline: task.deadline,
            then: task.then,
            start_timeout: task.start_timeout,
            run: task.run,
            began: task.began,
            started: task.started,
            restarts: task.restarts,
            attempts: task.history.to_attempts(),
            exit: task.exit,
            error: task.error.clone(),
            containment: task.containment,
            gave_up: task.gave_up,
            output_pending: task.output_pending,
            adopted: task.adopted,
        })
    }

    /// Numbers of the next launch and of the next run.
    pub fn next_numbers(&self) -> (LaunchNumber, u64) {
        (self.next_launch, self.next_run)
    }

    /// Takes up the tasks of an earlier engine, into one that has none; each gets the id at its
    /// place in the answer. What their states wait for has to be told as usual: whoever performs
    /// the actions knows by [`Engine::saved`] which runs there are. A run whose exec had not
    /// succeeded is to be answered with `StartFailed`.
    ///
    /// Without `same_boot` no process of them is left.
    pub fn restore(&mut self, now: Now, saved: Vec<Saved>, same_boot: bool) -> Vec<TaskId> {
        let ids = self.insert_saved(saved, same_boot);
        for &id in &ids {
            if same_boot { self.revive(now, id) } else { self.bury(now, id) }
        }
        self.settle(now);
        ids
    }

    /// Puts tasks of an earlier engine into the table, with what they come after. Their deadlines
    /// are told on the clock of one boot.
    pub(super) fn insert_saved(&mut self, saved: Vec<Saved>, same_boot: bool) -> Vec<TaskId> {
        let mut ids = Vec::with_capacity(saved.len());
        let mut by_number = HashMap::with_capacity(saved.len());
        let mut edges = Vec::new();
        for saved in saved {
            let (number, deadline) = (saved.identity.number, saved.deadline);
            self.next_launch = self.next_launch.max(number.saturating_add(1));
            self.next_run = self.next_run.max(saved.run.saturating_add(1));
            let after = saved.after.clone();
            let saved = self.share(saved);
            let id = self.table.insert(Task::of_saved(saved));
            ids.push(id);
            by_number.insert(number, id);
            edges.push((id, after));
            self.set_deadline(id, deadline.filter(|_| same_boot));
        }
        for (id, after) in edges {
            for dependency in after.iter().filter_map(|number| by_number.get(number)) {
                self.order.link(id, *dependency);
            }
        }
        ids
    }

    /// Tasks that are alike share what they have in common, as they did before.
    fn share(&mut self, saved: Saved) -> Saved {
        match Arc::try_unwrap(saved.identity) {
            Ok(identity) => {
                let identity = Arc::new(self.shared(identity));
                Saved { identity, ..saved }
            }
            Err(identity) => Saved { identity, ..saved },
        }
    }

    /// Goes on with a task of this boot.
    fn revive(&mut self, now: Now, id: TaskId) {
        let Some(task) = self.table.get_mut(id) else { return };
        let state = task.state;
        task.adopted = match state {
            State::Running { .. }
            | State::Lingering { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Leaving { .. }
            | State::Draining { .. } => true,
            State::Starting { .. }
            | State::Waiting { .. }
            | State::Backoff { .. }
            | State::Exited => false,
        };
        match state {
            State::Exited => return self.revive_exited(now, id),
            State::Starting { cause: Cause::Launch, .. } => return,
            State::Starting { cause: Cause::After | Cause::Asked, .. } => {
                // Whoever waits for it is not to lose it by our death.
                if task.then == Then::Policy {
                    task.then = Then::Restart;
                }
            }
            State::Starting { cause: Cause::Policy, .. }
            | State::Waiting { .. }
            | State::Running { .. }
            | State::Lingering { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Leaving { .. }
            | State::Draining { .. }
            | State::Backoff { .. } => {}
        }
        self.event(now, id, EventKind::Adopted, None);
        match state {
            State::Waiting { .. } => self.wait_again(now, id),
            State::Lingering { .. } => self.act(id, Action::AwaitEmpty),
            State::Killing { .. } => self.act(id, Action::KillAll),
            State::Leaving { .. } => self.act(id, Action::LeaveRest),
            State::Draining { .. } => self.act(id, Action::FinishOutput),
            State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Exited => {}
        }
    }

    fn revive_exited(&mut self, now: Now, id: TaskId) {
        let Some(task) = self.table.get_mut(id) else { return };
        if task.then == Then::Remove || task.identity.auto_remove() {
            return self.forget(now, id);
        }
        // A reader has what it had; what is left comes from the pipes of its last run.
        task.output_pending = false;
        self.act(id, Action::CloseOutput);
    }

    /// A task whose first run had not begun: what it comes after may have, or never will.
    pub(super) fn wait_again(&mut self, now: Now, id: TaskId) {
        let dependencies = self.order.dependencies(id);
        let never_ran =
            |&&id: &&TaskId| self.table.get(id).is_none_or(|task| task.started.is_none());
        let awaited: Vec<TaskId> = dependencies.iter().filter(never_ran).copied().collect();
        if let Some(&dead) = awaited.iter().find(|&&id| self.is_exited(id))
            && let Some(identity) = self.identity(dead).map(Arc::clone)
        {
            self.work.push_back(Work::Fail(id, identity));
            return;
        }
        let awaits = u32::try_from(awaited.len()).unwrap_or(u32::MAX);
        self.table.enter(id, State::Waiting { awaits });
        if awaits == 0 {
            self.begin(now, id, Cause::After);
        }
    }

    /// The end of a task of an earlier boot, which nobody has seen.
    fn bury(&mut self, now: Now, id: TaskId) {
        let Some(task) = self.table.get_mut(id) else { return };
        let ended = match task.state {
            State::Exited => return self.revive_exited(now, id),
            // It was not told whether there was a task at all.
            State::Starting { cause: Cause::Launch, .. } => {
                self.enter(id, State::Exited, None);
                return self.forget(now, id);
            }
            State::Running { main }
            | State::Stopping { main: Main::Lives(main) }
            | State::Killing { main: Main::Lives(main) }
            | State::Starting { main: Some(main), .. } => {
                Some((Ended { pid: main, status: ExitStatus::Unknown, time: now.wall }, None))
            }
            State::Stopping { main: Main::Ended(ended) }
            | State::Killing { main: Main::Ended(ended) }
            | State::Lingering { ended }
            | State::Leaving { ended } => Some((ended, None)),
            State::Draining { ended, oom_killed } => Some((ended, oom_killed)),
            State::Starting { main: None, .. } | State::Waiting { .. } | State::Backoff { .. } => {
                None
            }
        };
        task.containment = None;
        task.output_pending = false;
        if let Some((Ended { pid, status, time }, oom_killed)) = ended {
            task.exit = Some(Exit { pid, status, oom_killed, time });
        }
        self.enter(id, State::Exited, None);
        if ended.is_some() {
            self.event(now, id, EventKind::Exited, None);
        }
        self.finish(now, id, "stopped");
    }
}

impl Task {
    fn of_saved(saved: Saved) -> Task {
        let awaits = 0;
        let mut task = Task::new(saved.identity, awaits, saved.start_timeout);
        task.state = saved.state;
        task.then = saved.then;
        task.run = saved.run;
        task.began = saved.began;
        task.started = saved.started;
        task.restarts = saved.restarts;
        task.history = History::of_attempts(saved.attempts);
        task.exit = saved.exit;
        task.error = saved.error;
        task.containment = saved.containment;
        task.gave_up = saved.gave_up;
        task.output_pending = saved.output_pending;
        task.adopted = saved.adopted;
        task
    }
}
