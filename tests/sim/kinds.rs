//! The names of what comes out of an engine, to count it by.

use ostler::engine::{Action, ExecAction};
use ostler::{EventKind, RequestError};

/// All that must be seen somewhere, or nothing of it was checked.
pub(crate) const ACTIONS: [&str; 11] = [
    "Spawn",
    "AbortSpawn",
    "Signal",
    "KillAll",
    "AwaitEmpty",
    "LeaveRest",
    "Update",
    "ListProcesses",
    "FinishOutput",
    "CloseOutput",
    "Forget",
];

pub(crate) fn action_name(action: &Action) -> &'static str {
    ACTIONS[match action {
        Action::Spawn { .. } => 0,
        Action::AbortSpawn => 1,
        Action::Signal { .. } => 2,
        Action::KillAll => 3,
        Action::AwaitEmpty => 4,
        Action::LeaveRest => 5,
        Action::Update { .. } => 6,
        Action::ListProcesses => 7,
        Action::FinishOutput => 8,
        Action::CloseOutput => 9,
        Action::Forget => 10,
    }]
}

/// See [`ACTIONS`].
pub(crate) const EXEC_ACTIONS: [&str; 6] =
    ["ExecSpawn", "ExecSignal", "ExecKill", "ExecListProcesses", "ExecFinishOutput", "ExecForget"];

pub(crate) fn exec_action_name(action: &ExecAction) -> &'static str {
    EXEC_ACTIONS[match action {
        ExecAction::Spawn { .. } => 0,
        ExecAction::Signal(_) => 1,
        ExecAction::Kill => 2,
        ExecAction::ListProcesses => 3,
        ExecAction::FinishOutput => 4,
        ExecAction::Forget => 5,
    }]
}

/// See [`ACTIONS`].
pub(crate) const EVENTS: [EventKind; 14] = [
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
    EventKind::Stuck,
    EventKind::OutputLost,
    EventKind::OutputStalled,
];

/// See [`ACTIONS`].
pub(crate) const ERRORS: [&str; 10] = [
    "NoSuchTask",
    "TaskExists",
    "InvalidTask",
    "LaunchFailed",
    "NotRunning",
    "StillRunning",
    "TimedOut",
    "NotPermitted",
    "ShuttingDown",
    "another",
];

pub(crate) fn error_name(error: &RequestError) -> &'static str {
    ERRORS[match error {
        RequestError::NoSuchTask { .. } => 0,
        RequestError::TaskExists { .. } => 1,
        RequestError::InvalidTask(_) => 2,
        RequestError::LaunchFailed(_) => 3,
        RequestError::NotRunning { .. } => 4,
        RequestError::StillRunning { .. } => 5,
        RequestError::TimedOut => 6,
        RequestError::NotPermitted { .. } => 7,
        RequestError::ShuttingDown => 8,
        _ => 9,
    }]
}
