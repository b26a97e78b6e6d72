//! The OOM killer of cgroup v1, which ends one process of a task: the others are ended by us where
//! the task wants that. v2 does it by itself.

use super::start::key_of;
use super::token::Owner;
use super::{Due, Supervisor, register};
use crate::sys::failure::start_error;
use crate::vocabulary::{Resources, Stage, StartError, TaskId};
use mio::Interest;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The event comes before the kill that it tells of: how soon that is looked for, doubled with each
/// look.
const LOOK: Duration = Duration::from_millis(1);
/// No kill comes later than some 250 ms after its event.
const LOOKS_MAX: u8 = 8;

/// The watch of a run.
#[derive(Debug)]
pub(super) struct OomWatch {
    /// Readable when the OOM killer was called. Kept for as long as that is to be told.
    _event: OwnedFd,
    /// Looks for a kill since then.
    looks: u8,
}

impl Supervisor {
    /// Watches for the OOM killer where a run wants all of itself killed, and only we can do that.
    pub(super) fn watch_oom(
        &self,
        task: TaskId,
        limits: Option<&Resources>,
        leaf: &str,
    ) -> Result<Option<OomWatch>, StartError> {
        if limits.and_then(|limits| limits.memory_oom_group) != Some(true) {
            return Ok(None);
        }
        let Some(event) = self.groups.limits.watch_oom(leaf) else { return Ok(None) };
        let event =
            event.map_err(|failed| start_error(Stage::Limits, failed.errno, failed.tried))?;
        let owner = Owner::Oom(key_of(task));
        register(&self.poll, event.as_fd(), owner, Interest::READABLE).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            start_error(Stage::Limits, errno, "watch for the OOM killer")
        })?;
        Ok(Some(OomWatch { _event: event, looks: 0 }))
    }

    /// The OOM killer was called for a run: looks whether it has killed, and kills the rest.
    pub(super) fn oom_told(&mut self, task: TaskId) {
        let Some((run, identity)) = self.runs.get(task).zip(self.engine.identity(task)) else {
            return;
        };
        if run.oom.is_none() {
            return;
        }
        let leaf = self.groups.leaf(identity, run.number);
        if self.groups.oom_killed(&leaf) == Some(true) {
            return self.kill_all(task);
        }
        let Some(watch) = self.runs.get_mut(task).and_then(|run| run.oom.as_mut()) else { return };
        let wait = LOOK.saturating_mul(1 << watch.looks);
        watch.looks = if watch.looks < LOOKS_MAX { watch.looks + 1 } else { 0 };
        if watch.looks > 0 {
            self.deadlines.add(self.now.mono + wait, Due::Oom(task));
        }
    }
}
