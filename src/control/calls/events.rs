//! Events: from the history to a client, as fast as it reads.

use super::batch::Batch;
use super::{Context, Step};
use crate::control::failure::Failure;
use crate::control::session::Session;
use crate::control::wire::Fields;
use crate::vocabulary::limits::{PIECE_BYTES, STREAM_QUEUE_BYTES};

/// Events looked at in one step, wanted or not.
const LOOKED_AT: usize = 4096;

/// Where a client is in the history. A slow one falls behind there, not in memory.
#[derive(Debug)]
pub(crate) struct EventStream {
    names: Option<Vec<String>>,
    /// Sequence of the last event that was sent or passed over.
    cursor: u64,
    /// The first reply was sent.
    begun: bool,
}

impl EventStream {
    /// Where it stands: names, cursor, and whether the first reply was sent.
    #[cfg(feature = "cli")]
    pub(crate) fn standing(&self) -> (Option<&[String]>, u64, bool) {
        (self.names.as_deref(), self.cursor, self.begun)
    }

    /// Goes on where one in another program stood.
    #[cfg(feature = "cli")]
    pub(crate) fn go_on(names: Option<Vec<String>>, cursor: u64, begun: bool) -> EventStream {
        EventStream { names, cursor, begun }
    }

    pub(super) fn begin(
        mut fields: Fields,
        more: bool,
        context: &Context<'_>,
    ) -> Result<EventStream, Failure> {
        let names = fields.strings("names")?;
        let after = fields.number("after")?;
        fields.finish()?;
        if !more {
            return Err(Failure::expected_more());
        }
        let cursor = after.unwrap_or_else(|| context.supervisor.sequence());
        Ok(EventStream { names, cursor, begun: false })
    }

    pub(super) fn step(&mut self, session: &mut Session, context: &Context<'_>) -> Step {
        if session.output().len() > STREAM_QUEUE_BYTES {
            return Step::Full;
        }
        let history = context.history;
        if let Err(lost) = history.check(self.cursor, context.supervisor.sequence()) {
            session.fail(&Failure::events_lost(lost, history.instance()));
            return Step::Over;
        }
        let mut batch = Batch::new("events", PIECE_BYTES);
        self.cursor =
            history.read(self.cursor, self.names.as_deref(), LOOKED_AT, |event| batch.push(event));
        if batch.is_too_long() {
            session.fail(&Failure::reply_too_long());
            return Step::Over;
        }
        if !batch.is_empty() || !self.begun {
            self.begun = true;
            session.reply_json(&batch.finish(self.cursor), true);
        }
        if self.cursor < history.last() { Step::More } else { Step::Idle }
    }
}
