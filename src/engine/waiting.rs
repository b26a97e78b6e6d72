//! Who waits for what: every ticket that is still to be answered about a task.

use crate::vocabulary::{Mono, Ordered, TaskId, Ticket};

/// What an asker waits for.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ask {
    /// The first run.
    Launch,
    /// The exit for good.
    Wait,
    /// The exit for good, asked for.
    Stop,
    /// The next run.
    Restart,
    /// The signal to be sent.
    Signal,
    /// The limits to be changed.
    Update,
    /// The task to be forgotten.
    Remove,
}

/// All that an asker waits for, in the order in which they are answered.
pub(super) const ASKS: [Ask; 7] =
    [Ask::Launch, Ask::Wait, Ask::Stop, Ask::Restart, Ask::Signal, Ask::Update, Ask::Remove];

/// One who waits.
#[derive(Copy, Clone, Debug)]
pub(super) struct Asker {
    pub(super) task: TaskId,
    pub(super) ask: Ask,
    /// When it is told that the time is over.
    pub(super) deadline: Option<Mono>,
}

/// Everybody who waits for something of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Askers {
    by_ticket: Ordered<Ticket, Asker>,
    by_task: Ordered<(TaskId, Ask, Ticket)>,
}

impl Askers {
    pub(super) fn add(&mut self, ticket: Ticket, asker: Asker) {
        self.by_task.add((asker.task, asker.ask, ticket));
        self.by_ticket.insert(ticket, asker);
    }

    /// Whoever has this ticket waits no longer.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Asker> {
        let asker = self.by_ticket.remove(&ticket)?;
        self.by_task.remove(&(asker.task, asker.ask, ticket));
        Some(asker)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &Asker)> {
        self.by_ticket.iter().map(|&(ticket, ref asker)| (ticket, asker))
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Asker> {
        self.by_ticket.get(&ticket)
    }

    /// The first one that waits for this of the task.
    pub(super) fn first(&self, task: TaskId, ask: Ask) -> Option<Ticket> {
        let &((waited_for, what, ticket), ()) =
            self.by_task.from(&(task, ask, Ticket(0))).next()?;
        (waited_for == task && what == ask).then_some(ticket)
    }

    /// Whether anybody waits for anything of the task.
    pub(super) fn has_any(&self, task: TaskId) -> bool {
        let next = self.by_task.from(&(task, Ask::Launch, Ticket(0))).next();
        next.is_some_and(|&((waited_for, ..), ())| waited_for == task)
    }

    pub(super) fn len(&self) -> usize {
        self.by_ticket.len()
    }
}
