//! The verb `check`.

use super::arguments::CheckArguments;
use super::complain::complain;
use super::task_file;
use std::io::Write;
use std::process::ExitCode;

/// Says every error of a task file with its place.
pub(crate) fn check(arguments: CheckArguments) -> ExitCode {
    let file = match task_file::load(&arguments.file) {
        Ok(file) => file,
        Err(problems) => {
            for problem in problems {
                complain("check", problem);
            }
            return ExitCode::FAILURE;
        }
    };
    for warning in file.warnings {
        complain("check", format_args!("warning: {warning}"));
    }
    let count = file.tasks.len();
    let noun = if count == 1 { "task" } else { "tasks" };
    // Nobody to tell when standard output is closed.
    let _ = writeln!(std::io::stdout(), "{}: {count} {noun}, no error", arguments.file.display());
    ExitCode::SUCCESS
}
