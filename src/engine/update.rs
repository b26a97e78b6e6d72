//! The request to change the limits of a task.

use super::task::Changed;
use super::waiting::Ask;
use super::{Action, Engine, Outcome, Updated};
use crate::vocabulary::{Answer, EventKind, Now, RequestError, Resources, TaskId, Ticket};
use std::sync::Arc;

impl Engine {
    /// Whether the limits can be had, only the system can tell: also for a run to come.
    pub(super) fn update(
        &mut self,
        ticket: Ticket,
        name: String,
        change: Box<Resources>,
    ) -> Outcome {
        let id = self.named(&name)?;
        change.validate().map_err(RequestError::InvalidTask)?;
        self.ask(ticket, id, Ask::Update, None);
        self.act(id, Action::Update { change, ticket });
        Ok(None)
    }

    /// The limits are in force, or could not be changed.
    pub(super) fn updated(&mut self, now: Now, id: TaskId, updated: Updated) {
        let Updated { ticket, change, result } = updated;
        let reply = match result {
            Ok(()) => {
                let resources = self.store_limits(id, &change);
                self.event(now, id, EventKind::Updated, None);
                resources.map(Answer::Resources)
            }
            Err(error) => Err(error),
        };
        if self.askers.get(ticket).is_some_and(|asker| asker.ask == Ask::Update) {
            self.dismiss(ticket);
            self.reply(ticket, reply);
        }
    }

    /// The limits hold for later runs too.
    fn store_limits(
        &mut self,
        id: TaskId,
        change: &Resources,
    ) -> Result<Box<Resources>, RequestError> {
        let Some(task) = self.table.get_mut(id) else {
            return Err(RequestError::NoSuchTask { name: id.to_string() });
        };
        let before = &task.identity;
        let resources = match before.resources() {
            Some(resources) => resources.changed_by(change),
            None => change.clone(),
        };
        let resources = Box::new(resources);
        task.identity = Arc::new(before.with_resources(resources.clone()));
        self.table.note(id, Changed::Spec);
        Ok(resources)
    }
}
