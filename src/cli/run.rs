//! The verb `run`.

use super::arguments::RunArguments;
use std::process::ExitCode;

/// Does it.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    drop(arguments);
    eprintln!("ostler: run: not available in this version");
    ExitCode::FAILURE
}
