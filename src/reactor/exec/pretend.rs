//! Commands that are not there, for fuzzing: see `reactor/pretend.rs`.

use super::ExecEnds;
use super::Execs;
use crate::engine::{ExecAction, ExecInput};
use crate::reactor::Supervisor;
use crate::reactor::pretend::start_error;
use crate::sys::pipe;
use crate::vocabulary::{ExecId, ExecStreams, ExitStatus, TaskId};
use std::os::fd::OwnedFd;

/// A command without processes.
#[derive(Debug)]
pub(super) struct Pretended {
    task: TaskId,
    executed: bool,
    main_ended: bool,
    empty: bool,
    /// The command's ends of its streams.
    ends: Vec<OwnedFd>,
}

impl Execs {
    pub(in crate::reactor) fn pretended(&self) -> usize {
        self.pretended.len()
    }

    pub(in crate::reactor) fn pretends_in(&self, task: TaskId) -> bool {
        self.pretended.values().any(|exec| exec.task == task && !exec.empty)
    }
}

impl Supervisor {
    pub(in crate::reactor) fn pretend_exec(&mut self, exec: ExecId, action: ExecAction) {
        let chance = self.pretence().map_or(7, |pretence| pretence.chance());
        if let ExecAction::Spawn { task, spec } = action {
            return self.pretend_exec_spawn(exec, task, spec.streams, chance);
        }
        let Some(found) = self.execs.pretended.get_mut(&exec) else { return };
        let task = found.task;
        let mut told = Vec::new();
        match action {
            ExecAction::Spawn { .. } => {}
            ExecAction::Signal(signal) => {
                if found.executed
                    && chance % 2 == 1
                    && !std::mem::replace(&mut found.main_ended, true)
                {
                    found.ends.clear();
                    told.push(ExecInput::MainExited(ExitStatus::Signaled(signal.number() as u8)));
                }
            }
            ExecAction::Kill if found.empty => {}
            ExecAction::Kill => {
                found.empty = true;
                found.ends.clear();
                if !std::mem::replace(&mut found.executed, true) {
                    told.push(ExecInput::StartFailed(start_error()));
                } else {
                    if !std::mem::replace(&mut found.main_ended, true) {
                        told.push(ExecInput::MainExited(ExitStatus::Signaled(9)));
                    }
                    told.push(ExecInput::Empty);
                }
            }
            ExecAction::ListProcesses => told.push(ExecInput::Processes(Vec::new())),
            ExecAction::FinishOutput => told.push(ExecInput::OutputDrained),
            ExecAction::Forget => {
                self.execs.pretended.remove(&exec);
                self.execs.forget(exec);
            }
        }
        told.into_iter().for_each(|input| self.execs.tell(exec, input));
        self.pretend_empty(task);
    }

    fn pretend_exec_spawn(&mut self, exec: ExecId, task: TaskId, streams: ExecStreams, chance: u8) {
        let pid = self.pretence().and_then(|pretence| pretence.next_pid());
        let ends = pretended_ends(streams);
        let (Some(pid), Some((ours, theirs)), 1..) = (pid, ends, chance % 8) else {
            return self.execs.tell(exec, ExecInput::StartFailed(start_error()));
        };
        if let Some(ours) = ours {
            self.execs.ends.insert(exec, ours);
        }
        let executed = chance % 8 > 1;
        let new = Pretended { task, executed, main_ended: false, empty: false, ends: theirs };
        self.execs.pretended.insert(exec, new);
        self.execs.tell(exec, ExecInput::Spawned { pid });
        if executed {
            self.execs.tell(exec, ExecInput::ExecSucceeded);
        }
    }

    pub(in crate::reactor) fn pretend_exec_happening(&mut self, which: usize) {
        let Some((&exec, found)) = self.execs.pretended.iter_mut().nth(which) else { return };
        let task = found.task;
        if !std::mem::replace(&mut found.executed, true) {
            self.execs.tell(exec, ExecInput::ExecSucceeded);
        } else if !std::mem::replace(&mut found.main_ended, true) {
            found.ends.clear();
            self.execs.tell(exec, ExecInput::MainExited(ExitStatus::Exited(3)));
        }
        self.pretend_empty(task);
    }
}

/// Our ends of its streams, where they are handed out, and those of the command.
fn pretended_ends(streams: ExecStreams) -> Option<(Option<ExecEnds>, Vec<OwnedFd>)> {
    if streams == ExecStreams::Collected {
        return Some((None, Vec::new()));
    }
    let (their_stdin, stdin) = pipe::make_input_pipe(None).ok()?;
    let (stdout, their_stdout) = pipe::make_pipe(None).ok()?;
    let (stderr, their_stderr) = pipe::make_pipe(None).ok()?;
    let ours = ExecEnds::Pipes { stdin, stdout, stderr };
    Some((Some(ours), vec![their_stdin, their_stdout, their_stderr]))
}
