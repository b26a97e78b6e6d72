//! Flags that say what a task is, for run and launch.

use crate::cli::units::{parse_duration, parse_signal, parse_umask};
use crate::vocabulary::Signal;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// What a task is.
#[derive(Args, Debug, Default, PartialEq)]
#[command(next_help_heading = "Task")]
pub(crate) struct TaskFlags {
    /// Name [default: the command's last path part, `-`, the first free number]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Run as this user: NAME, UID, NAME:GROUP or UID:GID
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Add to the environment; KEY alone: from the caller, where it is set there
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) env: Vec<String>,
    /// Add the lines of this file to the environment, before --env
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Start from the supervisor's environment (run always does)
    #[arg(long)]
    pub(crate) inherit_env: bool,
    /// The task's home, where the command is looked for first
    #[arg(long, value_name = "DIR")]
    pub(crate) task_dir: Option<String>,
    /// Working directory [default: the task directory, else /; run: the current one]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_dir: Option<String>,
    /// discard, inherit, fifo:PATH[,direct] or
    /// file:PATH[,max_size=SIZE][,max_files=N][,numbering=shift|count][,direct]
    /// [default: discard; run: inherit]
    #[arg(long, value_name = "SINK")]
    pub(crate) stdout: Option<String>,
    /// As --stdout; `stdout`: the same sink
    #[arg(long, value_name = "SINK")]
    pub(crate) stderr: Option<String>,
    /// Signal that asks the task to end [default: INT]
    #[arg(long, value_name = "SIGNAL", value_parser = parse_signal)]
    pub(crate) kill_signal: Option<Signal>,
    /// Kill what has not ended after this time [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) kill_timeout: Option<Duration>,
    /// Send the kill signal to every process of the task
    #[arg(long)]
    pub(crate) stop_all: bool,
    /// What becomes of other processes when the main one has ended [default: kill]
    #[arg(long, value_enum)]
    pub(crate) leftover: Option<LeftoverChoice>,
    /// Start it again after these ends [default: never]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) restart: Option<RestartChoice>,
    /// Restarts within the interval before the task gives up; -1: no limit
    /// [default: on-failure 3, always -1]
    #[arg(long, value_name = "N", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
    pub(crate) restart_attempts: Option<i64>,
    /// The time in which restarts are counted [default: 30m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) restart_interval: Option<Duration>,
    /// Wait before the first restart, doubled for each further one [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) restart_delay: Option<Duration>,
    /// The longest such wait [default: 1m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) restart_max_delay: Option<Duration>,
    /// Free for the user
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// Resource limit such as nofile=1024:4096
    #[arg(long = "rlimit", value_name = "NAME=SOFT[:HARD]")]
    pub(crate) rlimits: Vec<String>,
    /// -1000 to 1000
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) oom_score_adj: Option<i32>,
    /// -20 to 19
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) nice: Option<i32>,
    /// File mode creation mask [default: 022; run: the caller's]
    #[arg(long, value_name = "OCTAL", value_parser = parse_umask)]
    pub(crate) umask: Option<u32>,
    /// An existing v2 group in which the task's group is made
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<String>,
    /// Forget the task once it has exited for good
    #[arg(long = "rm")]
    pub(crate) auto_remove: bool,
    #[command(flatten)]
    pub(crate) resources: ResourceFlags,
    #[command(flatten)]
    pub(crate) isolation: IsolationFlags,
}

/// What becomes of other processes when the main one has ended.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum LeftoverChoice {
    /// Killed at once
    Kill,
    /// The task lives on with them
    Wait,
    /// They stay, the task has exited
    Leave,
}

/// After which ends a task is started again.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum RestartChoice {
    /// After none
    Never,
    /// After any but exit code 0
    #[value(alias = "on_failure")]
    OnFailure,
    /// After every one
    Always,
}

/// Limits; `none` lifts one.
#[derive(Args, Debug, Default, PartialEq)]
#[command(next_help_heading = "Resources (none lifts a limit)")]
pub(crate) struct ResourceFlags {
    /// Share of CPU time under contention, 1 to 10000
    #[arg(long, value_name = "N")]
    pub(crate) cpu_weight: Option<String>,
    /// CPU time in cores, such as 0.5
    #[arg(long, value_name = "CORES")]
    pub(crate) cpu_max: Option<String>,
    /// CPUs to run on, such as 0-3,8
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset: Option<String>,
    /// Memory; above it the OOM killer comes
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_max: Option<String>,
    /// Memory above which the task is slowed down
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_high: Option<String>,
    /// Memory that is protected from reclaim
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_low: Option<String>,
    /// Swap
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_swap_max: Option<String>,
    /// The OOM killer ends every process of the task, not one of them
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub(crate) memory_oom_group: Option<bool>,
    /// Processes and threads
    #[arg(long, value_name = "N")]
    pub(crate) pids_max: Option<String>,
    /// Share of disk time under contention, 1 to 10000
    #[arg(long, value_name = "N")]
    pub(crate) io_weight: Option<String>,
}

/// What a task is kept from.
#[derive(Args, Debug, Default, PartialEq)]
#[command(next_help_heading = "Isolation")]
pub(crate) struct IsolationFlags {
    /// Directory that becomes / of the task; command, --task-dir and --work-dir are inside
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<String>,
    /// Bind mount; options, with commas between: ro, rw, private, slave, shared
    #[arg(long = "mount", value_name = "SRC:DST[:ro]")]
    pub(crate) mounts: Vec<String>,
    /// Device that may be used besides those of every /dev; without this flag and --root all may
    #[arg(long = "device", value_name = "SRC[:DST[:rwm]]")]
    pub(crate) devices: Vec<String>,
    /// Namespaces of its own
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMESPACE")]
    pub(crate) private: Vec<PrivateNamespace>,
    /// Host name in its own uts namespace
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    /// Network: host, none (a new one with loopback), or the path of a network namespace
    #[arg(long, value_name = "host|none|PATH")]
    pub(crate) net: Option<String>,
    /// Capability to have, and no other that is not named; `none`: not one, ALL: all of ours
    #[arg(long = "cap", value_name = "CAP", value_delimiter = ',')]
    pub(crate) capabilities: Vec<String>,
    /// Never gain privileges by exec
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// Seccomp profile: default, none, or an OCI profile (JSON)
    #[arg(long, value_name = "default|none|FILE")]
    pub(crate) seccomp: Option<String>,
    /// Path that stays accessible, all others do not [default access: rwx]
    #[arg(long, value_name = "PATH[:rwx]")]
    pub(crate) landlock: Vec<String>,
}

/// A namespace that a task can have of its own.
#[derive(ValueEnum, Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum PrivateNamespace {
    Pid,
    Ipc,
    Uts,
}
