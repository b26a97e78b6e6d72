//! The verb `up`.

use super::arguments::UpArguments;
use std::process::ExitCode;

/// Does it.
pub(crate) fn up(arguments: UpArguments) -> ExitCode {
    drop(arguments);
    eprintln!("ostler: up: not available in this version");
    ExitCode::FAILURE
}
