//! What of an isolation cannot be had in this version, in this build or from this kernel.

use crate::sys::{capabilities, landlock, mounting, privileges, seccomp};
use crate::vocabulary::{Isolation, RequestError};

/// The first field that is asked for and cannot be had. `restricts_devices`: a group can keep the
/// task to permissions of devices.
pub(super) fn refusal(isolation: &Isolation, restricts_devices: bool) -> Option<RequestError> {
    let unsupported = |field: &str, reason: String| {
        Some(RequestError::Unsupported { feature: field.to_owned(), reason })
    };
    if let Some(field) = privileges::unsupported_field(isolation) {
        return unsupported(field, "not available in this version".to_owned());
    }
    if let Some(field) = mounting::field(isolation) {
        if let Some(reason) = mounting::why_unavailable() {
            return unsupported(field, reason);
        }
        if !capabilities::may_mount() {
            let reason = "a mount namespace takes CAP_SYS_ADMIN: run the supervisor as root";
            return Some(RequestError::NotPermitted {
                field: field.to_owned(),
                reason: reason.to_owned(),
            });
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
    let mounts = mounting::why_unavailable().is_none() && capabilities::may_mount();
    let found = [
        ("mounts", mounts),
        ("devices", mounts),
        ("seccomp", seccomp::why_unavailable().is_none()),
        ("landlock", landlock::why_unavailable().is_none()),
    ];
    found.into_iter().filter_map(|(name, available)| available.then_some(name))
}
