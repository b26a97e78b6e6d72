//! A group that a task names to have its own made inside it: neither written, killed nor removed.

use super::Mounted;
use nix::unistd::{AccessFlags, access};
use std::path::PathBuf;

/// Why a group cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoGroup {
    /// It is no group of v2.
    NotThere(String),
    /// We may make nothing in it.
    NotOurs(String),
}

impl Mounted {
    /// The directory of a group named by its absolute path or relative to the v2 mount; `None`:
    /// there is no v2, or it lies elsewhere.
    pub(crate) fn inside(&self, group: &str) -> Option<PathBuf> {
        let root = self.root.as_ref()?;
        // Joining an absolute path replaces what was there.
        Some(root.join(group)).filter(|path| path.starts_with(root))
    }

    /// Whether a group can be made inside this one.
    pub(crate) fn check_group(&self, group: &str) -> Result<(), NoGroup> {
        let root = self.root.as_deref().unwrap_or(std::path::Path::new("/sys/fs/cgroup"));
        let Some(path) = self.inside(group) else {
            let reason = format!("{group:?} is not below {}, where v2 is", root.display());
            return Err(NoGroup::NotThere(reason));
        };
        if !path.join("cgroup.controllers").exists() || !path.join("cgroup.procs").exists() {
            let reason = format!("no cgroup v2 {}: it must exist", path.display());
            return Err(NoGroup::NotThere(reason));
        }
        access(&path, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
            NoGroup::NotOurs(format!("make a group in {}: {}", path.display(), errno.desc()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::mounted;
    use super::*;

    #[test]
    fn a_group_is_looked_for_below_the_mount_alone() {
        let mut mounted = mounted();
        mounted.root = Some("/sys/fs/cgroup/v2".into());
        assert_eq!(mounted.inside("a/b").unwrap(), PathBuf::from("/sys/fs/cgroup/v2/a/b"));
        assert_eq!(mounted.inside("/sys/fs/cgroup/v2/a").unwrap().file_name().unwrap(), "a");
        assert_eq!(mounted.inside("/sys/fs/cgroup/memory"), None);
        assert!(matches!(mounted.check_group("/tmp"), Err(NoGroup::NotThere(_))));
        assert!(matches!(mounted.check_group("no/such/group"), Err(NoGroup::NotThere(_))));
        mounted.root = None;
        assert_eq!(mounted.inside("a"), None);
    }
}
