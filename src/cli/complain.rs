//! What ostler itself has to say, on standard error.

use super::table::printable;
use std::fmt::Display;
use std::io::Write;

/// Writes `ostler: VERB: WHY`, one line without control characters, whatever somebody has put into
/// a name or a path. Where standard error is closed there is nobody to tell.
pub(crate) fn complain(verb: &str, why: impl Display) {
    let line = printable(&format!("ostler: {verb}: {why}"));
    let _ = writeln!(std::io::stderr(), "{line}");
}
