//! Filters of system calls (seccomp(2)), made before the clone.

mod compile;
mod default_profile;
mod oci;
mod syscalls;

use super::faults;
use super::mounts::Mounts;
use super::program::Filter;
use super::raw::call;
use crate::vocabulary::limits::SECCOMP_PROFILE_BYTES_MAX;
use crate::vocabulary::{CapabilitySet, Stage, StartError, Wall};
use nix::errno::Errno;
use nix::libc;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Why there are no filters here; `None`: there are.
pub(crate) fn why_unavailable() -> Option<String> {
    let action = libc::SECCOMP_RET_ERRNO;
    let pointer = std::ptr::from_ref(&action) as usize;
    match call(libc::SYS_seccomp, [libc::SECCOMP_GET_ACTION_AVAIL as usize, 0, pointer]) {
        Ok(_) => None,
        Err(errno) => {
            Some(format!("this kernel has no seccomp filters ({})", Errno::from_raw(errno).desc()))
        }
    }
}

/// The filters of `default` or of the profile at that path, in the order in which the child loads
/// them. `kept` are the capabilities that the task will have.
pub(super) fn filters(
    wanted: &str,
    kept: CapabilitySet,
    mounts: &mut Mounts,
) -> Result<Vec<Filter>, StartError> {
    let profile = match wanted {
        "default" => default_profile::profile(kept),
        path => {
            let text = read(Path::new(path), mounts)?;
            oci::parse(&text, kept)
        }
    };
    let filters = profile.and_then(|profile| compile::compile(&profile));
    filters.map_err(|reason| StartError {
        stage: Stage::Seccomp,
        errno: 0,
        errno_name: String::new(),
        message: format!("use seccomp profile {wanted:?}: {reason}"),
        retry: false,
        time: Wall::default(),
    })
}

fn read(path: &Path, mounts: &mut Mounts) -> Result<Vec<u8>, StartError> {
    let failed = |errno| {
        let tried = format!("read seccomp profile {:?}", path.display().to_string());
        super::failure::start_error(Stage::Seccomp, errno, tried)
    };
    let refused = |errno, reason: &str| {
        let error: StartError = failed(errno);
        StartError { message: format!("{} ({reason})", error.message), ..error }
    };
    if !mounts.are_local(std::iter::once(path)) {
        let reason = "on a file system whose server may keep us waiting; copy it to a local one";
        return Err(refused(Errno::EXDEV, reason));
    }
    let os = |error: io::Error| failed(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
    faults::check("open seccomp profile").map_err(failed)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(os)?;
    if !file.metadata().map_err(os)?.is_file() {
        return Err(refused(Errno::EINVAL, "it is no regular file"));
    }
    let mut text = Vec::new();
    faults::check("read seccomp profile").map_err(failed)?;
    file.take(SECCOMP_PROFILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(os)?;
    if text.len() as u64 > SECCOMP_PROFILE_BYTES_MAX {
        let reason = format!("it has more than {SECCOMP_PROFILE_BYTES_MAX} bytes");
        return Err(refused(Errno::EFBIG, &reason));
    }
    Ok(text)
}
