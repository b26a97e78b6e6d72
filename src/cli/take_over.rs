//! The verb take-over, which one daemon asks another version of the program: whether it could go on
//! with the state on standard input, with these arguments.

use super::arguments::{Arguments, TakeOverArguments, Verb};
use super::daemon;
use super::failure::Failure;
use super::output::print_json;
use crate::vocabulary::cause;
use clap::Parser;
use serde_json::json;
use std::io::Read;

/// Says the version of this program where it can.
pub(crate) fn take_over(arguments: &TakeOverArguments) -> Result<u8, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Other(format!("read the state: {}", cause(&error))))?;
    daemon::check_state(&bytes).map_err(|why| Failure::Other(format!("the state: {why}")))?;
    let words = std::iter::once("ostler".into()).chain(arguments.words.iter().cloned());
    match Arguments::try_parse_from(words) {
        Ok(Arguments { verb: Verb::Daemon(_), .. }) => {}
        Ok(_) => return Err(Failure::Other("these are no arguments of a daemon".to_owned())),
        Err(error) => {
            let text = error.render().to_string();
            let why = text.lines().next().unwrap_or_default();
            return Err(Failure::Other(format!("the arguments of the daemon: {why}")));
        }
    }
    print_json(&json!({ "version": env!("CARGO_PKG_VERSION") }))?;
    Ok(0)
}
