//! What of an isolation cannot be had in this version, in this build or from this kernel.

use crate::sys::namespaces::{self, Refusal};
use crate::sys::{capabilities, landlock, privileges, seccomp};
use crate::vocabulary::{Isolation, RequestError};

/// The first field that is asked for and cannot be had.
pub(super) fn refusal(isolation: &Isolation) -> Option<RequestError> {
    let unsupported = |field: &str, reason: String| {
        Some(RequestError::Unsupported { feature: field.to_owned(), reason })
    };
    if let Some(field) = privileges::unsupported_field(isolation) {
        return unsupported(field, "not available in this version".to_owned());
    }
    match namespaces::refusal(isolation) {
        None => {}
        Some(Refusal::Unsupported(field, reason)) => return unsupported(field, reason),
        Some(Refusal::NotPermitted(field, reason)) => {
            return Some(RequestError::NotPermitted { field: field.to_owned(), reason });
        }
    }
    if let Some(name) = isolation.capabilities.as_deref()
        && let Some(name) = capabilities::unknown_to_the_kernel(name)
    {
        return unsupported(
            "isolation.capabilities",
            format!("this kernel does not know {name:?}"),
        );
    }
    if isolation.seccomp.as_deref().is_some_and(|profile| profile != "none")
        && let Some(reason) = seccomp::why_unavailable()
    {
        return unsupported("isolation.seccomp", reason);
    }
    if isolation.landlock.is_some()
        && let Some(reason) = landlock::why_unavailable()
    {
        return unsupported("isolation.landlock", reason);
    }
    None
}

/// What can be had of what not every build and every kernel has, as the protocol names it.
pub(super) fn features() -> impl Iterator<Item = &'static str> {
    let found = [
        ("namespaces", namespaces::are_available()),
        ("seccomp", seccomp::why_unavailable().is_none()),
        ("landlock", landlock::why_unavailable().is_none()),
    ];
    found.into_iter().filter_map(|(name, available)| available.then_some(name))
}
