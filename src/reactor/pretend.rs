//! A kernel that is not there, for fuzzing: what the engine asks for is answered as a kernel could
//! answer it, and no process, group or file is made.

use super::Supervisor;
use crate::engine::{Action, Input, Updated};
use crate::sys::clock;
use crate::vocabulary::{
    Containment, ExitStatus, Pid, Signal, Stage, StartError, TaskId, Ticket, Wall,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is there in place of processes.
#[derive(Debug, Default)]
pub(super) struct Pretence {
    /// They decide what happens; when they are over all goes well.
    chances: Vec<u8>,
    at: usize,
    runs: BTreeMap<TaskId, Pretended>,
    next_pid: i32,
}

/// A run without processes.
#[derive(Debug, Default)]
struct Pretended {
    executed: bool,
    main_ended: bool,
    /// Its `Empty` is asked for, and waits for the commands in it.
    ends: bool,
    empty: bool,
    /// Output is on its way.
    owes: bool,
}

impl Pretence {
    pub(super) fn chance(&mut self) -> u8 {
        let chance = self.chances.get(self.at).copied().unwrap_or(7);
        self.at += 1;
        chance
    }

    pub(super) fn next_pid(&mut self) -> Option<Pid> {
        // Above any pid that there is.
        self.next_pid += 1;
        Pid::new((1 << 23) + self.next_pid)
    }
}

pub(super) fn start_error() -> StartError {
    StartError {
        stage: Stage::Clone,
        errno: 11,
        errno_name: "EAGAIN".to_owned(),
        message: "make the process".to_owned(),
        retry: true,
        time: Wall::default(),
    }
}

impl Supervisor {
    /// From now on nothing is done: these bytes decide what is answered.
    #[doc(hidden)]
    pub fn pretend(&mut self, chances: &[u8]) {
        self.execs.pretence = Some(Pretence { chances: chances.to_vec(), ..Pretence::default() });
    }

    /// Time passes at once.
    #[doc(hidden)]
    pub fn pretend_time(&mut self, passed: Duration) {
        clock::skip(passed);
    }

    /// Something happens to one of the runs and commands, by its place among them.
    #[doc(hidden)]
    pub fn pretend_happening(&mut self, which: usize) {
        let Some(pretence) = &mut self.execs.pretence else { return };
        let count = pretence.runs.len();
        match which.checked_rem(count + self.execs.pretended()) {
            Some(which) if which >= count => self.pretend_exec_happening(which - count),
            Some(which) => self.run_happens(which),
            None => {}
        }
    }

    pub(super) fn pretence(&mut self) -> Option<&mut Pretence> {
        self.execs.pretence.as_mut()
    }

    fn run_happens(&mut self, which: usize) {
        let Some(pretence) = &mut self.execs.pretence else { return };
        let chance = pretence.chance();
        let Some((&task, run)) = pretence.runs.iter_mut().nth(which) else { return };
        let mut told = Vec::new();
        if !run.executed {
            run.executed = true;
            if chance.is_multiple_of(3) {
                run.empty = true;
                told.push(Input::StartFailed(start_error()));
            } else {
                told.push(Input::ExecSucceeded);
            }
        } else if !run.main_ended {
            run.main_ended = true;
            told.push(Input::MainExited(ExitStatus::Exited(chance / 2)));
        } else if std::mem::take(&mut run.owes) {
            told.push(Input::OutputDelivered);
        }
        self.tell_all(task, told);
        self.pretend_empty(task);
    }

    fn tell_all(&mut self, task: TaskId, told: Vec<Input>) {
        self.inputs.extend(told.into_iter().map(|input| (task, input)));
    }

    pub(super) fn pretend_to(&mut self, task: TaskId, action: Action) {
        let Some(pretence) = &mut self.execs.pretence else { return };
        if let Action::Spawn { .. } = action {
            return self.pretend_spawn(task);
        }
        let chance = pretence.chance();
        let Some(run) = pretence.runs.get_mut(&task) else {
            return self.without_run(task, action);
        };
        let mut told = Vec::new();
        match action {
            Action::Spawn { .. } | Action::CloseOutput => {}
            Action::AbortSpawn if run.executed => {
                if !std::mem::replace(&mut run.main_ended, true) {
                    told.push(Input::MainExited(ExitStatus::Signaled(9)));
                }
            }
            Action::AbortSpawn => {
                (run.executed, run.empty) = (true, true);
                told.push(Input::StartFailed(start_error()));
            }
            Action::Signal { signal, ticket, .. } => {
                told.push(Input::Signaled { ticket, result: Ok(()) });
                let ends = signal == Signal::KILL || chance % 2 == 1;
                if run.executed && ends && !std::mem::replace(&mut run.main_ended, true) {
                    told.push(Input::MainExited(ExitStatus::Signaled(signal.number() as u8)));
                }
            }
            Action::KillAll => {
                if !std::mem::replace(&mut run.main_ended, true) {
                    told.push(Input::MainExited(ExitStatus::Signaled(9)));
                }
                run.ends = true;
            }
            Action::AwaitEmpty | Action::LeaveRest => run.ends = true,
            Action::ListProcesses => told.push(Input::Processes(Vec::new())),
            Action::Update { change, ticket } => {
                told.push(Input::Updated(Updated { ticket, change, result: Ok(()) }));
            }
            Action::FinishOutput => {
                run.owes = chance.is_multiple_of(4);
                told.push(Input::OutputSettled { pending: run.owes });
            }
            Action::Forget => drop(pretence.runs.remove(&task)),
        }
        self.tell_all(task, told);
        self.pretend_empty(task);
    }

    fn without_run(&mut self, task: TaskId, action: Action) {
        match action {
            Action::Update { change, ticket } => {
                let updated = Updated { ticket, change, result: Ok(()) };
                self.inputs.push_back((task, Input::Updated(updated)));
            }
            Action::Signal { ticket: Some(ticket), .. } => self.not_there(task, ticket),
            _ => {}
        }
    }

    fn not_there(&mut self, task: TaskId, ticket: Ticket) {
        let input = Input::Signaled { ticket: Some(ticket), result: Ok(()) };
        self.inputs.push_back((task, input));
    }

    fn pretend_spawn(&mut self, task: TaskId) {
        let Some(pretence) = &mut self.execs.pretence else { return };
        let (chance, pid) = (pretence.chance(), pretence.next_pid());
        let Some(pid) = pid else { return };
        let mut run = Pretended::default();
        let spawned = Input::Spawned { pid, containment: Containment::Session };
        let told = match chance % 8 {
            0 => {
                (run.executed, run.empty) = (true, true);
                vec![Input::StartFailed(start_error())]
            }
            1 => vec![spawned],
            2 => {
                (run.executed, run.main_ended) = (true, true);
                vec![spawned, Input::MainExited(ExitStatus::Exited(chance))]
            }
            _ => {
                run.executed = true;
                vec![spawned, Input::ExecSucceeded]
            }
        };
        pretence.runs.insert(task, run);
        self.tell_all(task, told);
    }

    /// A run is over only when its commands are.
    pub(super) fn pretend_empty(&mut self, task: TaskId) {
        let holds = self.execs.pretends_in(task);
        let Some(pretence) = &mut self.execs.pretence else { return };
        let Some(run) = pretence.runs.get_mut(&task) else { return };
        if run.ends && run.main_ended && !run.empty && !holds {
            run.empty = true;
            self.inputs.push_back((task, Input::Empty { oom_killed: None }));
        }
    }
}
