//! The requests that wait for a task, signal it or forget it.

use super::task::{Main, State, Then};
use super::waiting::{ASKS, Ask};
use super::{Action, Engine, Outcome};
use crate::vocabulary::{
    Answer, EventKind, Now, Reply, RequestError, Signal, StateName, TaskId, Ticket,
};
use std::time::Duration;

impl Engine {
    pub(super) fn wait(
        &mut self,
        now: Now,
        ticket: Ticket,
        name: String,
        launch: Option<String>,
        timeout: Option<Duration>,
    ) -> Outcome {
        let id = self.named(&name)?;
        if let Some(launch) = launch
            && self.identity(id).is_none_or(|identity| self.launch_id(identity) != launch)
        {
            return Err(RequestError::NoSuchTask { name });
        }
        if self.is_exited(id) {
            return Ok(self.status_answer(id));
        }
        if timeout == Some(Duration::ZERO) {
            return Err(RequestError::TimedOut);
        }
        self.ask(ticket, id, Ask::Wait, timeout.map(|timeout| now.mono + timeout));
        Ok(None)
    }

    pub(super) fn signal(
        &mut self,
        ticket: Ticket,
        name: String,
        signal: Signal,
        all: bool,
    ) -> Outcome {
        let id = self.named(&name)?;
        let Some(task) = self.table.get(id) else { return Err(RequestError::NoSuchTask { name }) };
        let all = match task.state {
            State::Running { .. }
            | State::Stopping { main: Main::Lives(_) }
            | State::Killing { main: Main::Lives(_) } => all,
            // What it left is the task now.
            State::Lingering { .. } | State::Stopping { main: Main::Ended(_) } => true,
            State::Killing { main: Main::Ended(_) } if all => true,
            State::Killing { main: Main::Ended(_) }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Leaving { .. }
            | State::Draining { .. }
            | State::Backoff { .. }
            | State::Exited => {
                return Err(RequestError::NotRunning { name, state: task.state.name() });
            }
        };
        self.ask(ticket, id, Ask::Signal, None);
        self.act(id, Action::Signal { signal, all, ticket: Some(ticket) });
        Ok(None)
    }

    /// The reactor has sent a signal.
    pub(super) fn signaled(&mut self, ticket: Option<Ticket>, result: Result<(), RequestError>) {
        let Some(ticket) = ticket else { return };
        if self.askers.get(ticket).is_some_and(|asker| asker.ask == Ask::Signal) {
            self.dismiss(ticket);
            self.reply(ticket, result.map(|()| Answer::Done));
        }
    }

    pub(super) fn remove(
        &mut self,
        now: Now,
        ticket: Ticket,
        name: String,
        force: bool,
    ) -> Outcome {
        let id = self.named(&name)?;
        if self.is_exited(id) {
            self.forget(now, id);
            return Ok(Some(Answer::Done));
        }
        if !force {
            let pid = self.table.get(id).and_then(|task| task.state.pid());
            return Err(RequestError::StillRunning { name, pids: pid.into_iter().collect() });
        }
        self.ask(ticket, id, Ask::Remove, None);
        self.stop(now, id, None, Some(Duration::ZERO), Then::Remove);
        Ok(None)
    }

    /// Forgets a task that has exited, and answers everybody who still waits for it.
    pub(super) fn forget(&mut self, now: Now, id: TaskId) {
        let Some(status) = self.status(id) else { return };
        self.act(id, Action::Forget);
        self.event(now, id, EventKind::Removed, None);
        self.order.unlink(id);
        self.table.remove(id);
        if !self.askers.has_any(id) {
            return;
        }
        let name = status.identity.name.to_string();
        let last = Answer::Status(Box::new(status));
        for ask in ASKS {
            let reply: Reply = match ask {
                Ask::Wait | Ask::Stop => Ok(last.clone()),
                Ask::Remove => Ok(Answer::Done),
                Ask::Update => Err(RequestError::NoSuchTask { name: name.clone() }),
                Ask::Launch | Ask::Restart | Ask::Signal => {
                    let name = name.clone();
                    Err(RequestError::NotRunning { name, state: StateName::Exited })
                }
            };
            self.answer(id, ask, &reply);
        }
    }

    pub(super) fn named(&self, name: &str) -> Result<TaskId, RequestError> {
        self.find(name).ok_or_else(|| RequestError::NoSuchTask { name: name.to_owned() })
    }
}
