//! Arguments of the verbs that supervise tasks themselves.

use super::task::TaskFlags;
use crate::cli::units::{parse_duration, parse_positive_duration};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Run one task in the foreground, without a daemon
///
/// What no flag sets stays as the caller has it: directory, environment, umask, nice, limits,
/// streams. Signals are forwarded, orphans are reaped, what is left when the task ends is killed,
/// and the exit code is the task's own.
#[derive(Args, Debug)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) task: TaskFlags,
    /// Write the task's last status to this descriptor, one line of JSON
    #[arg(long, value_name = "N")]
    pub(crate) status_fd: Option<i32>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Run the tasks of a file in the foreground
///
/// Their output is prefixed by the task's name. Ctrl-C stops all in order, a second one kills.
/// USR2, or `ostler upgrade` at its socket, goes on with the program that is on disk by now.
#[derive(Args, Debug)]
pub(crate) struct UpArguments {
    /// Task file (TOML)
    pub(crate) file: PathBuf,
    /// Only these tasks and what they come after
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Print without colours
    #[arg(long)]
    pub(crate) no_color: bool,
    /// `--socket`, which is a flag of every verb.
    #[arg(skip)]
    pub(crate) socket: Option<String>,
}

/// Run the supervisor
///
/// It is controlled through its socket (--socket PATH, or none for no socket) and with --control.
/// Standard error is the log.
#[derive(Args, Debug)]
pub(crate) struct DaemonArguments {
    /// Start these tasks; HUP and `ostler reload` read the file again
    #[arg(long, value_name = "FILE")]
    pub(crate) tasks: Option<PathBuf>,
    /// Members of this group may use the socket, too, with all rights of the daemon
    #[arg(long, value_name = "GROUP")]
    pub(crate) socket_group: Option<String>,
    /// Keep what is known of the tasks here, so that the next daemon finds them again
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The protocol also on `stdio` or a passed socket, `fd:N`
    #[arg(long, value_name = "stdio|fd:N")]
    pub(crate) control: Vec<String>,
    /// What TERM, INT and end of file on stdio do to the tasks; keep needs --state
    #[arg(long, value_enum, default_value_t = OnExit::Stop)]
    pub(crate) on_exit: OnExit,
    /// How the end of a process becomes known
    #[arg(long, value_enum, default_value_t = ExitNotificationChoice::Auto)]
    pub(crate) exit_notification: ExitNotificationChoice,
    /// Measure all tasks this often; 0: only when somebody asks
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) stats_interval: Option<Duration>,
    /// Write OpenMetrics text to this file at each interval (10s unless --stats-interval says
    /// otherwise), or serve it by HTTP on a socket of its own
    #[arg(long, value_name = "PATH|unix:PATH")]
    pub(crate) metrics: Option<PathBuf>,
    /// Whether each task gets a cgroup
    #[arg(long, value_enum, default_value_t = CgroupChoice::Auto)]
    pub(crate) cgroup: CgroupChoice,
    /// Connections at most
    #[arg(long, value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// `--socket`, which is a flag of every verb.
    #[arg(skip)]
    pub(crate) socket: Option<String>,
}

/// What becomes of the tasks when the daemon is told to end.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum OnExit {
    /// They are stopped.
    Stop,
    /// They run on; the next daemon with the same state adopts them.
    Keep,
}

/// How the end of a process becomes known.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum ExitNotificationChoice {
    /// A pidfd for each task, SIGCHLD when descriptors are scarce.
    Auto,
    /// A pidfd for each task.
    Pidfd,
    /// SIGCHLD.
    Sigchld,
}

/// Whether each task gets a cgroup.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum CgroupChoice {
    /// Where the system lets us.
    Auto,
    /// Process group, session and descendants only.
    Never,
    /// A launch fails without one.
    Require,
}

/// Keep descriptors and exit statuses for a daemon, and restart it
///
/// Where no systemd does it: `ostler keeper -- ostler daemon --state DIR`. When the daemon dies it
/// is started again after 0.1 s, then 0.2 s, doubled up to 15 s; its tasks run on meanwhile, and
/// neither their output nor how they ended is lost. TERM, INT, QUIT and ABRT end the daemon and
/// then the keeper; HUP, USR1 and USR2 are passed on.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit code: the daemon's own when it was meant to end, 0 after a clean end; \
                        126 or 127 where it cannot be executed."
)]
pub(crate) struct KeeperArguments {
    /// The longest pause before a daemon that has died is started again [default: 15s]
    #[arg(long, value_name = "DURATION", value_parser = parse_positive_duration)]
    pub(crate) restart_max_delay: Option<Duration>,
    /// The daemon and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// Check a task file
///
/// Says every error with its place in the file.
#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    /// Task file (TOML)
    pub(crate) file: PathBuf,
}

/// Say whether this program could take over from a running daemon or `up`
///
/// A daemon or an `up` asks this before an upgrade, with its state on standard input.
#[derive(Args, Debug)]
pub(crate) struct TakeOverArguments {
    /// Only say so
    #[arg(long, required = true)]
    pub(crate) check: bool,
    /// Its arguments, with the verb
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) words: Vec<OsString>,
}
