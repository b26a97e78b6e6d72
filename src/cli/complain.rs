//! What ostler itself has to say, on standard error.

use super::table::printable;
use std::fmt::Display;
use std::io::Write;

/// Writes `ostler: VERB: WHY` without control characters, whatever somebody has put into a name or
/// a path; further lines are indented, so that none of them looks like another message. Where
/// standard error is closed there is nobody to tell.
pub(crate) fn complain(verb: &str, why: impl Display) {
    let mut text = String::new();
    for line in format!("ostler: {verb}: {why}").split('\n') {
        if !text.is_empty() && !line.starts_with("  ") {
            text.push_str("  ");
        }
        // Tabs keep what stands below each other in place.
        let parts: Vec<String> = line.split('\t').map(printable).collect();
        text.push_str(&parts.join("\t"));
        text.push('\n');
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}
