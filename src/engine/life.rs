//! The life of a task: the one place where states and inputs meet.

use super::restart;
use super::task::State::{
    Backoff, Draining, Exited, Killing, Leaving, Lingering, Running, Starting, Stopping, Waiting,
};
use super::task::{Abort, Cause, Ended, Main, Then};
use super::waiting::Ask;
use super::{Action, Engine, Input, Output, Work};
use crate::vocabulary::{
    Containment, EventKind, Exit, Leftover, Now, Reply, RequestError, Signal, StateName,
    StreamKind, TaskId, Wall,
};
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    /// What an input does in each state.
    pub(super) fn transition(&mut self, now: Now, id: TaskId, input: Input) {
        match input {
            Input::MainExitedBefore { status, time } => {
                self.step(now, id, Input::MainExited(status), time);
            }
            input => self.step(now, id, input, now.wall),
        }
    }

    /// The same; `time`: when it happened.
    fn step(&mut self, now: Now, id: TaskId, input: Input, time: Wall) {
        let Some(task) = self.table.get(id) else { return };
        match (task.state, input) {
            // A run is made.
            (Starting { cause, main: None, abort }, Input::Spawned { pid, containment }) => {
                self.table.enter(id, Starting { cause, main: Some(pid), abort });
                self.set_containment(id, Some(containment));
            }
            (Starting { main: Some(main), .. }, Input::ExecSucceeded) => {
                let stopped = task.then != Then::Policy;
                self.started(now, id, main);
                if stopped {
                    self.stop_run(now, id, Main::Lives(main), Signal::KILL, Duration::ZERO);
                }
            }
            (Starting { main: Some(main), .. }, Input::MainExited(status)) => {
                self.started(now, id, main);
                self.main_ended(now, id, Ended { pid: main, status, time });
            }
            (Starting { .. }, Input::StartFailed(error)) => self.start_failed(now, id, error),

            // Its main process ends.
            (Running { main }, Input::MainExited(status)) => {
                self.main_ended(now, id, Ended { pid: main, status, time });
            }
            (Stopping { main: Main::Lives(main) }, Input::MainExited(status)) => {
                let ended = Ended { pid: main, status, time };
                self.kill_rest(now, id, Main::Ended(ended));
            }
            (Killing { main: Main::Lives(main) }, Input::MainExited(status)) => {
                self.killed(id, Ended { pid: main, status, time });
            }

            // The last of its processes ends, then its output.
            (
                Lingering { ended }
                | Stopping { main: Main::Ended(ended) }
                | Killing { main: Main::Ended(ended) }
                | Leaving { ended },
                Input::Empty { oom_killed },
            ) => self.emptied(now, id, ended, oom_killed),
            (Draining { ended, oom_killed }, Input::OutputSettled { pending }) => {
                self.run_over(now, id, ended, oom_killed, pending);
            }

            // What was killed is not gone.
            (Starting { abort: Some(_), .. } | Killing { .. }, Input::Processes(pids)) => {
                self.listed(now, id, pids);
            }
            // News of output, signals and limits mean the same in every state.
            (_, Input::Signaled { ticket, result }) => self.signaled(ticket, result),
            (_, Input::Updated(updated)) => self.updated(now, id, updated),
            (_, Input::OutputDelivered) => self.set_output_pending(id, false),
            (_, Input::OutputLost { stream, bytes }) => self.output_lost(now, id, stream, bytes),
            (_, Input::OutputStalled { stream, reason }) => {
                self.output_stalled(now, id, stream, &reason);
            }

            // Late, or told twice: nothing in this state waits for it.
            #[rustfmt::skip]
            (
                Waiting { .. } | Starting { .. } | Running { .. } | Lingering { .. }
                | Stopping { .. } | Killing { .. } | Leaving { .. } | Draining { .. }
                | Backoff { .. } | Exited,
                Input::Spawned { .. } | Input::ExecSucceeded | Input::StartFailed(_)
                | Input::MainExited(_) | Input::MainExitedBefore { .. } | Input::Empty { .. }
                | Input::OutputSettled { .. } | Input::Processes(_),
            ) => {}
        }
    }

    /// The time of a state is over.
    pub(super) fn expired(&mut self, now: Now, id: TaskId) {
        let Some(task) = self.table.get_mut(id) else { return };
        task.deadline = None;
        match task.state {
            Starting { abort: None, .. } => self.abort(now, id, Abort::Timeout),
            Stopping { main } => self.kill(now, id, main),
            Starting { abort: Some(_), .. } | Killing { .. } => self.list(id),
            Backoff { .. } => self.begin(now, id, Cause::Policy),
            Waiting { .. }
            | Running { .. }
            | Lingering { .. }
            | Leaving { .. }
            | Draining { .. }
            | Exited => {}
        }
    }

    /// The main process of a run that was not being stopped has ended.
    fn main_ended(&mut self, now: Now, id: TaskId, ended: Ended) {
        let Some(task) = self.table.get(id) else { return };
        let leftover = match task.then {
            Then::Policy => task.identity.leftover(),
            // Its start was being taken back.
            Then::Stay | Then::Restart | Then::Remove => Leftover::Kill,
        };
        match leftover {
            Leftover::Kill => self.kill_rest(now, id, Main::Ended(ended)),
            Leftover::Wait => {
                self.act(id, Action::AwaitEmpty);
                self.enter(id, Lingering { ended }, None);
            }
            Leftover::Leave => {
                self.act(id, Action::LeaveRest);
                self.end_execs_of(now, id);
                self.enter(id, Leaving { ended }, None);
            }
        }
    }

    fn emptied(&mut self, now: Now, id: TaskId, ended: Ended, oom_killed: Option<bool>) {
        self.none_left(id);
        self.enter(id, Draining { ended, oom_killed }, None);
        if oom_killed == Some(true) {
            self.event(now, id, EventKind::OomKilled, None);
        }
        self.act(id, Action::FinishOutput);
        // One that was asked for at the last moment has not begun.
        self.end_execs_of(now, id);
    }

    /// The end of the run may be told: decides what comes next.
    fn run_over(
        &mut self,
        now: Now,
        id: TaskId,
        ended: Ended,
        oom_killed: Option<bool>,
        pending: bool,
    ) {
        let stops_tasks = self.stops_tasks();
        let Some(task) = self.table.get_mut(id) else { return };
        let Ended { pid, status, time } = ended;
        task.exit = Some(Exit { pid, status, oom_killed, time });
        task.output_pending = pending;
        let policy = task.identity.restart();
        task.history.ran(policy, now.mono.since(task.began));
        match task.then {
            Then::Restart => {
                self.begin_again(now, id, EventKind::Exited);
            }
            Then::Policy if !stops_tasks && restart::is_due(policy, status) => {
                self.restart_or_give_up(now, id, EventKind::Exited);
            }
            then => {
                let why = if then == Then::Policy && !stops_tasks { "never" } else { "stopped" };
                self.enter(id, Exited, None);
                self.event(now, id, EventKind::Exited, None);
                self.finish(now, id, why);
            }
        }
    }

    /// After a run that ended or could not begin: waits for the next one, or gives up. `what` is
    /// told of the task as it is then.
    pub(super) fn restart_or_give_up(&mut self, now: Now, id: TaskId, what: EventKind) {
        let Some(task) = self.table.get_mut(id) else { return };
        let policy = task.identity.restart();
        if let Some(delay) = task.history.next(policy, now.mono, &mut self.chance) {
            let next_start = now.wall + delay;
            self.enter(id, Backoff { next_start }, Some(now.mono + delay));
            self.event(now, id, what, None);
            self.event(now, id, EventKind::Backoff, None);
        } else {
            task.gave_up = true;
            self.enter(id, Exited, None);
            self.event(now, id, what, None);
            self.finish(now, id, "gave_up");
        }
    }

    /// A task has exited for good.
    pub(super) fn finish(&mut self, now: Now, id: TaskId, why: &str) {
        self.act(id, Action::CloseOutput);
        self.event(now, id, EventKind::Finished, Some(why.to_owned()));
        self.answer_status(id, Ask::Wait);
        self.answer_status(id, Ask::Stop);
        let Some(task) = self.table.get(id) else { return };
        let remove = task.then == Then::Remove || task.identity.auto_remove();
        if self.askers.has_any(id) {
            let name = task.identity.name.to_string();
            // A restart that a stop took back.
            let over: Reply = Err(match self.shutdown {
                Some(_) => RequestError::ShuttingDown,
                None => RequestError::NotRunning { name, state: StateName::Exited },
            });
            self.answer(id, Ask::Restart, &over);
        }
        self.gone(id);
        if remove {
            self.forget(now, id);
        }
    }

    /// What the end of a task means for those that come after it, and for those before it.
    pub(super) fn gone(&mut self, id: TaskId) {
        let Some(task) = self.table.get(id) else { return };
        if task.started.is_none() {
            let identity = &task.identity;
            for dependent in self.order.dependents(id) {
                self.work.push_back(Work::Fail(dependent, Arc::clone(identity)));
            }
        }
        self.let_go_in_shutdown(id);
    }

    pub(super) fn set_containment(&mut self, id: TaskId, containment: Option<Containment>) {
        if let Some(task) = self.table.get_mut(id) {
            task.containment = containment;
        }
    }

    fn set_output_pending(&mut self, id: TaskId, pending: bool) {
        if let Some(task) = self.table.get_mut(id) {
            task.output_pending = pending;
        }
    }

    fn output_stalled(&mut self, now: Now, id: TaskId, stream: StreamKind, reason: &str) {
        let detail = format!("{}: {reason}", stream.as_str());
        self.event(now, id, EventKind::OutputStalled, Some(detail));
    }

    fn output_lost(&mut self, now: Now, id: TaskId, stream: StreamKind, bytes: Option<u64>) {
        self.event(now, id, EventKind::OutputLost, Some(loss(stream, bytes)));
    }

    /// A task that is being forgotten has lost output: told before its removal, which is the next
    /// output.
    pub(super) fn lost_at_last(&mut self, stream: StreamKind, bytes: Option<u64>) {
        let Some(Output::Event(removed)) = self.outputs.front() else { return };
        let mut lost = removed.clone();
        lost.kind = EventKind::OutputLost;
        lost.detail = Some(loss(stream, bytes).into_boxed_str());
        self.outputs.push_front(Output::Event(lost));
    }
}

fn loss(stream: StreamKind, bytes: Option<u64>) -> String {
    let stream = stream.as_str();
    match bytes {
        Some(bytes) => format!("{stream}: {bytes} bytes"),
        None => format!("{stream}: unknown number of bytes"),
    }
}
