//! Stands in for the module of the same name in tests/sim, which knows what a sensible world does.
//! Here only what must hold in any world is checked.

use ostler::engine::{Engine, ExecAction, ExecInput, Input, Output};
use ostler::{ExecId, Now, Request, TaskId, Ticket};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Default)]
pub(crate) struct Checker {
    /// Asked and not answered yet.
    waiting: BTreeSet<Ticket>,
    sequence: u64,
    /// The last one.
    asked: Option<Ticket>,
    /// Who asked for each command.
    execs: BTreeMap<ExecId, Ticket>,
}

impl Checker {
    pub(crate) fn request(&mut self, _: Now, ticket: Ticket, _: &Request, _: &Engine) {
        self.waiting.insert(ticket);
        self.asked = Some(ticket);
    }

    /// False where it is answered already.
    pub(crate) fn abandon(&mut self, ticket: Ticket) -> bool {
        self.waiting.remove(&ticket)
    }

    pub(crate) fn input(&mut self, _: Now, _: TaskId, _: &Input) {}

    pub(crate) fn exec_input(&mut self, _: ExecId, _: &ExecInput) {}

    /// Its asker is not answered any more.
    pub(crate) fn exec_unwanted(&mut self, exec: ExecId) {
        if let Some(ticket) = self.execs.remove(&exec) {
            self.waiting.remove(&ticket);
        }
    }

    pub(crate) fn output(&mut self, _: Now, output: &Output, engine: &Engine) {
        match output {
            Output::Do(..) => {}
            Output::Exec(exec, ExecAction::Spawn { .. }) => {
                if let Some(ticket) = self.asked {
                    self.execs.insert(*exec, ticket);
                }
            }
            Output::Exec(exec, ExecAction::Forget) => drop(self.execs.remove(exec)),
            Output::Exec(..) | Output::ExecEnded(_) => {}
            Output::Reply(ticket, _) => {
                assert!(self.waiting.remove(ticket), "{ticket:?} is answered and nobody waits");
            }
            Output::Event(event) => {
                self.sequence += 1;
                assert_eq!(event.sequence, self.sequence, "events are numbered one by one");
                assert!(event.sequence <= engine.sequence());
            }
        }
    }

    pub(crate) fn after_step(&mut self, now: Now, engine: &Engine, expired: bool) {
        if expired {
            assert!(engine.next_deadline().is_none_or(|at| at > now.mono), "a deadline is missed");
        }
        assert_eq!(engine.sequence(), self.sequence);
        assert_eq!(engine.tasks().count(), engine.len());
        for task in engine.tasks() {
            let status = engine.status(task).expect("a task that is listed");
            assert_eq!(engine.find(&status.identity.name), Some(task), "found by another name");
        }
    }

    /// Every task has exited and was removed.
    pub(crate) fn after_all(&self, engine: &Engine) {
        assert_eq!(engine.len(), 0, "tasks are left");
        assert!(self.waiting.is_empty(), "never answered: {:?}", self.waiting);
        assert_eq!(engine.entries(), 0, "something is left behind");
    }
}
