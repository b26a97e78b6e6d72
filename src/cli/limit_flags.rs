//! From the flags of limits and isolation to what a task asks for.

use super::arguments::{IsolationFlags, PrivateNamespace, ResourceFlags};
use super::failure::UsageError;
use super::task_flags::{Parsed, join, refuse};
use super::units::parse_size;
use crate::vocabulary::{Device, Isolation, Mount, PathRule, Propagation, Resources};
use std::fmt::Display;

impl ResourceFlags {
    /// The limits that are asked for; `none` and -1 lift one.
    pub(crate) fn to_resources(&self) -> Parsed<Resources> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| not_a_number(text));
        let cores = |text: &str| text.parse::<f64>().map_err(|_| not_a_number(text));
        Ok(Resources {
            cpu_weight: limit("cpu-weight", &self.cpu_weight, number)?,
            cpu_max: limit("cpu-max", &self.cpu_max, cores)?,
            cpuset: self.cpuset.as_ref().map(|list| match list.as_str() {
                "none" | "-1" => String::new(),
                list => list.to_owned(),
            }),
            memory_low: limit("memory-low", &self.memory_low, parse_size)?,
            memory_high: limit("memory-high", &self.memory_high, parse_size)?,
            memory_max: limit("memory-max", &self.memory_max, parse_size)?,
            memory_swap_max: limit("memory-swap-max", &self.memory_swap_max, parse_size)?,
            memory_oom_group: self.memory_oom_group,
            pids_max: limit("pids-max", &self.pids_max, number)?,
            io_weight: limit("io-weight", &self.io_weight, number)?,
        })
    }
}

fn not_a_number(text: &str) -> String {
    format!("{text:?} is not a number, nor none")
}

fn limit<T, E: Display>(
    flag: &str,
    text: &Option<String>,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Parsed<Option<Option<T>>> {
    match text.as_deref() {
        None => Ok(None),
        Some("none" | "-1") => Ok(Some(None)),
        Some(text) => match parse(text) {
            Ok(value) => Ok(Some(Some(value))),
            Err(why) => refuse(flag, why),
        },
    }
}

impl IsolationFlags {
    /// What the task is kept from. Relative paths of the caller become absolute by `current`.
    pub(crate) fn to_isolation(&self, current: &str) -> Parsed<Isolation> {
        let capabilities = match self.capabilities.as_slice() {
            [] => None,
            [one] if one == "none" || one.is_empty() => Some(Vec::new()),
            several if several.iter().any(|cap| cap == "none") => {
                return refuse("cap", "none stands alone");
            }
            several => Some(several.to_vec()),
        };
        let path_or = |words: &[&str], text: &Option<String>| {
            text.as_ref().map(|text| match words.contains(&text.as_str()) {
                true => text.clone(),
                false => join(current, text),
            })
        };
        // Rules are about what the task sees.
        let inside = self.root.is_none().then_some(current);
        let private = |namespace| self.private.contains(&namespace);
        Ok(Isolation {
            root: self.root.as_deref().map(|root| join(current, root)),
            mounts: self.mounts.iter().map(|text| mount(text, current)).collect::<Parsed<_>>()?,
            devices: some_of(&self.devices, |text| device(text, current))?,
            pid: private(PrivateNamespace::Pid),
            ipc: private(PrivateNamespace::Ipc),
            uts: private(PrivateNamespace::Uts),
            hostname: self.hostname.clone(),
            net: path_or(&["host", "none"], &self.net),
            capabilities,
            no_new_privs: self.no_new_privs,
            seccomp: path_or(&["default", "none"], &self.seccomp),
            landlock: some_of(&self.landlock, |text| Ok(path_rule(text, inside)))?,
        })
    }
}

fn some_of<T>(texts: &[String], read: impl Fn(&str) -> Parsed<T>) -> Parsed<Option<Vec<T>>> {
    if texts.is_empty() {
        return Ok(None);
    }
    texts.iter().map(|text| read(text)).collect::<Parsed<_>>().map(Some)
}

fn mount(text: &str, current: &str) -> Parsed<Mount> {
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return refuse("mount", format_args!("{text:?} is not SRC:DST[:OPTIONS]"));
    };
    let mut mount = Mount {
        source: join(current, source),
        target: target.to_owned(),
        read_only: false,
        propagation: Propagation::default(),
    };
    for option in parts.next().into_iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "private" => mount.propagation = Propagation::Private,
            "slave" => mount.propagation = Propagation::Slave,
            "shared" => mount.propagation = Propagation::Shared,
            _ => {
                let why = "only ro, rw, private, slave and shared";
                return refuse("mount", format_args!("there is no option {option:?}, {why}"));
            }
        }
    }
    Ok(mount)
}

fn device(text: &str, current: &str) -> Parsed<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let all = "rwm";
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (source, None, all),
        // As Docker has it: SRC:rw.
        [source, second] if !second.starts_with('/') => (source, None, *second),
        [source, target] => (source, Some(*target), all),
        [source, target, permissions] => (source, Some(*target), *permissions),
        _ => return refuse("device", format_args!("{text:?} is not SRC[:DST[:rwm]]")),
    };
    Ok(Device {
        source: join(current, source),
        target: target.map(str::to_owned),
        permissions: permissions.to_owned(),
    })
}

/// `current`: where relative paths begin; without one they stay as they are, to be refused.
fn path_rule(text: &str, current: Option<&str>) -> PathRule {
    let join = |path: &str| current.map_or_else(|| path.to_owned(), |from| join(from, path));
    // A path may have a colon in it: only letters of access end one.
    let is_access = |access: &str| !access.is_empty() && access.chars().all(|c| "rwx".contains(c));
    match text.rsplit_once(':') {
        Some((path, access)) if is_access(access) => {
            PathRule { path: join(path), access: access.to_owned() }
        }
        _ => PathRule { path: join(text), access: "rwx".to_owned() },
    }
}

impl From<crate::vocabulary::InvalidField> for UsageError {
    fn from(field: crate::vocabulary::InvalidField) -> UsageError {
        UsageError(field.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_lifted_or_left() {
        let text = |text: &str| Some(text.to_owned());
        let flags = ResourceFlags {
            cpu_max: text("0.5"),
            memory_max: text("1GiB"),
            memory_high: text("none"),
            pids_max: text("-1"),
            cpuset: text("none"),
            ..ResourceFlags::default()
        };
        let limits = Resources {
            cpu_max: Some(Some(0.5)),
            memory_max: Some(Some(1 << 30)),
            memory_high: Some(None),
            pids_max: Some(None),
            cpuset: Some(String::new()),
            ..Resources::default()
        };
        assert_eq!(flags.to_resources(), Ok(limits));
    }

    #[test]
    fn devices_and_path_rules_have_short_forms() {
        let read = |text| device(text, "/dev").map(|d| (d.source, d.target, d.permissions));
        let own = str::to_owned;
        assert_eq!(read("/dev/a"), Ok((own("/dev/a"), None, own("rwm"))));
        assert_eq!(read("/dev/a:r"), Ok((own("/dev/a"), None, own("r"))));
        assert_eq!(read("a:/b"), Ok((own("/dev/a"), Some(own("/b")), own("rwm"))));
        assert_eq!(read("a:/b:rw"), Ok((own("/dev/a"), Some(own("/b")), own("rw"))));
        let rule = |text| path_rule(text, Some("/")).access;
        assert_eq!((rule("/a:rx"), rule("/a"), rule("/a:b")), (own("rx"), own("rwx"), own("rwx")));
    }
}
