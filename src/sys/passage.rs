//! The way into a pid namespace.
//!
//! Nobody can enter one: only what a process makes after setns(2) is born in it. So there is a
//! child in between, which enters, makes the process of the task as a brother of its own
//! (CLONE_PARENT), and ends. It shares our memory and our descriptors while we wait for it, like
//! every child of the shared way, and does nothing that could take time: what the new process does
//! is not waited for. The rules of `child` hold here too.

use super::child::{self, Launch};
use super::child_namespaces;
use super::namespaces::Namespaces;
use super::raw::{self, CloneArgs};
use nix::libc;
use std::sync::atomic::{AtomicI32, Ordering};

/// What the child in between is given, and what comes of it.
pub(super) struct Passage<'a> {
    /// The pidfd of a process in there.
    process: i32,
    namespaces: Namespaces,
    launch: &'a Launch<'a>,
    /// The kernel itself fills in these two, at the birth, so that whenever the child in between
    /// is killed no process is unknown to us.
    pid: AtomicI32,
    pidfd: AtomicI32,
    entering: AtomicI32,
    cloning: AtomicI32,
}

/// What came of a passage.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Passed {
    /// The new process and its pidfd.
    Made { pid: i32, pidfd: i32 },
    /// The namespaces could not be entered, with this errno.
    NotEntered(i32),
    /// The process could not be made, with this errno.
    NotMade(i32),
    /// The child in between was killed before.
    Killed,
}

impl<'a> Passage<'a> {
    pub(super) fn new(process: i32, namespaces: Namespaces, launch: &'a Launch<'a>) -> Passage<'a> {
        let zero = || AtomicI32::new(0);
        Passage {
            process,
            namespaces,
            launch,
            pid: zero(),
            pidfd: AtomicI32::new(-1),
            entering: zero(),
            cloning: zero(),
        }
    }

    /// To be asked when the child in between has ended.
    pub(super) fn outcome(&self) -> Passed {
        let numbers = [&self.pid, &self.pidfd, &self.entering, &self.cloning];
        match numbers.map(|number| number.load(Ordering::Acquire)) {
            [0, _, 0, 0] => Passed::Killed,
            [0, _, 0, errno] => Passed::NotMade(errno),
            [0, _, errno, _] => Passed::NotEntered(errno),
            [pid, pidfd, ..] => Passed::Made { pid, pidfd },
        }
    }
}

/// What the child in between runs.
///
/// # Safety
/// `passage` must point to a [`Passage`], all of which stays as it is until this child has ended;
/// its launch must be fit to be run on a copy of all memory.
pub(super) unsafe extern "C" fn pass(passage: *const ()) -> ! {
    // SAFETY: the caller's.
    let passage = unsafe { &*passage.cast::<Passage<'_>>() };
    if let Err(errno) = child_namespaces::enter(passage.process, passage.namespaces) {
        passage.entering.store(errno, Ordering::Release);
        child::exit();
    }
    let arguments = CloneArgs {
        // The exit signal of a brother is that of this child.
        flags: (libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::CLONE_PARENT_SETTID) as u64,
        pidfd: passage.pidfd.as_ptr() as u64,
        parent_tid: passage.pid.as_ptr() as u64,
        ..CloneArgs::default()
    };
    let launch = std::ptr::from_ref(passage.launch).cast();
    // SAFETY: the new process has a copy of all memory, this stack included, and runs on that.
    if let Err(errno) = unsafe { raw::clone3(&arguments, child::run, launch) } {
        passage.cloning.store(errno, Ordering::Release);
    }
    child::exit();
}
