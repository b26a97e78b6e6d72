//! What is known of a task.

use super::error::StartError;
use super::id::Pid;
use super::identity::Identity;
use super::time::Wall;
use std::sync::Arc;

/// How a process ended.
///
/// ```
/// use ostler::ExitStatus;
/// assert_eq!(ExitStatus::Signaled(9).exit_code(), 137);
/// assert_eq!(ExitStatus::Unknown.exit_code(), -1);
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// It called exit with this code.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
    /// Nobody can tell.
    Unknown,
}

impl ExitStatus {
    /// The code, 128 + the signal, or -1 where it is not known.
    pub fn exit_code(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => i32::from(code),
            ExitStatus::Signaled(signal) => 128 + i32::from(signal),
            ExitStatus::Unknown => -1,
        }
    }

    /// The signal that ended it, else 0.
    pub fn signal(self) -> i32 {
        match self {
            ExitStatus::Signaled(signal) => i32::from(signal),
            ExitStatus::Exited(_) | ExitStatus::Unknown => 0,
        }
    }

    /// Whether it is exit code 0.
    pub fn is_success(self) -> bool {
        self == ExitStatus::Exited(0)
    }
}

/// The end of a run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// The main process.
    pub pid: Pid,
    /// How it ended.
    pub status: ExitStatus,
    /// Whether the OOM killer ended any process of this run; absent where no counter exists.
    pub oom_killed: Option<bool>,
    /// When the main process ended.
    pub time: Wall,
}

/// Where a task stands.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StateName {
    /// Not started yet: waits for what it comes after, or for its exec.
    Pending,
    /// The main process runs (or what it left, where that is waited for).
    Running,
    /// The kill signal was sent and the grace runs, or what is left is being killed.
    Stopping,
    /// Between two runs.
    Backoff,
    /// For good; no process of it is left.
    Exited,
}

impl StateName {
    /// All of them.
    pub const ALL: [StateName; 5] = [
        StateName::Pending,
        StateName::Running,
        StateName::Stopping,
        StateName::Backoff,
        StateName::Exited,
    ];

    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Pending => "pending",
            StateName::Running => "running",
            StateName::Stopping => "stopping",
            StateName::Backoff => "backoff",
            StateName::Exited => "exited",
        }
    }
}

/// What holds a task's processes together.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Containment {
    /// A group of the v2 hierarchy.
    CgroupV2,
    /// A group of a v1 hierarchy.
    CgroupV1,
    /// Process group, session and descendants.
    Session,
}

impl Containment {
    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Containment::CgroupV2 => "cgroup_v2",
            Containment::CgroupV1 => "cgroup_v1",
            Containment::Session => "session",
        }
    }
}

/// What is known of a task at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Name, launch and spec.
    pub identity: Arc<Identity>,
    /// Where it stands.
    pub state: StateName,
    /// The main process, while there is one.
    pub pid: Option<Pid>,
    /// Start of the current or last run.
    pub started: Option<Wall>,
    /// In backoff: when the next run starts.
    pub next_start: Option<Wall>,
    /// Automatic restarts so far.
    pub restarts: u32,
    /// Number of the current or last run, unique within an instance: part of its cgroup's name.
    pub run: u64,
    /// Of the last run that ended.
    pub exit: Option<Exit>,
    /// Why the last start failed.
    pub error: Option<Arc<StartError>>,
    /// The restart policy has ended it.
    pub gave_up: bool,
    /// What holds its processes together, while it has any.
    pub containment: Option<Containment>,
    /// Output is still on its way to a slow reader.
    pub output_pending: bool,
    /// Taken over from an earlier supervisor.
    pub adopted: bool,
}
