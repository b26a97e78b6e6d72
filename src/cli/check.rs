//! The verb `check`.

use super::arguments::CheckArguments;
use std::process::ExitCode;

/// Does it.
pub(crate) fn check(arguments: CheckArguments) -> ExitCode {
    drop(arguments);
    eprintln!("ostler: check: not available in this version");
    ExitCode::FAILURE
}
