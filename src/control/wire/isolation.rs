//! Isolation in JSON.

use super::fields::{Fields, Refusal};
use super::task::is_false;
use crate::vocabulary::{Device, Isolation, Mount, PathRule, Propagation};
use serde::Serialize;

/// `Isolation` as the protocol has it.
#[derive(Serialize)]
pub(super) struct IsolationShape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<DeviceShape<'a>>>,
    #[serde(skip_serializing_if = "is_false")]
    pid: bool,
    #[serde(skip_serializing_if = "is_false")]
    ipc: bool,
    #[serde(skip_serializing_if = "is_false")]
    uts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<&'a [String]>,
    #[serde(skip_serializing_if = "is_false")]
    no_new_privs: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seccomp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    landlock: Option<Vec<PathRuleShape<'a>>>,
}

#[derive(Serialize)]
struct MountShape<'a> {
    source: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    propagation: Option<&'static str>,
}

#[derive(Serialize)]
struct DeviceShape<'a> {
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    permissions: &'a str,
}

#[derive(Serialize)]
struct PathRuleShape<'a> {
    path: &'a str,
    access: &'a str,
}

impl<'a> IsolationShape<'a> {
    pub(super) fn of(isolation: &'a Isolation) -> IsolationShape<'a> {
        IsolationShape {
            root: isolation.root.as_deref(),
            mounts: isolation.mounts.iter().map(MountShape::of).collect(),
            devices: (isolation.devices.as_ref())
                .map(|devices| devices.iter().map(DeviceShape::of).collect()),
            pid: isolation.pid,
            ipc: isolation.ipc,
            uts: isolation.uts,
            hostname: isolation.hostname.as_deref(),
            net: isolation.net.as_deref(),
            capabilities: isolation.capabilities.as_deref(),
            no_new_privs: isolation.no_new_privs,
            seccomp: isolation.seccomp.as_deref(),
            landlock: (isolation.landlock.as_ref()).map(|rules| {
                let shape =
                    |rule: &'a PathRule| PathRuleShape { path: &rule.path, access: &rule.access };
                rules.iter().map(shape).collect()
            }),
        }
    }
}

impl<'a> MountShape<'a> {
    fn of(mount: &'a Mount) -> MountShape<'a> {
        let propagation = match mount.propagation {
            Propagation::Private => None,
            Propagation::Slave => Some("slave"),
            Propagation::Shared => Some("shared"),
        };
        MountShape {
            source: &mount.source,
            target: &mount.target,
            read_only: mount.read_only,
            propagation,
        }
    }
}

impl<'a> DeviceShape<'a> {
    fn of(device: &'a Device) -> DeviceShape<'a> {
        DeviceShape {
            source: &device.source,
            target: device.target.as_deref(),
            permissions: &device.permissions,
        }
    }
}

/// Reads an `Isolation`.
pub(super) fn decode(mut fields: Fields) -> Result<Isolation, Refusal> {
    let isolation = Isolation {
        root: fields.string("root")?,
        mounts: fields.list("mounts", decode_mount)?.unwrap_or_default(),
        devices: fields.list("devices", decode_device)?,
        pid: fields.flag("pid")?.unwrap_or_default(),
        ipc: fields.flag("ipc")?.unwrap_or_default(),
        uts: fields.flag("uts")?.unwrap_or_default(),
        hostname: fields.string("hostname")?,
        net: fields.string("net")?,
        capabilities: fields.strings("capabilities")?,
        no_new_privs: fields.flag("no_new_privs")?.unwrap_or_default(),
        seccomp: fields.string("seccomp")?,
        landlock: fields.list("landlock", decode_rule)?,
    };
    fields.finish()?;
    Ok(isolation)
}

fn decode_mount(path: &str, value: serde_json::Value) -> Result<Mount, Refusal> {
    const PROPAGATIONS: [(&str, Propagation); 3] = [
        ("private", Propagation::Private),
        ("slave", Propagation::Slave),
        ("shared", Propagation::Shared),
    ];
    let mut fields = Fields::of(path, value)?;
    let mount = Mount {
        source: fields.required_string("source")?,
        target: fields.required_string("target")?,
        read_only: fields.flag("read_only")?.unwrap_or_default(),
        propagation: fields.one_of("propagation", &PROPAGATIONS)?.unwrap_or_default(),
    };
    fields.finish()?;
    Ok(mount)
}

fn decode_device(path: &str, value: serde_json::Value) -> Result<Device, Refusal> {
    let mut fields = Fields::of(path, value)?;
    let device = Device {
        source: fields.required_string("source")?,
        target: fields.string("target")?,
        permissions: fields.string("permissions")?.unwrap_or_else(|| "rwm".to_owned()),
    };
    fields.finish()?;
    Ok(device)
}

fn decode_rule(path: &str, value: serde_json::Value) -> Result<PathRule, Refusal> {
    let mut fields = Fields::of(path, value)?;
    let rule = PathRule {
        path: fields.required_string("path")?,
        access: fields.required_string("access")?,
    };
    fields.finish()?;
    Ok(rule)
}
