//! The devices controller of cgroup v1: which devices the processes of a run may use. v2 has none,
//! only programs of BPF.

use super::controllers::{Controller, write};
use super::v1;
use super::{Failed, Limits, Mounted, System};
use std::path::PathBuf;

const FIELD: &str = "isolation.devices";

/// Whether the devices of a run can probably be restricted.
pub(crate) fn can_restrict_devices(mounted: &Mounted) -> bool {
    mounted.v1.iter().any(|(found, own)| *found == Controller::Devices && v1::may_hold(own, *found))
}

impl Limits {
    /// Makes a group for a run in which only these devices may be used (devices.rst of the kernel).
    /// `None`: there is no such controller. After an error the run may have other groups.
    pub(crate) fn restrict_devices(
        &mut self,
        system: System<'_>,
        run: &str,
        rules: &[String],
    ) -> Result<Option<PathBuf>, Failed> {
        let Some(branch) = self.branch(system, Controller::Devices) else { return Ok(None) };
        let index = branch.map_err(|super::NoTree(reason)| Failed {
            field: FIELD,
            tried: reason,
            errno: nix::errno::Errno::EACCES,
        })?;
        self.add_groups(run, &[(index, Controller::Devices, FIELD)])?;
        let Some(group) = self.group(run, index) else { return Ok(None) };
        let deny = std::iter::once(("devices.deny", "a"));
        let allow = rules.iter().map(|rule| ("devices.allow", rule.as_str()));
        for (file, rule) in deny.chain(allow) {
            let file = group.join(file);
            write(&file, rule).map_err(|errno| {
                let tried = format!("write {rule:?} into {}", file.display());
                Failed { field: FIELD, tried, errno }
            })?;
        }
        Ok(Some(group))
    }
}
