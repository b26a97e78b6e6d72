//! What to run and how.

use super::resources::{Isolation, Resources};
use super::signal::Signal;
use super::sink::Sink;
use std::collections::BTreeMap;
use std::time::Duration;

/// What to run and how. What is absent takes the default that its line names.
///
/// ```
/// use ostler::{Signal, TaskSpec};
/// let spec = TaskSpec {
///     args: vec!["60".into()],
///     kill_signal: Some(Signal::TERM),
///     ..TaskSpec::new("/bin/sleep")
/// };
/// assert!(spec.validate().is_ok());
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TaskSpec {
    /// Default: the command's last path part, `-`, the first free number from 0.
    pub name: Option<String>,
    /// An absolute path; with a slash in it: relative to `work_dir`; else looked for in
    /// `task_dir/local`, `task_dir`, then the absolute directories of PATH in the task's `env`,
    /// or where that has none of the supervisor's.
    pub command: String,
    /// Arguments after the resolved path.
    pub args: Vec<String>,
    /// `KEY=VALUE`, later ones win. Nothing is added to it.
    pub env: Vec<String>,
    /// Start from the supervisor's environment, without the variables that concern the
    /// supervisor alone (NOTIFY_SOCKET, WATCHDOG_*, LISTEN_*, OSTLER_*).
    pub inherit_env: bool,
    /// `name`, `uid`, `name:group` or `uid:gid`. Default: the supervisor's.
    pub user: Option<String>,
    /// The task's home, absolute.
    pub task_dir: Option<String>,
    /// Default: `task_dir`, else `/`.
    pub work_dir: Option<String>,
    /// Default: discard.
    pub stdout: Option<Sink>,
    /// Default: discard.
    pub stderr: Option<Sink>,
    /// Default: SIGINT, as Nomad's executor.
    pub kill_signal: Option<Signal>,
    /// Default: 5 s.
    pub kill_timeout: Option<Duration>,
    /// The kill signal goes to every process of the task, not to the main one alone.
    pub stop_all: bool,
    /// What becomes of its other processes when the main one has ended.
    pub leftover: Leftover,
    /// Whether it is started again.
    pub restart: RestartPolicy,
    /// Limits.
    pub resources: Option<Box<Resources>>,
    /// An existing v2 group of the caller's in which the task's group is made.
    pub cgroup: Option<String>,
    /// What it is kept from.
    pub isolation: Option<Box<Isolation>>,
    /// Resource limits by name (`nofile`), as `SOFT` or `SOFT:HARD`, numbers or `unlimited`.
    pub rlimits: BTreeMap<String, String>,
    /// -1000 to 1000. Default: the supervisor's, or 0 where that is negative.
    pub oom_score_adj: Setting<i32>,
    /// -20 to 19. Default: the supervisor's, or 0 where that is negative.
    pub nice: Setting<i32>,
    /// Permission bits, at most 0o777. Default: 0o022.
    pub umask: Setting<u32>,
    /// Forget the task once it has exited for good.
    pub auto_remove: bool,
    /// Free for the user.
    pub labels: BTreeMap<String, String>,
    /// Names of tasks that must run before this one is started, and that stop after it.
    pub after: Vec<String>,
    /// Standard input is the supervisor's own instead of /dev/null.
    pub inherit_stdin: bool,
    /// The task stays in the supervisor's session, with a process group of its own that becomes
    /// the terminal's foreground group (`ostler run` on a terminal).
    pub foreground: bool,
    /// The task dies with the supervisor (PR_SET_PDEATHSIG with SIGKILL).
    pub die_with_supervisor: bool,
    /// It came from the daemon's task file, and goes when the file does not name it any more, also
    /// where that is found by a later daemon. Tells no task from another one.
    pub declared: bool,
}

/// A setting that has a default of its own, can be set, or can be left as the supervisor has it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Setting<T> {
    /// The default that the field names.
    #[default]
    Default,
    /// As the supervisor has it.
    Inherit,
    /// This value.
    To(T),
}

/// What becomes of a task's other processes when its main one has ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Leftover {
    /// Killed at once.
    #[default]
    Kill,
    /// The task lives on while its group has processes; signals go to all of them.
    Wait,
    /// The task has exited at once; they stay.
    Leave,
}

/// When a task is started again.
///
/// ```
/// use ostler::{RestartMode, RestartPolicy};
/// let policy = RestartPolicy { mode: RestartMode::OnFailure, ..Default::default() };
/// assert_eq!(policy.attempts(), Some(3));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RestartPolicy {
    /// After which ends.
    pub mode: RestartMode,
    /// Restarts within `interval` before the task gives up: `Some(None)` is no limit.
    /// Default: 3 for on-failure, no limit for always.
    pub attempts: Option<Option<u32>>,
    /// Default: 30 minutes.
    pub interval: Option<Duration>,
    /// Before the first restart, doubled up to `max_delay`, plus up to a quarter by chance.
    /// Default: 1 s.
    pub delay: Option<Duration>,
    /// Default: 1 minute, or `delay` where that is longer.
    pub max_delay: Option<Duration>,
}

/// After which ends a task is started again.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum RestartMode {
    /// After none.
    #[default]
    Never,
    /// After any but exit code 0; a signal and an unknown status count as failures.
    OnFailure,
    /// After every one.
    Always,
}

impl RestartPolicy {
    /// The effective number of attempts; `None` is no limit.
    pub fn attempts(&self) -> Option<u32> {
        self.attempts.unwrap_or(match self.mode {
            RestartMode::Never => Some(0),
            RestartMode::OnFailure => Some(3),
            RestartMode::Always => None,
        })
    }

    /// The effective window.
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Duration::from_secs(30 * 60))
    }

    /// The effective first delay.
    pub fn delay(&self) -> Duration {
        self.delay.unwrap_or(Duration::from_secs(1))
    }

    /// The effective cap.
    pub fn max_delay(&self) -> Duration {
        self.max_delay.unwrap_or(Duration::from_secs(60)).max(self.delay())
    }
}

impl TaskSpec {
    /// A task that runs `command`, everything else at its default.
    pub fn new(command: impl Into<String>) -> TaskSpec {
        TaskSpec { command: command.into(), ..TaskSpec::default() }
    }

    /// The effective sink of standard output.
    pub fn stdout(&self) -> &Sink {
        self.stdout.as_ref().unwrap_or(&Sink::Discard)
    }

    /// The effective sink of standard error.
    pub fn stderr(&self) -> &Sink {
        self.stderr.as_ref().unwrap_or(&Sink::Discard)
    }

    /// The effective kill signal.
    pub fn kill_signal(&self) -> Signal {
        self.kill_signal.unwrap_or(Signal::INT)
    }

    /// The effective grace between the kill signal and the kill.
    pub fn kill_timeout(&self) -> Duration {
        self.kill_timeout.unwrap_or(Duration::from_secs(5))
    }

    /// The directory that becomes `/` of the task.
    pub(crate) fn root(&self) -> Option<&str> {
        self.isolation.as_ref()?.root.as_deref()
    }

    /// The effective working directory.
    pub fn work_dir(&self) -> &str {
        self.work_dir.as_deref().or(self.task_dir.as_deref()).unwrap_or("/")
    }
}
