//! What can be asked of the supervisor about its tasks, and what it answers.

use super::error::RequestError;
use super::exec::{ExecId, ExecSpec, Executed};
use super::id::Pid;
use super::resources::Resources;
use super::signal::Signal;
use super::spec::TaskSpec;
use super::status::Status;
use std::time::Duration;

/// What a launch does when the name is taken.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum IfExists {
    /// It is refused, also for an exited task.
    #[default]
    Fail,
    /// A task with an equal spec is answered with its status, nothing is started.
    Same,
    /// An exited task is forgotten first.
    Replace,
}

/// A request that changes a task or waits for one. Exactly one [`Reply`] follows each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Start a task; answered when it runs (exec succeeded), or when it waits for what it comes
    /// after.
    Launch {
        /// What to run.
        spec: Box<TaskSpec>,
        /// When the name is taken.
        if_exists: IfExists,
        /// Until the exec.
        timeout: Duration,
    },
    /// Answered when the task has exited for good.
    Wait {
        /// The task.
        name: String,
        /// The launch, in its printed form; absent: whichever has the name.
        id: Option<String>,
        /// Absent: no limit. Zero: do not wait.
        timeout: Option<Duration>,
    },
    /// Signal, grace, kill. Answered when nothing is left.
    Stop {
        /// The task.
        name: String,
        /// Absent: the task's own.
        signal: Option<Signal>,
        /// Absent: the task's own.
        grace: Option<Duration>,
    },
    /// Stop, then start again at once. Answered when it runs.
    Restart {
        /// The task.
        name: String,
        /// Absent: the task's own.
        signal: Option<Signal>,
        /// Absent: the task's own.
        grace: Option<Duration>,
    },
    /// Signal the main process, or all of them.
    Signal {
        /// The task.
        name: String,
        /// What to send.
        signal: Signal,
        /// To every process of the task.
        all: bool,
    },
    /// Change limits of a task, all or none. Holds over restarts. Answered with its limits.
    Update {
        /// The task.
        name: String,
        /// What is absent stays.
        resources: Box<Resources>,
    },
    /// Run a command in the task's context. Collected streams: answered when all of it has ended,
    /// with its output. Else when it runs; its end comes from [`crate::Supervisor::next_exec_end`].
    /// To abandon the answer kills it.
    Exec {
        /// The task.
        name: String,
        /// What to run.
        spec: Box<ExecSpec>,
    },
    /// Forget an exited task and what is unread of its output.
    Remove {
        /// The task.
        name: String,
        /// Stop it with no grace first.
        force: bool,
    },
    /// Refuse launches from now on, and stop every task where that is asked. Answered when done.
    Shutdown {
        /// Stop the tasks; else they run on.
        stop_tasks: bool,
        /// No task gets longer than this.
        grace: Option<Duration>,
    },
}

/// The answer to a request that was granted.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The task after it.
    Status(Box<Status>),
    /// The limits of the task after it.
    Resources(Box<Resources>),
    /// A command that has ended.
    Executed(Box<Executed>),
    /// A command that runs, and whose streams whoever asked takes.
    ExecStarted {
        /// Which.
        exec: ExecId,
        /// Its main process.
        pid: Pid,
    },
    /// It is done.
    Done,
}

/// The answer to a request.
pub type Reply = Result<Answer, RequestError>;
