//! The status of a task in JSON.

use super::task::TaskShape;
use crate::vocabulary::{Exit, StartError, Status, TaskSpec};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// `Status` as the protocol has it.
#[derive(Serialize)]
pub(crate) struct StatusShape<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) id: String,
    pub(crate) state: &'static str,
    /// Not in events, which are to stay small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<i32>,
    pub(crate) created_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_start_us: Option<u64>,
    pub(crate) restarts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<ExitShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<StartErrorShape<'a>>,
    pub(crate) gave_up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) containment: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<String>,
    pub(crate) output_pending: bool,
    pub(crate) adopted: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: Cow<'a, BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) not_stored: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskShape<'a>>,
}

/// `Exit` as the protocol has it.
#[derive(Serialize, Copy, Clone, PartialEq, Debug)]
pub(crate) struct ExitShape {
    pub(crate) pid: i32,
    pub(crate) exit_code: i32,
    pub(crate) signal: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oom_killed: Option<bool>,
    pub(crate) status_known: bool,
    pub(crate) time_us: u64,
}

/// `StartError` as the protocol has it.
#[derive(Serialize)]
pub(crate) struct StartErrorShape<'a> {
    pub(crate) stage: Cow<'a, str>,
    pub(crate) errno: i32,
    pub(crate) errno_name: Cow<'a, str>,
    pub(crate) message: Cow<'a, str>,
    pub(crate) retry: bool,
    pub(crate) time_us: u64,
}

impl<'a> StatusShape<'a> {
    /// A status, with the printed form of the launch's id and the path of the run's group.
    pub(crate) fn of(status: &'a Status, id: String, cgroup: Option<String>) -> StatusShape<'a> {
        let identity = &status.identity;
        StatusShape {
            name: Cow::Borrowed(&identity.name),
            id,
            state: status.state.as_str(),
            command: Some(identity.command()),
            pid: status.pid.map(|pid| pid.number()),
            created_us: identity.created.as_micros(),
            started_us: status.started.map(|at| at.as_micros()),
            next_start_us: status.next_start.map(|at| at.as_micros()),
            restarts: status.restarts,
            exit: status.exit.as_ref().map(ExitShape::of),
            error: status.error.as_deref().map(StartErrorShape::of),
            gave_up: status.gave_up,
            containment: status.containment.map(|containment| containment.as_str()),
            cgroup,
            output_pending: status.output_pending,
            adopted: status.adopted,
            labels: Cow::Borrowed(identity.labels()),
            not_stored: Vec::new(),
            task: None,
        }
    }

    /// Adds the task itself, under the name it got.
    pub(crate) fn with_task(mut self, status: &'a Status, spec: &'a TaskSpec) -> StatusShape<'a> {
        self.task = Some(TaskShape::named(spec, Some(&status.identity.name)));
        self
    }
}

impl ExitShape {
    pub(crate) fn of(exit: &Exit) -> ExitShape {
        ExitShape {
            pid: exit.pid.number(),
            exit_code: exit.status.exit_code(),
            signal: exit.status.signal(),
            oom_killed: exit.oom_killed,
            status_known: exit.status != crate::vocabulary::ExitStatus::Unknown,
            time_us: exit.time.as_micros(),
        }
    }
}

impl<'a> StartErrorShape<'a> {
    pub(crate) fn of(error: &'a StartError) -> StartErrorShape<'a> {
        StartErrorShape {
            stage: Cow::Borrowed(error.stage.as_str()),
            errno: error.errno,
            errno_name: Cow::Borrowed(&error.errno_name),
            message: Cow::Borrowed(&error.message),
            retry: error.retry,
            time_us: error.time.as_micros(),
        }
    }
}
