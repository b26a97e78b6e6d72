//! The end of all tasks, in order: each is stopped once all that come after it are gone.

use super::task::{State, Then};
use super::waiting::Ask;
use super::{Engine, Outcome, Work};
use crate::vocabulary::{Answer, Now, Ordered, RequestError, TaskId, Ticket};
use std::time::Duration;

/// A shutdown that was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Shutdown {
    stop_tasks: bool,
    /// No task gets longer than this.
    pub(super) grace: Option<Duration>,
    /// Who waits for the end of all tasks.
    pub(super) askers: Ordered<Ticket>,
    /// Tasks whose turn has not come, with the number of living ones that come after them.
    remaining: Ordered<TaskId, u32>,
}

impl Shutdown {
    pub(super) fn entries(&self) -> usize {
        self.askers.len() + self.remaining.len()
    }
}

impl Engine {
    pub(super) fn shutdown(
        &mut self,
        now: Now,
        ticket: Ticket,
        stop_tasks: bool,
        grace: Option<Duration>,
    ) -> Outcome {
        let mut shutdown = self.shutdown.take().unwrap_or_default();
        let living: Vec<TaskId> = self.table.ids().filter(|&id| !self.is_exited(id)).collect();
        for &id in &living {
            if let Some(task) = self.table.get_mut(id)
                && task.then == Then::Restart
            {
                task.then = Then::Stay;
                self.answer(id, Ask::Restart, &Err(RequestError::ShuttingDown));
            }
        }
        if !stop_tasks {
            self.shutdown = Some(shutdown);
            self.end_all_execs(now);
            return Ok(Some(Answer::Done));
        }
        shutdown.askers.add(ticket);
        shutdown.grace = match (shutdown.grace, grace) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let first = !std::mem::replace(&mut shutdown.stop_tasks, true);
        if shutdown.grace == Some(Duration::ZERO) {
            shutdown.remaining = Ordered::new();
        } else if first {
            shutdown.remaining = self.living_dependents(&living);
        }
        for id in living {
            if !shutdown.remaining.contains(&id) || !self.can_await_its_turn(id) {
                self.work.push_back(Work::ShutDown(id));
            }
        }
        self.shutdown = Some(shutdown);
        Ok(None)
    }

    /// Whether tasks are being stopped because of a shutdown: none is started any more.
    pub(super) fn stops_tasks(&self) -> bool {
        self.shutdown.as_ref().is_some_and(|shutdown| shutdown.stop_tasks)
    }

    /// It is this task's turn.
    pub(super) fn shut_down(&mut self, now: Now, id: TaskId) {
        match self.table.get(id).map(|task| task.state) {
            None | Some(State::Exited) => {}
            Some(State::Stopping { .. }) => {
                if let Some(task) = self.table.get_mut(id)
                    && task.then != Then::Remove
                {
                    task.then = Then::Stay;
                }
                // It has had its signal.
                let most = self.shutdown.as_ref().and_then(|shutdown| shutdown.grace);
                self.shorten(now, id, most.unwrap_or(Duration::MAX));
            }
            Some(
                State::Waiting { .. }
                | State::Starting { .. }
                | State::Running { .. }
                | State::Lingering { .. }
                | State::Killing { .. }
                | State::Leaving { .. }
                | State::Draining { .. }
                | State::Backoff { .. },
            ) => self.stop(now, id, None, None, Then::Stay),
        }
    }

    /// The task holds up no other one any more: it has exited, or cannot be killed.
    pub(super) fn let_go_in_shutdown(&mut self, id: TaskId) {
        let Some(shutdown) = self.shutdown.as_mut().filter(|shutdown| shutdown.stop_tasks) else {
            return;
        };
        shutdown.remaining.remove(&id);
        // Nothing is launched any more: these edges have done their work.
        for dependency in self.order.release(id) {
            if let Some(count) = shutdown.remaining.get_mut(&dependency) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    shutdown.remaining.remove(&dependency);
                    self.work.push_back(Work::ShutDown(dependency));
                }
            }
        }
    }

    /// Answers the shutdown once every task has exited, or all that is left cannot be killed.
    pub(super) fn answer_shutdown(&mut self) {
        let living = self.table.len() - self.table.exited();
        let Some(shutdown) = &mut self.shutdown else { return };
        if shutdown.askers.is_empty() || living > self.stuck.len() {
            return;
        }
        let askers = std::mem::take(&mut shutdown.askers);
        let stuck = self.stuck.first().and_then(|&(id, ref pids)| {
            let name = self.identity(id)?.name.to_string();
            Some(RequestError::StillRunning { name, pids: pids.clone() })
        });
        let reply = stuck.map_or(Ok(Answer::Done), Err);
        for &ticket in askers.keys() {
            self.reply(ticket, reply.clone());
        }
    }

    /// Of each task, how many living ones come after it, where there are any.
    fn living_dependents(&mut self, living: &[TaskId]) -> Ordered<TaskId, u32> {
        // What cannot be killed holds up nothing, neither now nor when it ends after all.
        for &id in self.stuck.keys() {
            self.order.release(id);
        }
        let mut counts = Ordered::new();
        for &id in living {
            for dependency in self.order.dependencies(id) {
                if !self.is_exited(dependency) {
                    let count = counts.get(&dependency).copied().unwrap_or(0);
                    counts.insert(dependency, count + 1);
                }
            }
        }
        counts
    }

    /// What runs waits until it is stopped; what is being ended, or has no process, does not.
    fn can_await_its_turn(&self, id: TaskId) -> bool {
        let state = self.table.get(id).map(|task| task.state);
        matches!(
            state,
            Some(State::Starting { .. } | State::Running { .. } | State::Lingering { .. })
        )
    }
}
