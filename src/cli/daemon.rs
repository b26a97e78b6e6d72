//! The verb `daemon`.

use super::arguments::DaemonArguments;
use std::process::ExitCode;

/// Does it.
pub(crate) fn daemon(arguments: DaemonArguments) -> ExitCode {
    drop(arguments);
    eprintln!("ostler: daemon: not available in this version");
    ExitCode::FAILURE
}
