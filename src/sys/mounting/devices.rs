//! Which devices a task has: nodes in its /dev, and what the devices controller of cgroup v1
//! allows.

use crate::sys::failure::start_error;
use crate::sys::faults;
use crate::vocabulary::{CapabilityName, Device, Isolation, Stage, StartError};
use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{major, minor, stat};

/// What is in every /dev, as runc has it: name and number. The host's own nodes are mounted there.
pub(super) const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Terminals of the task's own /dev/pts: their multiplexer, and all of them.
const TERMINALS: [&str; 2] = ["c 5:2 rwm", "c 136:* rwm"];

/// CAP_MKNOD.
const CAP_MKNOD: u8 = 27;

/// The field of a device, and what else is told of it.
pub(super) fn purpose(index: usize, device: &Device) -> String {
    let target = device.target.as_deref().unwrap_or(&device.source);
    format!("make device {:?} available as {target:?} (isolation.devices[{index}])", device.source)
}

/// What the devices controller is to allow (devices.rst of the kernel): nothing but these.
///
/// # Errors
/// A source is not there, or is no device.
pub(in crate::sys) fn device_rules(devices: &[Device]) -> Result<Box<[String]>, StartError> {
    let nodes = NODES.iter().map(|(_, major, minor)| format!("c {major}:{minor} rwm"));
    let mut rules: Vec<String> = nodes.chain(TERMINALS.map(str::to_owned)).collect();
    for (index, device) in devices.iter().enumerate() {
        let failed = |errno| start_error(Stage::Mount, errno, purpose(index, device));
        faults::check("stat device").map_err(failed)?;
        let found = stat(device.source.as_str()).map_err(failed)?;
        let kind = match found.st_mode & libc::S_IFMT {
            libc::S_IFCHR => 'c',
            libc::S_IFBLK => 'b',
            _ => {
                let message = format!("{}: it is no device", purpose(index, device));
                return Err(StartError { message, ..failed(Errno::ENODEV) });
            }
        };
        let (major, minor) = (major(found.st_rdev), minor(found.st_rdev));
        rules.push(format!("{kind} {major}:{minor} {}", device.permissions));
    }
    Ok(rules.into())
}

/// The first device with permissions that only the devices controller can keep to. The mode of a
/// node and a mount that is read-only say nothing about what an open device takes; nodes that the
/// task makes itself are of no use to it, but they are there.
pub(crate) fn narrower_permissions(isolation: &Isolation) -> Option<usize> {
    let makes_nodes = isolation.capabilities.as_ref().is_none_or(|names| {
        let parsed = names.iter().filter_map(|name| CapabilityName::parse(name));
        parsed
            .into_iter()
            .any(|name| matches!(name, CapabilityName::All | CapabilityName::One(CAP_MKNOD)))
    });
    let narrower = |device: &Device| {
        let lacks = |letter| !device.permissions.contains(letter);
        lacks('r') || lacks('w') || lacks('m') && makes_nodes
    };
    isolation.devices.iter().flatten().position(narrower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(source: &str, permissions: &str) -> Device {
        Device { source: source.into(), target: None, permissions: permissions.into() }
    }

    #[test]
    fn rules_name_the_number_of_each_device() {
        let rules = device_rules(&[device("/dev/zero", "r")]).unwrap();
        assert_eq!(rules.len(), NODES.len() + TERMINALS.len() + 1);
        assert_eq!(rules.last().unwrap(), "c 1:5 r");
        for (name, major, minor) in NODES {
            let found = device_rules(&[device(&format!("/dev/{name}"), "rwm")]).unwrap();
            assert_eq!(found.last().unwrap(), &format!("c {major}:{minor} rwm"), "{name}");
        }
    }

    #[test]
    fn what_is_no_device_is_named() {
        let error = device_rules(&[device("/dev/null", "r"), device("/etc", "r")]).unwrap_err();
        assert!(error.message.contains("\"/etc\"") && error.message.contains("devices[1]"));
        assert!(error.message.ends_with(": it is no device"), "{error}");
        let error = device_rules(&[device("/no/such", "r")]).unwrap_err();
        assert_eq!((error.stage, error.errno), (Stage::Mount, libc::ENOENT));
    }

    #[test]
    fn without_a_controller_less_than_all_cannot_be_kept_to() {
        let with = |permissions: &str, capabilities: Option<&[&str]>| {
            let isolation = Isolation {
                devices: Some(vec![device("/dev/null", "rwm"), device("/dev/zero", permissions)]),
                capabilities: capabilities.map(|c| c.iter().map(|c| (*c).to_owned()).collect()),
                ..Isolation::default()
            };
            narrower_permissions(&isolation)
        };
        assert_eq!(with("mrw", None), None);
        assert_eq!(with("r", None), Some(1));
        assert_eq!(with("wm", Some(&[])), Some(1));
        assert_eq!(with("rw", None), Some(1));
        assert_eq!(with("rw", Some(&["KILL"])), None);
        assert_eq!(with("rw", Some(&["MKNOD"])), Some(1));
        assert_eq!(with("rw", Some(&["all"])), Some(1));
    }
}
