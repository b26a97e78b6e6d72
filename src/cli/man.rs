//! The verb man.

use super::arguments::{Arguments, ManArguments};
use super::failure::Failure;
use crate::vocabulary::cause;
use clap::CommandFactory;

/// Writes a page for the program and for each verb.
pub(crate) fn man(arguments: &ManArguments) -> Result<u8, Failure> {
    let directory = &arguments.directory;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(|error| {
        Failure::Other(format!("write man pages into {}: {}", directory.display(), cause(&error)))
    })?;
    Ok(0)
}
