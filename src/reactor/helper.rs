//! A child of a program that is a supervisor, which is no task's, and whose end somebody wants to
//! know: it would be reaped as an orphan.

use super::Supervisor;
use crate::sys::reap::{self, Keep, Look};
use crate::vocabulary::{ExitStatus, Pid};

/// That child.
#[derive(Copy, Clone, Debug)]
pub(super) struct Helper {
    pid: Pid,
    /// Once it has ended.
    status: Option<ExitStatus>,
}

impl Supervisor {
    /// Has the end of this child remembered, in place of that of an earlier one.
    pub(crate) fn follow_helper(&mut self, pid: Pid) {
        self.helper = Some(Helper { pid, status: None });
    }

    /// How it has ended, if it has.
    pub(crate) fn helper_status(&self) -> Option<ExitStatus> {
        self.helper.and_then(|helper| helper.status)
    }

    /// A child that is no task's has ended: reaps it.
    pub(super) fn reap_helper(&mut self, pid: Pid) {
        let look = reap::look(pid, None, Keep::Nothing);
        if let Some(helper) = self.helper.as_mut().filter(|helper| helper.pid == pid) {
            match look {
                Look::Alive => {}
                Look::Ended(status) => helper.status = Some(status),
                Look::Gone => helper.status = Some(ExitStatus::Unknown),
            }
        }
    }
}
