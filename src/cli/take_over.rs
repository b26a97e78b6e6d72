//! The verb take-over, which a daemon or an `up` asks another version of the program: whether it
//! could go on with the state on standard input, with these arguments.

use super::arguments::{Arguments, DaemonArguments, TakeOverArguments, Verb};
use super::failure::Failure;
use super::output::print_json;
use super::{daemon, up};
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
    let words = std::iter::once("ostler".into()).chain(arguments.words.iter().cloned());
    let checked = match Arguments::try_parse_from(words) {
        Ok(Arguments { verb: Verb::Daemon(daemon), socket }) => {
            daemon::check_state(&bytes, DaemonArguments { socket, ..daemon })
        }
        Ok(Arguments { verb: Verb::Up(_), .. }) => up::check_state(&bytes),
        Ok(_) => return Err(Failure::Other("these are no arguments of a supervisor".to_owned())),
        Err(error) => {
            let text = error.render().to_string();
            let why = text.lines().next().unwrap_or_default();
            return Err(Failure::Other(format!("the arguments of the supervisor: {why}")));
        }
    };
    checked.map_err(Failure::Other)?;
    print_json(&json!({ "version": env!("CARGO_PKG_VERSION") }))?;
    Ok(0)
}
