//! What ostler itself has to say, on standard error.

use std::fmt::Display;
use std::io::Write;

/// Writes `ostler: VERB: WHY`. Where standard error is closed there is nobody to tell.
pub(crate) fn complain(verb: &str, why: impl Display) {
    let _ = writeln!(std::io::stderr(), "ostler: {verb}: {why}");
}
