//! The reader of journals without a file, for fuzzing.

use super::reading;
use crate::reactor::Kept;

/// What a journal tells, as if it were of this boot, with what was wrong with it.
///
/// # Errors
/// When it is of a later format.
pub fn read(bytes: &[u8]) -> Result<(Kept, Vec<String>), String> {
    let mut complaints = Vec::new();
    let told = reading::parse(bytes, &mut complaints)?;
    Ok((told.into_kept(|_| true), complaints))
}
