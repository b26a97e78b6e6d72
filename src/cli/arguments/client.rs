//! Arguments of the verbs that ask a daemon, and of those that need none.

use super::shared::{FailureOutput, ReplyOutput, StatusOutput, StopFlags, TaskNames};
use super::task::{ResourceFlags, TaskFlags};
use crate::cli::units::{parse_duration, parse_positive_duration, parse_signal};
use crate::vocabulary::Signal;
use clap::{Args, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;

/// Start a task in the daemon
///
/// Prints the task's name once it runs.
#[derive(Args, Debug)]
pub(crate) struct LaunchArguments {
    #[command(flatten)]
    pub(crate) task: TaskFlags,
    /// Launch the tasks of this file: TOML, or JSON (one task of the protocol) by extension;
    /// `-` is standard input, JSON
    #[arg(long = "task", value_name = "FILE",
          conflicts_with_all = ["TaskFlags", "ResourceFlags", "IsolationFlags", "command"])]
    pub(crate) file: Option<PathBuf>,
    /// What to do when the name is taken
    ///
    /// fail: refuse, also for an exited task. same: an equal task of that name is answered with
    /// its status, nothing is started. replace: an exited one is forgotten first.
    #[arg(long, value_enum, default_value_t = IfExistsChoice::Fail)]
    pub(crate) if_exists: IfExistsChoice,
    /// Give the start this long [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print the status as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required_unless_present = "file", value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// What a launch does when the name is taken.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum IfExistsChoice {
    Fail,
    Same,
    Replace,
}

/// List the living tasks
#[derive(Args, Debug)]
pub(crate) struct PsArguments {
    /// Exited tasks, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only tasks with this label (all of them, where several are given)
    #[arg(short, long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Print one status a line as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show all that is known of a task
#[derive(Args, Debug)]
pub(crate) struct InspectArguments {
    /// The task
    pub(crate) name: String,
    /// Print the status as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Wait until a task has exited for good, and exit as it did
#[derive(Args, Debug)]
pub(crate) struct WaitArguments {
    /// The task
    pub(crate) name: String,
    /// Exit with 124 after this time; 0: do not wait
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print the last status as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Stop tasks: signal, grace, kill
#[derive(Args, Debug)]
pub(crate) struct StopArguments {
    #[command(flatten)]
    pub(crate) tasks: TaskNames,
    #[command(flatten)]
    pub(crate) how: StopFlags,
    /// A task that does not exist is no error
    #[arg(long)]
    pub(crate) ignore_missing: bool,
    #[command(flatten)]
    pub(crate) output: StatusOutput,
}

/// Start exited tasks again
///
/// One that runs already is left alone, and is no error. One that waits for its next run starts
/// at once.
#[derive(Args, Debug)]
pub(crate) struct StartArguments {
    #[command(flatten)]
    pub(crate) tasks: TaskNames,
    #[command(flatten)]
    pub(crate) output: StatusOutput,
}

/// Stop tasks and start them again
#[derive(Args, Debug)]
pub(crate) struct RestartArguments {
    #[command(flatten)]
    pub(crate) tasks: TaskNames,
    #[command(flatten)]
    pub(crate) how: StopFlags,
    #[command(flatten)]
    pub(crate) output: StatusOutput,
}

/// Send a signal to the main process of tasks
#[derive(Args, Debug)]
pub(crate) struct SignalArguments {
    #[command(flatten)]
    pub(crate) tasks: TaskNames,
    /// The signal: TERM, SIGTERM, 15, RTMIN+3; -TERM and -15 are accepted, too
    #[arg(short, long, default_value = "TERM", value_parser = parse_signal)]
    pub(crate) signal: Signal,
    /// Send it to every process of the task
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: FailureOutput,
}

/// Run a command in the context of a task, and exit as it did
#[derive(Args, Debug)]
pub(crate) struct ExecArguments {
    /// Pass standard input on
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Add to the environment; KEY alone: from the caller
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// Instead of the task's user
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Instead of the task's working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) work_dir: Option<String>,
    /// Kill the command and exit with 124 after this time
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Print the reply as JSON; neither -i nor -t then
    #[arg(long, conflicts_with_all = ["interactive", "tty"])]
    pub(crate) json: bool,
    /// The task
    pub(crate) name: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Show what tasks use: CPU, memory, I/O, processes
#[derive(Args, Debug)]
pub(crate) struct StatsArguments {
    /// The tasks; patterns such as 'web-*' are accepted [default: all that have a process]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Go on, once each interval
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// With --watch; at least 100ms
    #[arg(long, value_name = "DURATION", default_value = "1s",
          value_parser = parse_positive_duration)]
    pub(crate) interval: Duration,
    /// Each process on its own
    #[arg(long)]
    pub(crate) by_pid: bool,
    /// Print one TaskStats a line as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print OpenMetrics text
    #[arg(long, conflicts_with_all = ["json", "by_pid", "watch"])]
    pub(crate) openmetrics: bool,
}

/// Print the output of tasks, where it is kept in files
#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) tasks: TaskNames,
    /// Go on until the task has exited for good
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The last lines of each stream [default: 10]
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) lines: Option<u32>,
    /// Standard output only
    #[arg(long)]
    pub(crate) stdout: bool,
    /// Standard error only
    #[arg(long, conflicts_with = "stdout")]
    pub(crate) stderr: bool,
    #[command(flatten)]
    pub(crate) output: FailureOutput,
}

/// Change the limits of a living task
#[derive(Args, Debug)]
pub(crate) struct UpdateArguments {
    /// The task
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) resources: ResourceFlags,
    /// Print the limits as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Follow what happens
#[derive(Args, Debug)]
pub(crate) struct EventsArguments {
    /// Only of these tasks
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Begin after the event of this number [default: now]
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// Print one event a line as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Forget exited tasks
#[derive(Args, Debug)]
pub(crate) struct RmArguments {
    #[command(flatten)]
    pub(crate) tasks: TaskNames,
    /// Kill living ones first
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) output: FailureOutput,
}

/// Show the tasks on a full screen, live
///
/// Keys: arrows choose a task, Enter looks at it, S stops, R restarts, K signals it (each asks
/// first), / filters, < and > sort, a shows exited tasks, ? is help, q leaves.
#[derive(Args, Debug)]
pub(crate) struct TopArguments {
    /// Measure this often; at least 100ms
    #[arg(long, value_name = "DURATION", default_value = "1s",
          value_parser = parse_positive_duration)]
    pub(crate) interval: Duration,
    /// Begin with this order
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = SortChoice::Cpu)]
    pub(crate) sort: SortChoice,
    /// Begin with the tasks that have this text in name, state or command
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Exited tasks, too
    #[arg(short, long)]
    pub(crate) all: bool,
}

/// What a table is sorted by.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum SortChoice {
    Name,
    State,
    Cpu,
    Rss,
    Io,
    Restarts,
    Uptime,
}

/// Let the daemon read its task file again
#[derive(Args, Debug)]
pub(crate) struct ReloadArguments {
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) output: ReplyOutput,
}

/// Replace the running daemon by the program that is now on disk
#[derive(Args, Debug)]
pub(crate) struct UpgradeArguments {
    #[command(flatten)]
    pub(crate) output: ReplyOutput,
}

/// End the daemon
#[derive(Args, Debug)]
pub(crate) struct ShutdownArguments {
    /// The tasks run on; the next daemon with the same state adopts them
    #[arg(long)]
    pub(crate) keep_tasks: bool,
    /// No task gets longer than this to end
    #[arg(long, value_name = "DURATION", value_parser = parse_duration,
          conflicts_with = "keep_tasks")]
    pub(crate) grace: Option<Duration>,
    #[command(flatten)]
    pub(crate) output: FailureOutput,
}

/// Show the version of the program, and of the daemon where one answers
#[derive(Args, Debug)]
pub(crate) struct VersionArguments {
    /// Print the daemon's reply as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Print the completion script for a shell
#[derive(Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// The shell
    pub(crate) shell: Shell,
}

/// Write the man pages into a directory
#[derive(Args, Debug)]
pub(crate) struct ManArguments {
    /// The directory, which must exist
    pub(crate) directory: PathBuf,
}
