//! Who may move bytes next, and which pipes may be large.

use crate::reactor::token::Key;
use crate::sys::pipe;
use crate::vocabulary::limits::{GROWN_PIPES_MAX, PIPE_BYTES_DEFAULT, PIPE_BYTES_MAX};
use nix::errno::Errno;
use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

/// Streams that have something to move: the kernel tells only once.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Told by the kernel since: a quiet task's line does not wait behind a flood.
    pub(super) fresh: VecDeque<Key>,
    /// Had more than they may move in one turn.
    pub(super) carried: VecDeque<Key>,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.carried.is_empty()
    }
}

/// How many pipes may still be grown.
#[derive(Debug)]
pub(super) struct PipeBudget {
    grown: Rc<Cell<usize>>,
    max: usize,
}

/// One grown pipe; dropping it gives its place back.
#[derive(Debug)]
pub(super) struct Grown(Rc<Cell<usize>>);

impl Drop for Grown {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

const PAGE_BYTES: usize = 4096;

impl PipeBudget {
    pub(super) fn new() -> PipeBudget {
        // Half of what the user may have is left to pipes of the usual size.
        let allowed = pipe::user_pages_soft()
            .map_or(GROWN_PIPES_MAX, |pages| pages / 2 / (PIPE_BYTES_MAX / PAGE_BYTES));
        PipeBudget { grown: Rc::default(), max: allowed.min(GROWN_PIPES_MAX) }
    }

    /// Grows a pipe that was seen full, if it may.
    pub(super) fn grow(&mut self, pipe: BorrowedFd<'_>) -> Option<Grown> {
        if self.grown.get() >= self.max {
            return None;
        }
        match pipe::set_capacity(pipe, PIPE_BYTES_MAX) {
            Ok(()) => {}
            Err(Errno::EPERM) => {
                // Past a limit of the user that others share: no more than there are.
                self.max = self.grown.get();
                return None;
            }
            Err(_) => return None,
        }
        self.grown.set(self.grown.get() + 1);
        Some(Grown(Rc::clone(&self.grown)))
    }

    /// Counts a pipe that the program before this one has grown.
    #[cfg(feature = "cli")]
    pub(super) fn regain(&mut self, pipe: BorrowedFd<'_>) -> Option<Grown> {
        if pipe::capacity(pipe).is_ok_and(|bytes| bytes < PIPE_BYTES_MAX) {
            return None;
        }
        self.grown.set(self.grown.get() + 1);
        Some(Grown(Rc::clone(&self.grown)))
    }

    /// Makes a pipe small again; false where it holds too much for that now.
    pub(super) fn shrink(pipe: BorrowedFd<'_>, grown: &mut Option<Grown>) -> bool {
        if grown.is_some() && pipe::set_capacity(pipe, PIPE_BYTES_DEFAULT) == Err(Errno::EBUSY) {
            return false;
        }
        *grown = None;
        true
    }
}
