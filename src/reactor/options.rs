//! How a supervisor is set up, and what it says of itself.

use super::descriptor_store::Manager;
use std::io;
use std::path::PathBuf;

/// How a supervisor is set up. The default is that of a guest in another's process: it touches no
/// signal, no limit and no cgroup of its host.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Directory for FIFOs of relayed streams, so that they outlive the supervisor.
    pub state_dir: Option<PathBuf>,
    /// Whether each task gets a cgroup.
    pub cgroup: CgroupMode,
    /// How exits become known.
    pub exit_notification: ExitNotification,
    /// The way children are made; for tests.
    pub launch_way: LaunchWay,
    /// The process belongs to the supervisor alone: it becomes a subreaper, takes SIGCHLD through
    /// a signalfd, raises its limit of descriptors, moves into a cgroup leaf of its own, and reaps
    /// every child. Never in a host that has children of its own.
    pub own_process: bool,
    /// What a service manager keeps for this supervisor. With a state directory.
    pub manager: Manager,
    /// `inherit` as a sink is refused: standard output carries the protocol.
    pub refuse_inherit: bool,
}

impl Options {
    /// Refuses what does not go together.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.exit_notification == ExitNotification::Sigchld && !self.own_process {
            let text = "exit notification by SIGCHLD needs a process of its own";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

/// Whether each task gets a cgroup.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum CgroupMode {
    /// Where the system lets us.
    #[default]
    Auto,
    /// Process group, session and descendants only.
    Never,
    /// A launch fails without one.
    Require,
}

/// How exits become known.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ExitNotification {
    /// A pidfd for each task, SIGCHLD when descriptors are scarce.
    #[default]
    Auto,
    /// A pidfd for each task.
    Pidfd,
    /// SIGCHLD through a signalfd; needs `own_process`.
    Sigchld,
}

/// How children are made.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum LaunchWay {
    /// The fast one where it is safe.
    #[default]
    Auto,
    /// The child always gets a copy of the memory and of the descriptors.
    Copied,
}

/// What this supervisor and this system can do.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Facts {
    /// Of ostler.
    pub version: &'static str,
    /// Counts the additions to the protocol.
    pub api: u32,
    /// Changes when event numbers or launch ids had to begin again.
    pub instance: String,
    /// Of the running system.
    pub boot_id: String,
    /// Release of the kernel.
    pub kernel: String,
    /// `none`, `v1`, `hybrid` or `v2`.
    pub cgroup: &'static str,
    /// What a task may ask for here.
    pub features: Vec<&'static str>,
}

/// What the supervisor costs.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Figures {
    /// Its process.
    pub pid: u32,
    /// Of its process.
    pub threads: u64,
    /// Remembered tasks.
    pub tasks: u64,
    /// Open descriptors of its process.
    pub fds: u64,
    /// Resident memory of its process.
    pub rss_bytes: u64,
    /// User and system time of its process.
    pub cpu_us: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns before which it slept.
    pub wakeups: u64,
    /// Longest turn of the loop without its sleep, microseconds; in a process of our own with what
    /// the host does between two turns.
    pub loop_max_us: u64,
    /// Bytes of output that were relayed.
    pub relayed_bytes: u64,
}
