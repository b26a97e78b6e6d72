//! What must be true of commands in tasks after every step: a second, simpler account of each, kept
//! from what goes in and out of the engine.

use ostler::engine::{ExecAction, ExecInput};
use ostler::{ExecId, ExecStreams, Executed, Mono, Now, TaskId, Ticket};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a start may take (`limits::LAUNCH_TIMEOUT_DEFAULT`).
const START: Duration = Duration::from_secs(30);

/// Every command that was seen.
#[derive(Clone, Default)]
pub(crate) struct Commands {
    living: BTreeMap<ExecId, Seen>,
    ever: BTreeSet<ExecId>,
    /// Asked for and not begun yet: one, or none.
    asked: Option<(Ticket, Option<Duration>)>,
}

/// One command as it looks from outside.
#[derive(Clone)]
struct Seen {
    task: TaskId,
    ticket: Ticket,
    begun: Mono,
    ends: Option<Mono>,
    streams: bool,
    started: bool,
    main_ended: bool,
    failed: bool,
    empty: bool,
    drained: bool,
    killed: bool,
    unwanted: bool,
    /// Somebody has its streams.
    owed: bool,
    told: bool,
}

impl Commands {
    /// Somebody is about to ask for one.
    pub(crate) fn asked(&mut self, ticket: Ticket, timeout: Option<Duration>) {
        self.asked = Some((ticket, timeout));
    }

    /// Nobody waits for this one any more. The answer: who did.
    pub(crate) fn unwanted(&mut self, exec: ExecId) -> Option<Ticket> {
        let seen = self.living.get_mut(&exec)?;
        seen.unwanted = true;
        Some(seen.ticket)
    }

    /// Whoever has the ticket does not wait any more.
    pub(crate) fn abandoned(&mut self, ticket: Ticket) {
        for seen in self.living.values_mut().filter(|seen| seen.ticket == ticket && !seen.told) {
            seen.unwanted = true;
        }
    }

    pub(crate) fn input(&mut self, exec: ExecId, input: &ExecInput) {
        let Some(seen) = self.living.get_mut(&exec) else { return };
        match input {
            ExecInput::ExecSucceeded => seen.started = true,
            ExecInput::MainExited(_) => {
                seen.started = true;
                seen.main_ended = true;
            }
            ExecInput::StartFailed(_) => seen.failed = true,
            ExecInput::Empty => seen.empty = true,
            ExecInput::OutputDrained => seen.drained = true,
            ExecInput::Spawned { .. } | ExecInput::Processes(_) => {}
        }
    }

    /// `ends_by_task`: the processes of its task are being killed, or left to themselves.
    pub(crate) fn action(
        &mut self,
        now: Now,
        exec: ExecId,
        action: &ExecAction,
        ends_by_task: impl Fn(TaskId) -> bool,
    ) {
        if let ExecAction::Spawn { task, spec } = action {
            let Some((ticket, timeout)) = self.asked.take() else { panic!("nobody asked") };
            assert!(self.ever.insert(exec), "the id of a command is used again");
            let seen = Seen {
                task: *task,
                ticket,
                begun: now.mono,
                ends: timeout.map(|timeout| now.mono + timeout),
                streams: spec.streams != ExecStreams::Collected,
                started: false,
                main_ended: false,
                failed: false,
                empty: false,
                drained: false,
                killed: false,
                unwanted: false,
                owed: false,
                told: false,
            };
            self.living.insert(exec, seen);
            return;
        }
        let Some(seen) = self.living.get_mut(&exec) else { panic!("{action:?} for no command") };
        match action {
            ExecAction::Spawn { .. } => {}
            ExecAction::Kill => {
                assert!(!seen.empty && !seen.failed, "a kill without a process");
                let late = seen.ends.is_some_and(|ends| now.mono >= ends)
                    || !seen.started && now.mono >= seen.begun + START;
                let asked = seen.main_ended || late || seen.unwanted || ends_by_task(seen.task);
                assert!(asked, "a kill unasked for");
                seen.killed = true;
            }
            ExecAction::Signal(_) => {
                assert!(seen.started && !seen.main_ended, "a signal without a process");
            }
            ExecAction::ListProcesses => assert!(seen.killed && !seen.empty && !seen.failed),
            ExecAction::FinishOutput => assert!(seen.empty && !seen.drained),
            ExecAction::Forget => {
                assert!(seen.failed || seen.drained, "forgotten while it lives");
                let seen = self.living.remove(&exec);
                let silent = seen.is_some_and(|seen| seen.owed && !seen.told);
                assert!(!silent, "the end of a command is told to nobody");
            }
        }
    }

    /// Its asker is told that it runs.
    pub(crate) fn started(&mut self, ticket: Ticket, exec: ExecId) {
        let Some(seen) = self.living.get_mut(&exec) else { panic!("no such command runs") };
        assert!(seen.streams && seen.started && seen.ticket == ticket && !seen.unwanted);
        seen.owed = true;
    }

    /// Its asker is told how it ended.
    pub(crate) fn executed(&mut self, executed: &Executed) {
        let Some(seen) = self.living.get_mut(&executed.exec) else { panic!("no such command") };
        assert!(!seen.streams && seen.drained, "an answer before the end");
        assert!(!executed.timed_out || seen.ends.is_some(), "timed out without a limit");
    }

    /// Whoever has its streams is told how it ended.
    pub(crate) fn ended(&mut self, executed: &Executed) {
        let Some(seen) = self.living.get_mut(&executed.exec) else { panic!("no such command") };
        assert!(seen.owed && seen.drained && !seen.unwanted && !seen.told);
        seen.told = true;
    }

    /// Everything of this step came out. `runs`: the task has a run that is not being ended.
    pub(crate) fn after_step(&mut self, now: Now, expired: bool, runs: impl Fn(TaskId) -> bool) {
        self.asked = None;
        for seen in self.living.values_mut() {
            // Whose end is wanted by nobody is told to nobody.
            seen.told |= seen.unwanted;
            let lives = !seen.killed && !seen.failed && !seen.empty;
            let late = seen.ends.is_some_and(|ends| ends <= now.mono);
            assert!(!(expired && lives && late), "its time is over and it is not killed");
            assert!(!lives || runs(seen.task), "it outlives its task");
        }
    }

    /// Nothing is left.
    pub(crate) fn after_all(&self) {
        assert!(self.living.is_empty(), "commands are left");
    }
}
