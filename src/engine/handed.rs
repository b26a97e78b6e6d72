//! Tasks that another engine hands over in the middle of everything, with those who wait for them:
//! nothing has happened since, and nobody notices.

use super::execs::{self, Exec};
use super::task::{Main, State, Task};
use super::waiting::{Ask, Asker};
use super::{Action, Engine, ExecAction, Output, Saved, Timer};
use crate::vocabulary::{ExecId, ExitStatus, Mono, Now, Pid, TaskId, Ticket};
use std::sync::Arc;

/// Somebody who waits for something of a task.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Asking {
    /// To be answered under this ticket.
    pub ticket: Ticket,
    /// Of which task.
    pub task: TaskId,
    /// For what.
    pub ask: Ask,
    /// When it is told that the time is over.
    pub deadline: Option<Mono>,
}

/// A command that runs in a task.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Executing {
    /// Where.
    pub task: TaskId,
    /// Its main process.
    pub main: Pid,
    /// How that has ended, if it has.
    pub ended: Option<ExitStatus>,
    /// What is left of it is being killed.
    pub killing: bool,
    /// Until when its state may last.
    pub deadline: Option<Mono>,
    /// When its time is over.
    pub ends: Option<Mono>,
    /// It was over.
    pub timed_out: bool,
    /// Its streams were handed to whoever asked.
    pub streams: bool,
    /// Who is still to be answered.
    pub ticket: Option<Ticket>,
    /// Its end is told to nobody.
    pub unwanted: bool,
}

impl Engine {
    /// Every command that runs, the start of which is over.
    pub fn executing(&self) -> Vec<(ExecId, Executing)> {
        let executing = |id: ExecId| {
            let exec = self.execs.get(id)?;
            let (main, ended, killing) = match exec.state {
                execs::State::Starting { .. } => return None,
                execs::State::Running { main } => (main, None, false),
                execs::State::Killing { main: execs::Main::Lives(main) } => (main, None, true),
                execs::State::Killing { main: execs::Main::Ended(main, status) }
                | execs::State::Draining { pid: main, status } => (main, Some(status), true),
            };
            let (deadline, ends, timed_out) = (exec.deadline, exec.ends, exec.timed_out);
            let (task, streams) = (exec.task, exec.streams);
            let (ticket, unwanted) = (exec.ticket, exec.unwanted);
            Some((
                id,
                Executing {
                    task,
                    main,
                    ended,
                    killing,
                    deadline,
                    ends,
                    timed_out,
                    streams,
                    ticket,
                    unwanted,
                },
            ))
        };
        self.execs.ids().into_iter().filter_map(executing).collect()
    }

    /// Goes on with a command of the engine before. `None`: its task is not there.
    pub fn execute_on(&mut self, executing: Executing) -> Option<ExecId> {
        let Executing { task, main, ended, killing, deadline, ends, .. } = executing;
        let identity = Arc::clone(self.identity(task)?);
        let state = match (ended, killing) {
            (Some(status), _) => execs::State::Killing { main: execs::Main::Ended(main, status) },
            (None, true) => execs::State::Killing { main: execs::Main::Lives(main) },
            (None, false) => execs::State::Running { main },
        };
        let exec = self.execs.insert(Exec {
            task,
            identity,
            state,
            deadline: None,
            ends,
            timed_out: executing.timed_out,
            streams: executing.streams,
            ticket: executing.ticket,
            unwanted: executing.unwanted,
            listing: false,
        });
        self.set_exec_deadline(exec, deadline);
        if killing || ended.is_some() {
            self.outputs.push_back(Output::Exec(exec, ExecAction::Kill));
        }
        Some(exec)
    }

    /// Everybody who waits, in no order that is promised.
    pub fn asking(&self) -> impl Iterator<Item = Asking> + '_ {
        self.askers.iter().map(|(ticket, &Asker { task, ask, deadline })| Asking {
            ticket,
            task,
            ask,
            deadline,
        })
    }

    /// Waits again, as with the engine before.
    pub fn ask_again(&mut self, asking: Asking) {
        let Asking { ticket, task, ask, deadline } = asking;
        if let Some(at) = deadline {
            self.deadlines.add(at, Timer::Asker(ticket));
        }
        self.askers.add(ticket, Asker { task, ask, deadline });
    }

    /// Whether all that was decided has been taken out.
    pub fn is_quiet(&self) -> bool {
        self.outputs.is_empty() && self.work.is_empty()
    }

    /// Whether all tasks are being stopped, or are to be left.
    pub fn is_ending(&self) -> bool {
        self.shutdown.is_some()
    }

    /// Takes up the tasks of an engine that was quiet, into one that has none; each gets the id at
    /// its place in the answer. No event tells of it. What their states wait for is asked for
    /// again where it may be lost, and comes as usual.
    pub fn take_over(&mut self, now: Now, saved: Vec<Saved>) -> Vec<TaskId> {
        let ids = self.insert_saved(saved, true);
        for &id in &ids {
            self.go_on(now, id);
        }
        self.settle(now);
        ids
    }

    fn go_on(&mut self, now: Now, id: TaskId) {
        let Some(&Task { state, deadline, run, .. }) = self.table.get(id) else { return };
        match state {
            State::Waiting { .. } => self.wait_again(now, id),
            // What has a process is handed over only once its start is over.
            State::Starting { main: None, abort, .. } => {
                self.act(id, Action::Spawn { run });
                if abort.is_some() {
                    self.act(id, Action::AbortSpawn);
                }
            }
            State::Lingering { .. } => self.act(id, Action::AwaitEmpty),
            State::Killing { .. } => {
                if deadline.is_none() {
                    // Which processes they are is asked again when somebody wants to know.
                    self.stuck.insert(id, Vec::new());
                }
                self.act(id, Action::KillAll);
            }
            State::Stopping { main: Main::Ended(_) } => self.act(id, Action::AwaitEmpty),
            State::Leaving { .. } => self.act(id, Action::LeaveRest),
            State::Draining { .. } => self.act(id, Action::FinishOutput),
            State::Starting { main: Some(_), .. }
            | State::Running { .. }
            | State::Stopping { main: Main::Lives(_) }
            | State::Backoff { .. }
            | State::Exited => {}
        }
    }
}
