//! The table of the commands that run in tasks: a slab whose keys carry a generation.

use crate::vocabulary::{ExecId, ExitStatus, Identity, Mono, Ordered, Pid, TaskId, Ticket};
use slab::Slab;
use std::sync::Arc;

/// Where a command stands. `docs/states.md` tells each arrow.
///
/// ```text
///  Exec ──► Starting ── ExecSucceeded ──► Running
///              │                            │ MainExited, its time is over, its task ends,
///   StartFailed│                            ▼ its asker has left
///              ▼                         Killing
///            gone                           │ Empty
///              ▲                            ▼
///              └────── OutputDrained ──── Draining
/// ```
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum State {
    /// It is being made; its exec is still to succeed.
    Starting {
        /// Once the child exists.
        main: Option<Pid>,
        /// It is being taken back.
        abort: Option<Abort>,
    },
    /// Its main process runs.
    Running { main: Pid },
    /// All that is left was killed and is not gone yet.
    Killing { main: Main },
    /// No process is left, output is on its way.
    Draining { pid: Pid, status: ExitStatus },
}

/// The main process of a command.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Main {
    Lives(Pid),
    Ended(Pid, ExitStatus),
}

/// Why a start is being taken back.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Abort {
    /// It took too long.
    Timeout,
    /// The task ends.
    TaskEnds,
    /// Nobody wants it any more.
    Unwanted,
}

/// One command.
#[derive(Clone, Debug)]
pub(super) struct Exec {
    pub(super) task: TaskId,
    /// The task may be forgotten before the command is.
    pub(super) identity: Arc<Identity>,
    pub(super) state: State,
    /// Until when the state may last.
    pub(super) deadline: Option<Mono>,
    /// When its own time is over.
    pub(super) ends: Option<Mono>,
    pub(super) timed_out: bool,
    /// Its streams are handed to whoever asked.
    pub(super) streams: bool,
    /// Who is still to be answered.
    pub(super) ticket: Option<Ticket>,
    /// Its end is told to nobody.
    pub(super) unwanted: bool,
    /// The processes that outlived their kill have been asked for.
    pub(super) listing: bool,
}

/// Every command that runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Execs {
    slots: Slab<Exec>,
    /// Of each slot, how often it was given back.
    generations: Vec<u32>,
    by_task: Ordered<(TaskId, ExecId)>,
    by_ticket: Ordered<Ticket, ExecId>,
}

impl Execs {
    pub(super) fn insert(&mut self, exec: Exec) -> ExecId {
        let (task, ticket) = (exec.task, exec.ticket);
        let index = self.slots.insert(exec);
        if self.generations.len() <= index {
            self.generations.resize(index + 1, 0);
        }
        let id = self.id(index);
        self.by_task.add((task, id));
        if let Some(ticket) = ticket {
            self.by_ticket.insert(ticket, id);
        }
        id
    }

    pub(super) fn remove(&mut self, id: ExecId) -> Option<Exec> {
        self.get(id)?;
        let exec = self.slots.try_remove(id.index())?;
        if let Some(generation) = self.generations.get_mut(id.index()) {
            *generation = generation.wrapping_add(1) & ExecId::GENERATION_MASK;
        }
        self.by_task.remove(&(exec.task, id));
        if let Some(ticket) = exec.ticket {
            self.by_ticket.remove(&ticket);
        }
        Some(exec)
    }

    pub(super) fn get(&self, id: ExecId) -> Option<&Exec> {
        self.is_current(id).then(|| self.slots.get(id.index())).flatten()
    }

    pub(super) fn get_mut(&mut self, id: ExecId) -> Option<&mut Exec> {
        if self.is_current(id) { self.slots.get_mut(id.index()) } else { None }
    }

    /// The command whose asker has this ticket.
    pub(super) fn of_ticket(&self, ticket: Ticket) -> Option<ExecId> {
        self.by_ticket.get(&ticket).copied()
    }

    /// Whoever is to be answered is, or does not wait any more.
    pub(super) fn take_ticket(&mut self, id: ExecId) -> Option<Ticket> {
        let ticket = self.get_mut(id)?.ticket.take()?;
        self.by_ticket.remove(&ticket);
        Some(ticket)
    }

    /// Those of a task.
    pub(super) fn of_task(&self, task: TaskId) -> Vec<ExecId> {
        let from = self.by_task.from(&(task, ExecId::new(0, 0))).map(|&(entry, ())| entry);
        from.take_while(|&(its, _)| its == task).map(|(_, id)| id).collect()
    }

    /// All of them.
    pub(super) fn ids(&self) -> Vec<ExecId> {
        self.by_task.keys().map(|&(_, id)| id).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Entries of every table.
    pub(super) fn entries(&self) -> usize {
        self.slots.len() + self.by_task.len() + self.by_ticket.len()
    }

    fn is_current(&self, id: ExecId) -> bool {
        self.generations.get(id.index()) == Some(&id.generation())
    }

    fn id(&self, index: usize) -> ExecId {
        // Bounded by `limits::EXECS_MAX`, far below 2^32.
        ExecId::new(index as u32, self.generations.get(index).copied().unwrap_or(0))
    }
}
