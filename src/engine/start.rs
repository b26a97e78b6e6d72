//! The beginning of a run, and what becomes of a task whose run cannot begin.

use super::restart::History;
use super::task::{Abort, Cause, State, Then};
use super::waiting::Ask;
use super::{Action, Engine};
use crate::vocabulary::{
    EventKind, Identity, Now, Pid, RequestError, Stage, StartError, TaskId, Wall,
};
use std::sync::Arc;

impl Engine {
    /// Begins a run.
    pub(super) fn begin(&mut self, now: Now, id: TaskId, cause: Cause) {
        if cause == Cause::Asked {
            self.forgive(id);
        }
        let Some(task) = self.table.get_mut(id) else { return };
        let run = self.next_run;
        self.next_run += 1;
        task.run = run;
        task.then = Then::Policy;
        task.output_pending = false;
        task.adopted = false;
        if cause == Cause::Policy {
            task.restarts = task.restarts.saturating_add(1);
            task.history.record(task.identity.restart(), now.mono);
        }
        let deadline = now.mono + task.start_timeout;
        self.enter(id, State::Starting { cause, main: None, abort: None }, Some(deadline));
        self.act(id, Action::Spawn { run });
    }

    /// Begins the run that a restart asked for while the one before was in its way; `what` is told
    /// of that one.
    pub(super) fn begin_again(&mut self, now: Now, id: TaskId, what: EventKind) {
        self.enter(id, State::Waiting { awaits: 0 }, None);
        self.event(now, id, what, None);
        self.answer_status(id, Ask::Stop);
        self.begin(now, id, Cause::Asked);
    }

    /// A restart was asked for: what was before does not count any more.
    pub(super) fn forgive(&mut self, id: TaskId) {
        let Some(task) = self.table.get_mut(id) else { return };
        task.history = History::default();
        task.gave_up = false;
        task.error = None;
    }

    /// The exec of the run has succeeded.
    pub(super) fn started(&mut self, now: Now, id: TaskId, main: Pid) {
        let Some(task) = self.table.get_mut(id) else { return };
        let first = task.started.is_none();
        let stopped = task.then != Then::Policy;
        task.started = Some(now.wall);
        task.began = now.mono;
        task.error = None;
        self.enter(id, State::Running { main }, None);
        self.event(now, id, EventKind::Started, None);
        self.answer_status(id, Ask::Launch);
        if !stopped {
            self.answer_status(id, Ask::Restart);
        }
        if first {
            for dependent in self.order.dependents(id) {
                self.dependency_runs(now, dependent);
            }
        }
    }

    fn dependency_runs(&mut self, now: Now, id: TaskId) {
        let Some(task) = self.table.get(id) else { return };
        let State::Waiting { awaits } = task.state else { return };
        let awaits = awaits.saturating_sub(1);
        self.table.enter(id, State::Waiting { awaits });
        if awaits == 0 {
            self.begin(now, id, Cause::After);
        }
    }

    /// The run could not begin; nothing of it is left.
    pub(super) fn start_failed(&mut self, now: Now, id: TaskId, error: StartError) {
        self.none_left(id);
        let Some(task) = self.table.get_mut(id) else { return };
        let State::Starting { cause, abort, .. } = task.state else { return };
        let then = task.then;
        let error = Arc::new(why_failed(task, abort, error, now.wall));
        task.error = Some(Arc::clone(&error));
        let failed = Err(RequestError::LaunchFailed(error));
        match (then, cause) {
            (Then::Restart, _) => {
                self.answer(id, Ask::Launch, &failed);
                self.begin_again(now, id, EventKind::StartFailed);
            }
            (_, Cause::Launch) => {
                self.enter(id, State::Exited, None);
                self.event(now, id, EventKind::StartFailed, None);
                self.answer(id, Ask::Launch, &failed);
                self.answer(id, Ask::Restart, &failed);
                self.gone(id);
                self.forget(now, id);
            }
            (Then::Policy, Cause::Policy) if !self.stops_tasks() => {
                self.restart_or_give_up(now, id, EventKind::StartFailed);
            }
            (_, Cause::After | Cause::Asked | Cause::Policy) => {
                let gave_up = then == Then::Policy && cause == Cause::After;
                if let Some(task) = self.table.get_mut(id) {
                    task.gave_up = gave_up;
                }
                self.enter(id, State::Exited, None);
                self.event(now, id, EventKind::StartFailed, None);
                self.answer(id, Ask::Restart, &failed);
                let why = match (then, cause) {
                    (Then::Policy, Cause::After) => "gave_up",
                    (Then::Policy, Cause::Asked) => "never",
                    _ => "stopped",
                };
                self.finish(now, id, why);
            }
        }
    }

    /// What this task comes after will not run.
    pub(super) fn dependency_failed(&mut self, now: Now, id: TaskId, dependency: &Identity) {
        let Some(task) = self.table.get_mut(id) else { return };
        let State::Waiting { .. } = task.state else { return };
        task.error = Some(Arc::new(comes_after_nothing(dependency, now.wall)));
        task.gave_up = true;
        self.enter(id, State::Exited, None);
        self.event(now, id, EventKind::StartFailed, None);
        self.finish(now, id, "gave_up");
    }

    /// The same, known at the launch already.
    pub(super) fn launch_fails_after(&mut self, now: Now, id: TaskId, dependency: &Identity) {
        let error = Arc::new(comes_after_nothing(dependency, now.wall));
        if let Some(task) = self.table.get_mut(id) {
            task.error = Some(Arc::clone(&error));
        }
        self.enter(id, State::Exited, None);
        self.event(now, id, EventKind::StartFailed, None);
        self.answer(id, Ask::Launch, &Err(RequestError::LaunchFailed(error)));
        self.forget(now, id);
    }
}

/// What the start is said to have failed of: where it was taken back, of that.
fn why_failed(
    task: &super::task::Task,
    abort: Option<Abort>,
    error: StartError,
    time: Wall,
) -> StartError {
    let command = task.identity.command();
    let (stage, message, retry) = match abort {
        None => return StartError { time, ..error },
        Some(Abort::Timeout) => (
            Stage::Timeout,
            format!("start {command:?}: its exec took too long, the child was killed"),
            true,
        ),
        Some(Abort::Stop) => {
            (Stage::Exec, format!("start {command:?}: stopped while starting"), false)
        }
    };
    StartError { stage, errno: 0, errno_name: String::new(), message, retry, time }
}

fn comes_after_nothing(dependency: &Identity, time: Wall) -> StartError {
    StartError {
        stage: Stage::Lookup,
        errno: 0,
        errno_name: String::new(),
        message: format!("comes after {:?}, which did not start", dependency.name),
        retry: true,
        time,
    }
}
