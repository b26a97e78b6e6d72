//! The end that is asked for: signal, grace, kill; and what outlives its kill.

use super::task::{Abort, Cause, Ended, Main, State, Then};
use super::waiting::Ask;
use super::{Action, Engine, Outcome};
use crate::vocabulary::limits::STUCK_AFTER;
use crate::vocabulary::{EventKind, Now, Pid, RequestError, Signal, TaskId, Ticket};
use std::time::Duration;

impl Engine {
    pub(super) fn stop_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        name: String,
        signal: Option<Signal>,
        grace: Option<Duration>,
    ) -> Outcome {
        let id = self.named(&name)?;
        if self.is_exited(id) {
            return Ok(self.status_answer(id));
        }
        self.ask(ticket, id, Ask::Stop, None);
        self.stop(now, id, signal, grace, Then::Stay);
        Ok(None)
    }

    pub(super) fn restart_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        name: String,
        signal: Option<Signal>,
        grace: Option<Duration>,
    ) -> Outcome {
        if self.shutdown.is_some() {
            return Err(RequestError::ShuttingDown);
        }
        let id = self.named(&name)?;
        let Some(task) = self.table.get(id) else { return Err(RequestError::NoSuchTask { name }) };
        if task.then == Then::Remove {
            return Err(RequestError::NoSuchTask { name });
        }
        let state = task.state;
        self.ask(ticket, id, Ask::Restart, None);
        match state {
            State::Waiting { .. } | State::Backoff { .. } | State::Exited => {
                self.begin(now, id, Cause::Asked);
            }
            // As new as a run can be: its start is the answer.
            State::Starting { cause, main, abort: None } => {
                if cause != Cause::Launch {
                    let cause = Cause::Asked;
                    self.table.enter(id, State::Starting { cause, main, abort: None });
                    self.forgive(id);
                }
            }
            State::Starting { abort: Some(_), .. }
            | State::Running { .. }
            | State::Lingering { .. }
            | State::Stopping { .. }
            | State::Killing { .. }
            | State::Leaving { .. }
            | State::Draining { .. } => self.stop(now, id, signal, grace, Then::Restart),
        }
        Ok(None)
    }

    /// Ends the current run, or the wait for the next one; then `then` is done.
    pub(super) fn stop(
        &mut self,
        now: Now,
        id: TaskId,
        signal: Option<Signal>,
        grace: Option<Duration>,
        then: Then,
    ) {
        let most = self.shutdown.as_ref().and_then(|shutdown| shutdown.grace);
        let Some(task) = self.table.get_mut(id) else { return };
        // A task that is to be forgotten stays so.
        if task.then != Then::Remove {
            task.then = then;
        }
        let identity = &task.identity;
        let signal = signal.unwrap_or_else(|| identity.kill_signal());
        let grace =
            grace.unwrap_or_else(|| identity.kill_timeout()).min(most.unwrap_or(Duration::MAX));
        match task.state {
            State::Waiting { .. } | State::Backoff { .. } => {
                self.enter(id, State::Exited, None);
                self.finish(now, id, "stopped");
            }
            State::Starting { abort: None, .. } => self.abort(now, id, Abort::Stop),
            State::Starting { cause, main, abort: Some(_) } => {
                if then != Then::Restart {
                    let abort = Some(Abort::Stop);
                    self.table.enter(id, State::Starting { cause, main, abort });
                }
                self.list_if_stuck(id);
            }
            State::Running { main } => self.stop_run(now, id, Main::Lives(main), signal, grace),
            State::Lingering { ended } => {
                self.stop_run(now, id, Main::Ended(ended), signal, grace);
            }
            State::Stopping { main } => {
                if !grace.is_zero() {
                    self.send_stop(id, main, signal);
                }
                self.shorten(now, id, grace);
            }
            State::Killing { .. } => self.list_if_stuck(id),
            State::Leaving { .. } | State::Draining { .. } | State::Exited => {}
        }
    }

    /// Signals a run, unless there is no grace, and kills it when that is over.
    pub(super) fn stop_run(
        &mut self,
        now: Now,
        id: TaskId,
        main: Main,
        signal: Signal,
        grace: Duration,
    ) {
        if !grace.is_zero() {
            self.send_stop(id, main, signal);
        }
        self.enter(id, State::Stopping { main }, Some(now.mono + grace));
        self.event(now, id, EventKind::Stopping, None);
        self.shorten(now, id, grace);
    }

    fn send_stop(&mut self, id: TaskId, main: Main, signal: Signal) {
        let Some(task) = self.table.get(id) else { return };
        let all = match main {
            Main::Lives(_) => task.identity.stop_all(),
            Main::Ended(_) => true,
        };
        self.act(id, Action::Signal { signal, all, ticket: None });
    }

    /// The grace that runs is no longer than this any more.
    pub(super) fn shorten(&mut self, now: Now, id: TaskId, grace: Duration) {
        let Some(task) = self.table.get(id) else { return };
        let (State::Stopping { main }, Some(deadline)) = (task.state, task.deadline) else {
            return;
        };
        if grace.is_zero() {
            self.kill(now, id, main);
        } else {
            self.set_deadline(id, Some(deadline.min(now.mono + grace)));
        }
    }

    /// The grace is over.
    pub(super) fn kill(&mut self, now: Now, id: TaskId, main: Main) {
        self.kill_rest(now, id, main);
        self.event(now, id, EventKind::Killed, None);
    }

    /// Kills what may be left once nobody has to be patient with it.
    pub(super) fn kill_rest(&mut self, now: Now, id: TaskId, main: Main) {
        self.act(id, Action::KillAll);
        self.end_execs_of(now, id);
        self.enter(id, State::Killing { main }, Some(now.mono + STUCK_AFTER));
    }

    /// The main process has ended after its kill; the deadline of that still runs.
    pub(super) fn killed(&mut self, id: TaskId, ended: Ended) {
        self.table.enter(id, State::Killing { main: Main::Ended(ended) });
    }

    /// Takes a start back.
    pub(super) fn abort(&mut self, now: Now, id: TaskId, why: Abort) {
        let Some(task) = self.table.get(id) else { return };
        let State::Starting { cause, main, abort: None } = task.state else { return };
        self.act(id, Action::AbortSpawn);
        let state = State::Starting { cause, main, abort: Some(why) };
        self.enter(id, state, Some(now.mono + STUCK_AFTER));
    }

    /// What was killed should be gone by now: asks which processes are not.
    pub(super) fn list(&mut self, id: TaskId) {
        if let Some(task) = self.table.get_mut(id)
            && !task.listing
        {
            task.listing = true;
            self.act(id, Action::ListProcesses);
        }
    }

    fn list_if_stuck(&mut self, id: TaskId) {
        if self.stuck.contains(&id) {
            self.list(id);
        }
    }

    /// These outlived their kill. Who waits for the end is told so; the task stays as it is, and
    /// ends when they do.
    pub(super) fn listed(&mut self, now: Now, id: TaskId, pids: Vec<Pid>) {
        let Some(task) = self.table.get_mut(id) else { return };
        if !std::mem::take(&mut task.listing) {
            return;
        }
        if pids.is_empty() {
            // The last one has just gone, or cannot be seen: look again.
            self.set_deadline(id, Some(now.mono + STUCK_AFTER));
            return;
        }
        if matches!(task.then, Then::Restart | Then::Remove) {
            task.then = Then::Stay;
        }
        let name = task.identity.name.to_string();
        if self.stuck.insert(id, pids.clone()).is_none() {
            let list: Vec<String> = pids.iter().map(Pid::to_string).collect();
            self.event(now, id, EventKind::Stuck, Some(format!("pids {}", list.join(" "))));
            self.let_go_in_shutdown(id);
        }
        let reply = Err(RequestError::StillRunning { name, pids });
        for ask in [Ask::Launch, Ask::Stop, Ask::Restart, Ask::Remove] {
            self.answer(id, ask, &reply);
        }
    }

    /// No process of the run is left.
    pub(super) fn none_left(&mut self, id: TaskId) {
        self.stuck.remove(&id);
        self.set_containment(id, None);
        if let Some(task) = self.table.get_mut(id) {
            task.listing = false;
        }
    }
}
