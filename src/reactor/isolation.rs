//! What of an isolation cannot be had in this version, in this build or from this kernel.

use crate::sys::namespaces::{self, Refusal};
use crate::sys::{capabilities, landlock, mounting, seccomp};
use crate::vocabulary::{Isolation, RequestError};

/// The first field that is asked for and cannot be had. `restricts_devices`: a group can keep the
/// task to permissions of devices.
pub(super) fn refusal(isolation: &Isolation, restricts_devices: bool) -> Option<RequestError> {
    let unsupported = |field: &str, reason: String| {
        Some(RequestError::Unsupported { feature: field.to_owned(), reason })
    };
    match namespaces::refusal(isolation) {
        None => {}
        Some(Refusal::Unsupported(field, reason)) => return unsupported(field, reason),
        Some(Refusal::NotPermitted(field, reason)) => {
            return Some(RequestError::NotPermitted { field: field.to_owned(), reason });
        }
    }
    if !restricts_devices && let Some(index) = mounting::narrower_permissions(isolation) {
        let reason = "less than rwm needs the devices controller of cgroup v1, which is not to be \
                      had here; without isolation.capabilities MKNOD, rw is rwm";
        return unsupported(&format!("isolation.devices[{index}].permissions"), reason.to_owned());
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
    let namespaces = namespaces::are_available();
    let found = [
        ("namespaces", namespaces),
        ("mounts", namespaces && mounting::why_unavailable().is_none()),
        ("devices", namespaces && mounting::why_unavailable().is_none()),
        ("seccomp", seccomp::why_unavailable().is_none()),
        ("landlock", landlock::why_unavailable().is_none()),
    ];
    found.into_iter().filter_map(|(name, available)| available.then_some(name))
}
