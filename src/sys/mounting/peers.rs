//! Whether a mount can pass on what is mounted in it later: where it cannot, nobody would ever
//! know.

use super::lay_out::purpose;
use crate::sys::failure::start_error;
use crate::sys::mounts::{Mounts, Peers};
use crate::vocabulary::{Isolation, Propagation, Stage, StartError};
use nix::errno::Errno;
use std::path::Path;

/// Looks at the source of each mount that is to be shared or a slave.
///
/// # Errors
/// The first one that cannot be.
pub(in crate::sys) fn check_peers(
    isolation: &Isolation,
    in_user_namespace: bool,
    mounts: &mut Mounts,
) -> Result<(), StartError> {
    for (index, mount) in isolation.mounts.iter().enumerate() {
        if mount.propagation == Propagation::Private {
            continue;
        }
        let refused = |errno, hint: String| {
            let error = start_error(Stage::Mount, errno, purpose(index, mount));
            Err(StartError { message: format!("{} ({hint})", error.message), ..error })
        };
        if mount.propagation == Propagation::Shared && in_user_namespace {
            let hint = "without root nothing can be shared with the host: use slave";
            return refused(Errno::EPERM, hint.to_owned());
        }
        let peers = mounts.peers(Path::new(&mount.source)).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::ENOENT));
            start_error(Stage::Mount, errno, format!("{}: read mounts", purpose(index, mount)))
        })?;
        if let Some(hint) = missing(mount.propagation, &peers) {
            return refused(Errno::EINVAL, hint);
        }
    }
    Ok(())
}

/// What is in the way.
fn missing(wanted: Propagation, peers: &Peers) -> Option<String> {
    let point = peers.point.display();
    match wanted {
        Propagation::Shared if !peers.shared => Some(format!(
            "what is mounted at {point} is not shared on the host: mount --make-shared {point}"
        )),
        Propagation::Slave if !peers.shared && !peers.slave => Some(format!(
            "what is mounted at {point} is private on the host: mount --make-shared {point}"
        )),
        _ => None,
    }
}
