//! The verb completions.

use super::arguments::{Arguments, CompletionsArguments};
use super::failure::Failure;
use super::output::print;
use clap::CommandFactory;

/// Prints the completion script for a shell.
pub(crate) fn completions(arguments: &CompletionsArguments) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "ostler", &mut script);
    print(&script)?;
    Ok(0)
}
