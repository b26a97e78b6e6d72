//! The parser alone, for fuzzing.

use crate::vocabulary::TaskSpec;
use std::path::Path;

/// The tasks of a task file, or what is wrong with it as it is told to people.
///
/// # Errors
/// Every problem found, at least one.
pub fn parse(text: &str, path: &Path) -> Result<Vec<TaskSpec>, Vec<String>> {
    match super::parse(text, path) {
        Ok(file) => Ok(file.tasks),
        Err(problems) => Err(problems.iter().map(ToString::to_string).collect()),
    }
}
