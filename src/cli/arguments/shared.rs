//! Flags that several verbs have, each with one meaning and one text.

use crate::cli::units::{parse_duration, parse_signal};
use crate::vocabulary::Signal;
use clap::Args;
use std::time::Duration;

/// The tasks that a verb is about.
#[derive(Args, Debug)]
pub(crate) struct TaskNames {
    /// The tasks; patterns such as 'web-*' are accepted
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// How tasks are stopped.
#[derive(Args, Debug)]
pub(crate) struct StopFlags {
    /// Send this signal [default: the task's kill signal]
    #[arg(short, long, value_parser = parse_signal)]
    pub(crate) signal: Option<Signal>,
    /// Kill after this time [default: the task's kill timeout]; 0 kills at once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,
}

/// `--json` of a verb that answers with statuses.
#[derive(Args, Debug)]
pub(crate) struct StatusOutput {
    /// Print the status of each as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `--json` of a verb that prints failures alone, or nothing that has a form.
#[derive(Args, Debug)]
pub(crate) struct FailureOutput {
    /// Print failures as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `--json` of a verb that prints what the daemon answers.
#[derive(Args, Debug)]
pub(crate) struct ReplyOutput {
    /// Print the reply as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
