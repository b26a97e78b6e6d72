//! Why something was refused or failed.

use super::id::Pid;
use super::signal::UnknownSignal;
use super::status::{StateName, Status};
use super::time::Wall;
use std::fmt;
use std::sync::Arc;

/// The step of a start that failed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum Stage {
    /// Finding the user and its groups, or changing to them.
    User,
    /// Finding the command.
    Lookup,
    /// Changing to the working directory.
    Directory,
    /// Opening a sink.
    Output,
    /// Making or entering a cgroup.
    Cgroup,
    /// Setting a limit, priority or score.
    Limits,
    /// Making a namespace.
    Namespace,
    /// Mounting.
    Mount,
    /// Joining a network.
    Network,
    /// Setting capabilities.
    Capabilities,
    /// Loading a seccomp filter.
    Seccomp,
    /// Loading landlock rules.
    Landlock,
    /// Making the process.
    Clone,
    /// Executing the command.
    Exec,
    /// It took longer than it may.
    Timeout,
    /// Taking it down for a later supervisor.
    Journal,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 16] = [
        Stage::User,
        Stage::Lookup,
        Stage::Directory,
        Stage::Output,
        Stage::Cgroup,
        Stage::Limits,
        Stage::Namespace,
        Stage::Mount,
        Stage::Network,
        Stage::Capabilities,
        Stage::Seccomp,
        Stage::Landlock,
        Stage::Clone,
        Stage::Exec,
        Stage::Timeout,
        Stage::Journal,
    ];

    /// Its name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::User => "user",
            Stage::Lookup => "lookup",
            Stage::Directory => "directory",
            Stage::Output => "output",
            Stage::Cgroup => "cgroup",
            Stage::Limits => "limits",
            Stage::Namespace => "namespace",
            Stage::Mount => "mount",
            Stage::Network => "network",
            Stage::Capabilities => "capabilities",
            Stage::Seccomp => "seccomp",
            Stage::Landlock => "landlock",
            Stage::Clone => "clone",
            Stage::Exec => "exec",
            Stage::Timeout => "timeout",
            Stage::Journal => "journal",
        }
    }
}

/// Why a start failed. Nothing of it is left then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StartError {
    /// The step.
    pub stage: Stage,
    /// The number of the error, 0 where the kernel had no part in it.
    pub errno: i32,
    /// `ENOENT`; empty where errno is 0.
    pub errno_name: String,
    /// What was tried, on what, and why it failed: `find command "x": not in ...`.
    pub message: String,
    /// The same start may succeed later.
    pub retry: bool,
    /// When.
    pub time: Wall,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

/// A field of a task that cannot be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidField {
    /// The path in the task: `stdout.path`, `env[3]`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl std::error::Error for InvalidField {}

/// Why a request was not granted.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// No task has this name (or this launch of it is gone).
    NoSuchTask {
        /// As asked.
        name: String,
    },
    /// A task has this name already.
    TaskExists {
        /// That task.
        status: Box<Status>,
    },
    /// The task cannot be.
    InvalidTask(InvalidField),
    /// The task could not be started.
    LaunchFailed(Arc<StartError>),
    /// The task has no process.
    NotRunning {
        /// The task.
        name: String,
        /// Where it stands.
        state: StateName,
    },
    /// Some processes outlived their kill.
    StillRunning {
        /// The task.
        name: String,
        /// Those processes.
        pids: Vec<Pid>,
    },
    /// No such signal.
    UnknownSignal(UnknownSignal),
    /// The time given is over.
    TimedOut,
    /// Cannot be had here.
    Unsupported {
        /// What.
        feature: String,
        /// Why.
        reason: String,
    },
    /// The kernel does not let the supervisor do it.
    NotPermitted {
        /// Of the request.
        field: String,
        /// Why.
        reason: String,
    },
    /// The supervisor is shutting down.
    ShuttingDown,
    /// A bound is reached.
    Limit {
        /// Which.
        limit: &'static str,
        /// Its value.
        maximum: u64,
        /// What to do.
        reason: String,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::NoSuchTask { name } => write!(f, "no task is named {name:?}"),
            RequestError::TaskExists { status } => write!(
                f,
                "a task named {:?} exists already, it is {}",
                status.identity.name,
                status.state.as_str()
            ),
            RequestError::InvalidTask(field) => field.fmt(f),
            RequestError::LaunchFailed(error) => error.fmt(f),
            RequestError::NotRunning { name, state } => {
                write!(f, "task {name:?} has no process, it is {}", state.as_str())
            }
            RequestError::StillRunning { name, pids } => {
                write!(f, "task {name:?} was killed but processes of it are left: ")?;
                let pids: Vec<String> = pids.iter().map(Pid::to_string).collect();
                f.write_str(&pids.join(" "))
            }
            RequestError::UnknownSignal(signal) => signal.fmt(f),
            RequestError::TimedOut => f.write_str("the time given is over"),
            RequestError::Unsupported { feature, reason } => write!(f, "{feature}: {reason}"),
            RequestError::NotPermitted { field, reason } => write!(f, "{field}: {reason}"),
            RequestError::ShuttingDown => f.write_str("the supervisor is shutting down"),
            RequestError::Limit { limit, maximum, reason } => {
                write!(f, "the limit of {maximum} ({limit}) is reached: {reason}")
            }
        }
    }
}

impl std::error::Error for RequestError {}
