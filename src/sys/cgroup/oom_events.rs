//! Learning that the OOM killer came to a group of v1, which cannot be told to kill all of it.

use super::limits::{Failed, Limits};
use super::settings;
use crate::sys::faults;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

impl Limits {
    /// A descriptor that is readable once the OOM killer was called for a run; `None`: v1 has no
    /// group of it that counts memory.
    pub(crate) fn watch_oom(&self, run: &str) -> Option<Result<OwnedFd, Failed>> {
        let control = |group: &PathBuf| group.join(settings::OOM_CONTROL).exists();
        let group = self.groups(run).into_iter().find(control)?;
        Some(watch(&group).map_err(|errno| {
            let tried = format!("watch for the OOM killer in {}", group.display());
            Failed { field: settings::MEMORY_OOM_GROUP, tried, errno }
        }))
    }
}

/// The event of `memory.oom_control` (cgroup-v1/memory, "OOM Control").
fn watch(group: &Path) -> Result<OwnedFd, Errno> {
    faults::check("eventfd2")?;
    let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    let opened = |name: &str, mode: OFlag| {
        faults::check("open(oom event)")?;
        open(&group.join(name), mode | OFlag::O_CLOEXEC, Mode::empty())
    };
    let control = opened(settings::OOM_CONTROL, OFlag::O_RDONLY)?;
    let registry = opened("cgroup.event_control", OFlag::O_WRONLY)?;
    let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
    faults::check("write(cgroup.event_control)")?;
    nix::unistd::write(&registry, line.as_bytes())?;
    Ok(event.into())
}
