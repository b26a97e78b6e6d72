//! The engine: every decision about tasks, as a pure and deterministic state machine.
//!
//! No clock, no system call, no log. It is driven in one way: one [`Engine::request`],
//! [`Engine::handle`] or [`Engine::expire`], then [`Engine::next_output`] until it says `None`.
//! [`Engine::next_deadline`] says until when nothing has to be done.
//!
//! It is public so that simulations outside the crate can reach it, and carries no promise of a
//! stable interface.

mod io;

pub use io::{Action, Input, Output};

use crate::vocabulary::{Identity, Mono, Now, Request, Status, TaskId, Ticket};
use std::sync::Arc;

/// How an engine starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Part of every launch's id: ids and event numbers rise for ever within one instance.
    pub instance: String,
    /// Seed of the chance in restart delays.
    pub seed: u64,
    /// Number of the first launch.
    pub first_launch: u64,
    /// Number of the first run.
    pub first_run: u64,
    /// Number of the first event.
    pub first_event: u64,
}

/// The state of every task.
#[derive(Debug)]
pub struct Engine {
    config: Config,
}

#[allow(clippy::todo, clippy::needless_pass_by_value, missing_docs, unused_variables)]
impl Engine {
    pub fn new(config: Config) -> Engine {
        Engine { config }
    }

    /// A request of somebody's; exactly one `Output::Reply` with this ticket follows, now or later,
    /// unless it is abandoned.
    pub fn request(&mut self, now: Now, ticket: Ticket, request: Request) {
        todo!()
    }

    /// Something happened outside.
    pub fn handle(&mut self, now: Now, task: TaskId, input: Input) {
        todo!()
    }

    /// Handles every deadline that is due.
    pub fn expire(&mut self, now: Now) {
        todo!()
    }

    /// Whoever asked does not wait any more: no reply follows. What was asked for goes on.
    pub fn abandon(&mut self, ticket: Ticket) {
        todo!()
    }

    pub fn next_output(&mut self) -> Option<Output> {
        todo!()
    }

    pub fn next_deadline(&self) -> Option<Mono> {
        todo!()
    }

    pub fn find(&self, name: &str) -> Option<TaskId> {
        todo!()
    }

    pub fn status(&self, task: TaskId) -> Option<Status> {
        todo!()
    }

    pub fn identity(&self, task: TaskId) -> Option<&Arc<Identity>> {
        todo!()
    }

    /// Every task that is remembered, oldest launch first is not promised.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        std::iter::empty()
    }

    /// How many tasks are remembered.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Number of the last event; 0 or `first_event - 1` before the first.
    pub fn sequence(&self) -> u64 {
        todo!()
    }

    /// The printed form of a launch's id: `INSTANCE-NUMBER`.
    pub fn launch_id(&self, identity: &Identity) -> String {
        format!("{}-{}", self.config.instance, identity.number)
    }
}
