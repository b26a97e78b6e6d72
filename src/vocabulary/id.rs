//! What names a task: inside this process, and for ever.

use std::fmt;

/// A process id, always positive.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pid(i32);

impl Pid {
    /// The least one.
    pub(crate) const FIRST: Pid = Pid(1);

    /// The process id of this number, if it is positive.
    pub fn new(number: i32) -> Option<Pid> {
        (number > 0).then_some(Pid(number))
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What tells a process from every other one of this boot: its number alone may become another's.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ProcessMark {
    /// The inode of its pidfd, which is never used again (pidfs, Linux 6.9).
    Inode(u64),
    /// When it started, as field 22 of proc_pid_stat(5) says.
    Start {
        /// Clock ticks since the boot.
        ticks: u64,
        /// Inode of the time namespace in which this was read.
        time_namespace: u64,
        /// Inode of the pid namespace in which this was read.
        pid_namespace: u64,
    },
}

/// A task in this supervisor: a place in its table and the generation of that place, so that the
/// id of a task that was removed never means another one.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    /// The bits of a generation that count: with the place they fit the token of a descriptor.
    pub(crate) const GENERATION_MASK: u32 = (1 << 28) - 1;

    /// Made by the table of tasks only.
    pub(crate) fn new(index: u32, generation: u32) -> TaskId {
        TaskId { index, generation: generation & Self::GENERATION_MASK }
    }

    /// The place in the table.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    /// How often the place was used before.
    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// The number of a launch: unique for ever within one instance of the supervisor.
pub type LaunchNumber = u64;

/// Who waits for the answer to a request. Made by the asker, unique while the answer is due.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);
