//! Stands in for `seccomp` in a build without it.

use super::failure::start_error;
use super::mounts::Mounts;
use super::program::Filter;
use crate::vocabulary::{CapabilitySet, Stage, StartError};
use nix::errno::Errno;

/// Why there are no filters here.
pub(crate) fn why_unavailable() -> Option<String> {
    Some(match cfg!(feature = "seccomp") {
        true => "not available for this processor".to_owned(),
        false => "not in this build: it was made without the feature `seccomp`".to_owned(),
    })
}

pub(super) fn filters(
    _wanted: &str,
    _kept: CapabilitySet,
    _mounts: &mut Mounts,
) -> Result<Vec<Filter>, StartError> {
    Err(start_error(Stage::Seccomp, Errno::ENOSYS, "filter system calls"))
}
