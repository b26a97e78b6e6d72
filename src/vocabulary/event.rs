//! What happened to a task.

use super::status::Status;
use super::time::Wall;

/// Something that happened to a task.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Rises with every event of the supervisor.
    pub sequence: u64,
    /// When.
    pub time: Wall,
    /// What.
    pub kind: EventKind,
    /// The task after it.
    pub status: Status,
    /// More of it, for people, where there is more.
    pub detail: Option<Box<str>>,
}

/// What happened.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// The task was taken into the table.
    Launched,
    /// A run began: exec succeeded.
    Started,
    /// A run could not begin.
    StartFailed,
    /// The kill signal was sent.
    Stopping,
    /// What was left was killed.
    Killed,
    /// A run ended.
    Exited,
    /// The next run waits for its time.
    Backoff,
    /// It has exited for good; detail: `gave_up`, `stopped` or `never`.
    Finished,
    /// The OOM killer ended a process of it.
    OomKilled,
    /// Its limits were changed.
    Updated,
    /// It was forgotten.
    Removed,
    /// It was taken over from an earlier supervisor.
    Adopted,
    /// It cannot be killed.
    Stuck,
    /// Output was dropped; detail: how much.
    OutputLost,
    /// A sink fails or has no reader.
    OutputStalled,
}

impl EventKind {
    /// Every one.
    pub const ALL: [EventKind; 15] = [
        EventKind::Launched,
        EventKind::Started,
        EventKind::StartFailed,
        EventKind::Stopping,
        EventKind::Killed,
        EventKind::Exited,
        EventKind::Backoff,
        EventKind::Finished,
        EventKind::OomKilled,
        EventKind::Updated,
        EventKind::Removed,
        EventKind::Adopted,
        EventKind::Stuck,
        EventKind::OutputLost,
        EventKind::OutputStalled,
    ];

    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Launched => "launched",
            EventKind::Started => "started",
            EventKind::StartFailed => "start_failed",
            EventKind::Stopping => "stopping",
            EventKind::Killed => "killed",
            EventKind::Exited => "exited",
            EventKind::Backoff => "backoff",
            EventKind::Finished => "finished",
            EventKind::OomKilled => "oom_killed",
            EventKind::Updated => "updated",
            EventKind::Removed => "removed",
            EventKind::Adopted => "adopted",
            EventKind::Stuck => "stuck",
            EventKind::OutputLost => "output_lost",
            EventKind::OutputStalled => "output_stalled",
        }
    }
}
