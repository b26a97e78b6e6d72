//! The life of a command that is run in a task: the one place where its states and inputs meet.

use super::execs::State::{Draining, Killing, Running, Starting};
use super::execs::{Abort, Exec, Main};
use super::task;
use super::{Engine, ExecAction, ExecInput, Outcome, Output, Timer};
use crate::vocabulary::limits::{EXECS_MAX, LAUNCH_TIMEOUT_DEFAULT, STUCK_AFTER};
use crate::vocabulary::{
    Answer, ExecId, ExecSpec, ExecStreams, Executed, ExitStatus, Mono, Now, Pid, RequestError,
    Signal, Stage, StartError, StateName, TaskId, Ticket, Wall,
};
use std::sync::Arc;
use std::time::Duration;

impl Engine {
    pub(super) fn exec(
        &mut self,
        now: Now,
        ticket: Ticket,
        name: String,
        spec: Box<ExecSpec>,
    ) -> Outcome {
        let task = self.named(&name)?;
        spec.validate().map_err(RequestError::InvalidTask)?;
        if self.shutdown.is_some() {
            return Err(RequestError::ShuttingDown);
        }
        let Some(found) = self.table.get(task) else {
            return Err(RequestError::NoSuchTask { name });
        };
        if !has_a_process_for_long(found.state) {
            return Err(RequestError::NotRunning { name, state: found.state.name() });
        }
        if spec.timeout == Some(Duration::ZERO) {
            return Err(RequestError::TimedOut);
        }
        if self.execs.len() >= EXECS_MAX {
            let reason = "wait until some of the commands that run have ended".to_owned();
            return Err(RequestError::Limit { limit: "execs", maximum: EXECS_MAX as u64, reason });
        }
        let ends = spec.timeout.map(|timeout| now.mono + timeout);
        let exec = self.execs.insert(Exec {
            task,
            identity: Arc::clone(&found.identity),
            state: Starting { main: None, abort: None },
            deadline: None,
            ends,
            timed_out: false,
            streams: spec.streams != ExecStreams::Collected,
            ticket: Some(ticket),
            unwanted: false,
            listing: false,
        });
        let patience = now.mono + LAUNCH_TIMEOUT_DEFAULT;
        self.set_exec_deadline(exec, Some(ends.map_or(patience, |ends| ends.min(patience))));
        self.act_on(exec, ExecAction::Spawn { task, spec });
        Ok(None)
    }

    /// Something happened outside, to a command that was run in a task.
    pub fn handle_exec(&mut self, now: Now, exec: ExecId, input: ExecInput) {
        let Some(found) = self.execs.get(exec) else { return };
        match (found.state, input) {
            (Starting { main: None, abort }, ExecInput::Spawned { pid }) => {
                self.set_exec_state(exec, Starting { main: Some(pid), abort });
            }
            (Starting { main: Some(main), abort: None }, ExecInput::ExecSucceeded) => {
                self.exec_started(exec, main);
            }
            // It was killed already.
            (Starting { main: Some(main), abort: Some(why) }, ExecInput::ExecSucceeded) => {
                self.set_exec_state(exec, Killing { main: Main::Lives(main) });
                self.started_too_late(now, exec, why);
            }
            (Starting { main: Some(main), abort }, ExecInput::MainExited(status)) => {
                match abort {
                    None => self.exec_started(exec, main),
                    Some(why) => self.started_too_late(now, exec, why),
                }
                self.kill_exec_rest(now, exec, Main::Ended(main, status));
            }
            (Starting { abort, .. }, ExecInput::StartFailed(error)) => {
                self.exec_failed(now, exec, abort, error);
            }
            (Running { main }, ExecInput::MainExited(status)) => {
                self.kill_exec_rest(now, exec, Main::Ended(main, status));
            }
            (Killing { main: Main::Lives(main) }, ExecInput::MainExited(status)) => {
                self.set_exec_state(exec, Killing { main: Main::Ended(main, status) });
            }
            (Killing { main: Main::Ended(pid, status) }, ExecInput::Empty) => {
                self.set_exec_state(exec, Draining { pid, status });
                self.set_exec_deadline(exec, None);
                self.act_on(exec, ExecAction::FinishOutput);
            }
            (Draining { pid, status }, ExecInput::OutputDrained) => {
                self.exec_ended(exec, pid, status);
            }
            (Starting { abort: Some(_), .. } | Killing { .. }, ExecInput::Processes(pids)) => {
                self.exec_listed(now, exec, pids);
            }

            // Late, or told twice: nothing in this state waits for it.
            #[rustfmt::skip]
            (
                Starting { .. } | Running { .. } | Killing { .. } | Draining { .. },
                ExecInput::Spawned { .. } | ExecInput::ExecSucceeded | ExecInput::StartFailed(_)
                | ExecInput::MainExited(_) | ExecInput::Empty | ExecInput::OutputDrained
                | ExecInput::Processes(_),
            ) => {}
        }
    }

    /// The time of a state is over.
    pub(super) fn exec_expired(&mut self, now: Now, exec: ExecId) {
        let Some(found) = self.execs.get_mut(exec) else { return };
        found.deadline = None;
        match found.state {
            Starting { abort: None, .. } | Running { .. } => {
                found.timed_out = true;
                self.end_exec(now, exec, Abort::Timeout);
            }
            Starting { abort: Some(_), .. } | Killing { .. } => {
                if !std::mem::replace(&mut found.listing, true) {
                    self.act_on(exec, ExecAction::ListProcesses);
                }
            }
            Draining { .. } => {}
        }
    }

    /// Sends a signal to the main process of a command, while that runs.
    pub fn signal_exec(&mut self, exec: ExecId, signal: Signal) {
        if let Some(found) = self.execs.get(exec)
            && matches!(found.state, Running { .. })
        {
            self.act_on(exec, ExecAction::Signal(signal));
        }
    }

    /// Nobody wants a command any more: all of it is killed, and its end is not told.
    pub fn kill_exec(&mut self, now: Now, exec: ExecId) {
        let Some(found) = self.execs.get_mut(exec) else { return };
        found.unwanted = true;
        self.execs.take_ticket(exec);
        self.end_exec(now, exec, Abort::Unwanted);
    }

    /// The processes of a task are being killed, or let go of: with them its commands.
    pub(super) fn end_execs_of(&mut self, now: Now, task: TaskId) {
        for exec in self.execs.of_task(task) {
            self.end_exec(now, exec, Abort::TaskEnds);
        }
    }

    /// Tasks are left to themselves: their commands are not.
    pub(super) fn end_all_execs(&mut self, now: Now) {
        for exec in self.execs.ids() {
            self.end_exec(now, exec, Abort::TaskEnds);
        }
    }

    fn end_exec(&mut self, now: Now, exec: ExecId, why: Abort) {
        let Some(found) = self.execs.get(exec) else { return };
        match found.state {
            Starting { main, abort: None } => {
                self.set_exec_state(exec, Starting { main, abort: Some(why) });
                self.set_exec_deadline(exec, Some(now.mono + STUCK_AFTER));
                self.act_on(exec, ExecAction::Kill);
            }
            Running { main } => self.kill_exec_rest(now, exec, Main::Lives(main)),
            Starting { abort: Some(_), .. } | Killing { .. } | Draining { .. } => {}
        }
    }

    fn kill_exec_rest(&mut self, now: Now, exec: ExecId, main: Main) {
        self.set_exec_state(exec, Killing { main });
        self.set_exec_deadline(exec, Some(now.mono + STUCK_AFTER));
        self.act_on(exec, ExecAction::Kill);
    }

    fn exec_started(&mut self, exec: ExecId, main: Pid) {
        self.set_exec_state(exec, Running { main });
        let Some(found) = self.execs.get(exec) else { return };
        let (ends, streams) = (found.ends, found.streams);
        self.set_exec_deadline(exec, ends);
        if streams && let Some(ticket) = self.execs.take_ticket(exec) {
            self.reply(ticket, Ok(Answer::ExecStarted { exec, pid: main }));
        }
    }

    /// Nothing of it is left, and nothing was run.
    fn exec_failed(&mut self, now: Now, exec: ExecId, abort: Option<Abort>, error: StartError) {
        let why = match abort {
            None => {
                let error = StartError { time: now.wall, ..error };
                Some(RequestError::LaunchFailed(Arc::new(error)))
            }
            Some(abort) => self.why_taken_back(now, exec, abort),
        };
        if let (Some(ticket), Some(why)) = (self.execs.take_ticket(exec), why) {
            self.reply(ticket, Err(why));
        }
        self.forget_exec(exec);
    }

    /// It runs, for a moment, although its start was taken back: that is what is told of it.
    fn started_too_late(&mut self, now: Now, exec: ExecId, abort: Abort) {
        let Some(found) = self.execs.get_mut(exec) else { return };
        found.unwanted = true;
        let why = self.why_taken_back(now, exec, abort);
        if let (Some(ticket), Some(why)) = (self.execs.take_ticket(exec), why) {
            self.reply(ticket, Err(why));
        }
    }

    fn why_taken_back(&self, now: Now, exec: ExecId, abort: Abort) -> Option<RequestError> {
        let found = self.execs.get(exec)?;
        Some(match abort {
            Abort::Timeout => RequestError::LaunchFailed(Arc::new(too_slow(now.wall))),
            Abort::TaskEnds | Abort::Unwanted => {
                let task = self.table.get(found.task);
                let state = task.map_or(StateName::Exited, |task| task.state.name());
                RequestError::NotRunning { name: found.identity.name.to_string(), state }
            }
        })
    }

    /// All of it has ended, and its output was read.
    fn exec_ended(&mut self, exec: ExecId, pid: Pid, status: ExitStatus) {
        let ticket = self.execs.take_ticket(exec);
        let Some(found) = self.execs.get(exec) else { return };
        let executed = Box::new(Executed {
            exec,
            pid,
            status,
            // It may just have ended by itself when it was to be killed.
            timed_out: found.timed_out && !matches!(status, ExitStatus::Exited(_)),
            stdout: Vec::new(),
            stderr: Vec::new(),
            truncated: false,
        });
        let told = found.streams && !found.unwanted;
        match ticket {
            Some(ticket) => self.reply(ticket, Ok(Answer::Executed(executed))),
            None if told => self.outputs.push_back(Output::ExecEnded(executed)),
            None => {}
        }
        self.forget_exec(exec);
    }

    /// These outlived their kill: whoever waits is told so.
    fn exec_listed(&mut self, now: Now, exec: ExecId, pids: Vec<Pid>) {
        let Some(found) = self.execs.get_mut(exec) else { return };
        if !std::mem::take(&mut found.listing) {
            return;
        }
        if pids.is_empty() {
            // The last one has just gone, or cannot be seen: look again.
            return self.set_exec_deadline(exec, Some(now.mono + STUCK_AFTER));
        }
        let name = found.identity.name.to_string();
        if let Some(ticket) = self.execs.take_ticket(exec) {
            self.reply(ticket, Err(RequestError::StillRunning { name, pids }));
        }
    }

    fn forget_exec(&mut self, exec: ExecId) {
        self.set_exec_deadline(exec, None);
        if self.execs.remove(exec).is_some() {
            self.act_on(exec, ExecAction::Forget);
        }
    }

    fn set_exec_state(&mut self, exec: ExecId, state: super::execs::State) {
        if let Some(found) = self.execs.get_mut(exec) {
            found.state = state;
        }
    }

    pub(super) fn set_exec_deadline(&mut self, exec: ExecId, deadline: Option<Mono>) {
        let Some(found) = self.execs.get_mut(exec) else { return };
        let before = std::mem::replace(&mut found.deadline, deadline);
        if let Some(at) = before {
            self.deadlines.cancel(at, Timer::Exec(exec));
        }
        if let Some(at) = deadline {
            self.deadlines.add(at, Timer::Exec(exec));
        }
    }

    fn act_on(&mut self, exec: ExecId, action: ExecAction) {
        self.outputs.push_back(Output::Exec(exec, action));
    }
}

/// Whether a task has a process, and is not being killed.
fn has_a_process_for_long(state: task::State) -> bool {
    use task::State as Task;
    match state {
        Task::Running { .. } | Task::Lingering { .. } | Task::Stopping { .. } => true,
        Task::Waiting { .. }
        | Task::Starting { .. }
        | Task::Killing { .. }
        | Task::Leaving { .. }
        | Task::Draining { .. }
        | Task::Backoff { .. }
        | Task::Exited => false,
    }
}

fn too_slow(time: Wall) -> StartError {
    StartError {
        stage: Stage::Timeout,
        errno: 0,
        errno_name: String::new(),
        message: "start the command: its exec took too long, the child was killed".to_owned(),
        retry: true,
        time,
    }
}
