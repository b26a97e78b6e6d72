//! List: every task that is remembered, in as many replies as it takes.

use super::batch::{Batch, PARAMETERS_BYTES_MAX};
use super::{Context, Step};
use crate::control::failure::Failure;
use crate::control::session::Session;
use crate::control::wire::Fields;
use crate::vocabulary::limits::{PIECE_BYTES, STREAM_QUEUE_BYTES};
use crate::vocabulary::{StateName, Status, TaskId};
use std::collections::BTreeMap;

/// A list that is being sent.
#[derive(Debug)]
pub(crate) struct ListStream {
    /// Still to be sent, the next one last.
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) states: Option<Vec<StateName>>,
    /// That of the first piece: tasks of later ones may be newer, and are told again by Events.
    pub(crate) sequence: u64,
    pub(crate) more: bool,
}

impl ListStream {
    pub(super) fn begin(
        mut fields: Fields,
        more: bool,
        context: &Context<'_>,
    ) -> Result<ListStream, Failure> {
        let labels = fields.table("labels")?.unwrap_or_default();
        let states = fields.list("states", |path, value| {
            let named = |state: &StateName| value.as_str() == Some(state.as_str());
            let state = StateName::ALL.into_iter().find(named);
            state.ok_or_else(|| crate::control::wire::Refusal::Parameter(path.to_owned()))
        })?;
        fields.finish()?;
        let mut tasks: Vec<TaskId> = context.supervisor.tasks().collect();
        tasks.reverse();
        let sequence = context.supervisor.sequence();
        Ok(ListStream { tasks, labels, states, sequence, more })
    }

    fn wants(&self, status: &Status) -> bool {
        let labels = status.identity.labels();
        self.states.as_ref().is_none_or(|states| states.contains(&status.state))
            && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    pub(super) fn step(&mut self, session: &mut Session, context: &Context<'_>) -> Step {
        if self.more && session.output().len() > STREAM_QUEUE_BYTES {
            return Step::Full;
        }
        let most = if self.more { PIECE_BYTES } else { PARAMETERS_BYTES_MAX };
        let mut batch = Batch::new("tasks", most);
        while let Some(&task) = self.tasks.last() {
            let status = context.supervisor.status(task).filter(|status| self.wants(status));
            if status.is_some_and(|status| !batch.push(&context.shape(&status))) {
                break;
            }
            self.tasks.pop();
        }
        let complete = self.tasks.is_empty();
        if batch.is_too_long() || !(complete || self.more) {
            session.fail(&Failure::reply_too_long());
            return Step::Over;
        }
        session.reply_json(&batch.finish(self.sequence), !complete);
        if complete { Step::Over } else { Step::More }
    }
}
