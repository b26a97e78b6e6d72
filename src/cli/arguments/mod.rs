//! The one definition of every verb and flag: parser, help, completions and man pages come from it.

mod client;
mod host;
mod shared;
mod task;

pub(crate) use client::{
    CompletionsArguments, EventsArguments, ExecArguments, IfExistsChoice, InspectArguments,
    LaunchArguments, LogsArguments, ManArguments, PsArguments, ReloadArguments, RestartArguments,
    RmArguments, ShutdownArguments, SignalArguments, SortChoice, StartArguments, StatsArguments,
    StopArguments, TopArguments, UpdateArguments, UpgradeArguments, VersionArguments,
    WaitArguments,
};
pub(crate) use host::{
    CgroupChoice, CheckArguments, DaemonArguments, ExitNotificationChoice, KeeperArguments, OnExit,
    RunArguments, TakeOverArguments, UpArguments,
};
pub(crate) use shared::StopFlags;
pub(crate) use task::{
    IsolationFlags, LeftoverChoice, PrivateNamespace, ResourceFlags, RestartChoice, TaskFlags,
};

use clap::{Parser, Subcommand};

/// Exit codes of the verbs that exit as a task or command did.
const MIRRORED_CODES: &str = "\
Exit code: the task's own, 128 + signal where one ended it. What ostler itself has to say is 124 \
(timed out), 125 (everything else), 126 (found, cannot be executed) or 127 (not found), with a \
line on standard error that begins with `ostler: `.";

/// Process supervisor: every task of a node in one process with one thread.
#[derive(Parser, Debug)]
#[command(
    name = "ostler",
    version,
    max_term_width = 100,
    after_help = "Exit codes of run, wait and exec: the task's own (128 + signal); 124 timed out, \
                  125 ostler's own failure, 126 cannot be executed, 127 not found. Of all others: \
                  0, 1 failed, 2 usage, 124 timed out, 125 no daemon."
)]
pub(crate) struct Arguments {
    /// Socket of the daemon [default: $OSTLER_SOCKET, else /run/ostler/ostler.sock for root and
    /// $XDG_RUNTIME_DIR/ostler/ostler.sock otherwise]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub(crate) socket: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do. Hidden is what users do not need.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    #[command(after_help = MIRRORED_CODES)]
    Run(Box<RunArguments>),
    Up(UpArguments),
    Daemon(DaemonArguments),
    Launch(Box<LaunchArguments>),
    Ps(PsArguments),
    Inspect(InspectArguments),
    #[command(after_help = MIRRORED_CODES)]
    Wait(WaitArguments),
    Stop(StopArguments),
    Start(StartArguments),
    Restart(RestartArguments),
    #[command(visible_alias = "kill")]
    Signal(SignalArguments),
    #[command(after_help = MIRRORED_CODES)]
    Exec(ExecArguments),
    Stats(StatsArguments),
    Logs(LogsArguments),
    Update(UpdateArguments),
    Events(EventsArguments),
    Rm(RmArguments),
    Top(TopArguments),
    Reload(ReloadArguments),
    Upgrade(UpgradeArguments),
    Shutdown(ShutdownArguments),
    Keeper(KeeperArguments),
    Check(CheckArguments),
    Version(VersionArguments),
    Completions(CompletionsArguments),
    #[command(hide = true)]
    Man(ManArguments),
    #[command(hide = true)]
    TakeOver(TakeOverArguments),
    #[command(hide = true)]
    ReadTasks(CheckArguments),
}
