//! Commands in tasks, in a world of processes that do not exist.

use crate::world::{World, start_error};
use ostler::engine::{ExecAction, ExecInput};
use ostler::{ExecId, ExitStatus, Pid, Signal, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

/// The processes of every command.
#[derive(Clone, Default)]
pub(crate) struct Commands(BTreeMap<ExecId, Command>);

#[derive(Clone)]
struct Command {
    task: TaskId,
    pid: Option<Pid>,
    exec: bool,
    killed: bool,
    main_told: bool,
    rest: u64,
    empty: bool,
    stubborn: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Spawned,
    Exec,
    Fails,
    MainEnds(ExitStatus),
    RestEnds,
    AllKilled,
    Tell(ExecInput),
}

impl Commands {
    /// Whether a task has processes of commands.
    pub(crate) fn hold(&self, task: TaskId) -> bool {
        self.0.values().any(|command| command.task == task && !command.empty)
    }
}

impl World {
    /// Somebody does something about a command that runs.
    pub(crate) fn order_a_command(&mut self) {
        let all: Vec<ExecId> = self.commands.0.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let exec = self.random.pick(&all);
        match self.random.below(3) {
            0 => {
                let now = self.now();
                self.check.exec_unwanted(exec);
                self.engine.kill_exec(now, exec);
            }
            _ => self.engine.signal_exec(exec, Signal::HUP),
        }
        self.drain(false);
    }

    pub(crate) fn perform_command(&mut self, exec: ExecId, action: ExecAction) {
        match action {
            ExecAction::Spawn { task, .. } => self.spawn_command(exec, task),
            ExecAction::Signal(signal) => {
                let wait = self.delay();
                if self.commands.0.get(&exec).is_some_and(|command| !command.stubborn) {
                    let status = ExitStatus::Signaled(signal.number() as u8);
                    self.command_later(exec, wait, Happening::MainEnds(status));
                }
            }
            ExecAction::Kill => {
                let wait = self.kill_delay();
                if let Some(command) = self.commands.0.get_mut(&exec) {
                    command.killed = true;
                }
                self.command_later(exec, wait, Happening::AllKilled);
            }
            ExecAction::ListProcesses => {
                let left = self.commands.0.get(&exec).map_or(0, |command| {
                    u64::from(command.exec && !command.main_told) + command.rest
                });
                let pids = (0..left).filter_map(|n| Pid::new(n as i32 + 1)).collect();
                let input = ExecInput::Processes(pids);
                self.command_later(exec, Duration::ZERO, Happening::Tell(input));
            }
            ExecAction::FinishOutput => {
                let wait = self.delay();
                self.command_later(exec, wait, Happening::Tell(ExecInput::OutputDrained));
            }
            ExecAction::Forget => drop(self.commands.0.remove(&exec)),
        }
    }

    fn spawn_command(&mut self, exec: ExecId, task: TaskId) {
        let command = Command {
            task,
            pid: None,
            exec: false,
            killed: false,
            main_told: false,
            rest: 0,
            empty: false,
            stubborn: self.random.percent(self.faults.stubborn),
        };
        self.commands.0.insert(exec, command);
        let first = self.delay();
        if self.random.percent(self.faults.fails_early) {
            return self.command_later(exec, first, Happening::Fails);
        }
        self.command_later(exec, first, Happening::Spawned);
        let second = first + self.delay();
        if self.random.percent(self.faults.hangs) {
            return;
        }
        if self.random.percent(self.faults.fails_late) {
            return self.command_later(exec, second, Happening::Fails);
        }
        if self.random.percent(self.faults.exits_first) {
            let status = self.any_exit();
            return self.command_later(exec, second, Happening::MainEnds(status));
        }
        self.command_later(exec, second, Happening::Exec);
    }

    pub(crate) fn command_happens(&mut self, exec: ExecId, happening: Happening) {
        // What one that is over still had to say is said to nobody.
        let Some(command) = self.commands.0.get_mut(&exec) else { return };
        match happening {
            Happening::Spawned if command.killed => {}
            Happening::Spawned => {
                command.pid = Pid::new(self.next_pid);
                self.next_pid += 1;
                if let Some(pid) = command.pid {
                    self.tell_command(exec, ExecInput::Spawned { pid });
                }
            }
            Happening::Exec if command.killed || command.main_told => {}
            Happening::Exec => self.command_runs(exec),
            Happening::Fails if command.killed => {}
            Happening::Fails => self.command_fails(exec),
            Happening::MainEnds(_) if command.pid.is_none() || command.main_told => {}
            Happening::MainEnds(status) => {
                command.exec = true;
                command.main_told = true;
                self.tell_command(exec, ExecInput::MainExited(status));
                self.look_if_command_is_empty(exec);
            }
            Happening::RestEnds => {
                command.rest = 0;
                self.look_if_command_is_empty(exec);
            }
            Happening::AllKilled => {
                command.rest = 0;
                let races = self.random.percent(self.faults.races);
                let Some(command) = self.commands.0.get_mut(&exec) else { return };
                if !(command.exec || races && command.pid.is_some()) {
                    return self.command_fails(exec);
                }
                command.exec = true;
                if !std::mem::replace(&mut command.main_told, true) {
                    self.tell_command(exec, ExecInput::MainExited(ExitStatus::Signaled(9)));
                }
                self.look_if_command_is_empty(exec);
            }
            Happening::Tell(input) => self.tell_command(exec, input),
        }
    }

    fn command_runs(&mut self, exec: ExecId) {
        let rest = if self.random.percent(self.faults.leaves) { 2 } else { 0 };
        if let Some(command) = self.commands.0.get_mut(&exec) {
            command.exec = true;
            command.rest = rest;
        }
        let (life, status) = (self.random.millis(60_000), self.any_exit());
        self.command_later(exec, life, Happening::MainEnds(status));
        if self.random.percent(50) {
            let life = self.random.millis(120_000);
            self.command_later(exec, life, Happening::RestEnds);
        }
        self.tell_command(exec, ExecInput::ExecSucceeded);
    }

    fn command_fails(&mut self, exec: ExecId) {
        let Some(command) = self.commands.0.get_mut(&exec) else { return };
        if std::mem::replace(&mut command.empty, true) {
            return;
        }
        let task = command.task;
        self.tell_command(exec, ExecInput::StartFailed(start_error()));
        self.look_if_empty(task);
    }

    fn look_if_command_is_empty(&mut self, exec: ExecId) {
        let Some(command) = self.commands.0.get_mut(&exec) else { return };
        let over = command.main_told && command.rest == 0 && command.killed;
        if over && !std::mem::replace(&mut command.empty, true) {
            let task = command.task;
            self.tell_command(exec, ExecInput::Empty);
            self.look_if_empty(task);
        }
    }
}
