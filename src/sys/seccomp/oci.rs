//! Profiles of the OCI runtime specification (config-linux.md, seccomp), and what those of Docker
//! and Podman have in addition: `archMap`, `includes`, `excludes`, and errors by name.

use super::compile::{Profile, Rule};
use super::syscalls;
use crate::sys::own_process;
use crate::vocabulary::{CapabilityName, CapabilitySet};
use nix::errno::Errno;
use nix::libc;
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
use serde_json::{Map, Value};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: (&str, &str) = ("SCMP_ARCH_X86_64", "amd64");
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: (&str, &str) = ("SCMP_ARCH_AARCH64", "arm64");

/// What the kernel takes as an errno.
const ERRNO_MAX: u64 = 4095;

/// `FIELD: what is wrong`.
type Read<T> = Result<T, String>;

/// Reads a profile for a task that will have these capabilities.
pub(super) fn parse(text: &[u8], kept: CapabilitySet) -> Read<Profile> {
    let value: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Value::Object(map) = value else { return Err("must be a JSON object".to_owned()) };
    let mut root = Object { map, path: String::new() };
    root.take("comment");
    architectures(&mut root)?;
    let default_errno = errno(&mut root, "defaultErrnoRet", "defaultErrno")?;
    let default = action(&mut root, "defaultAction", default_errno)?;
    let flags = flags(&mut root)?;
    let mut rules = Vec::new();
    for mut object in root.objects("syscalls")? {
        rules.extend(rule(&mut object, kept)?);
        object.finish()?;
    }
    root.finish()?;
    Ok(Profile { default, rules, flags })
}

/// An object, its fields taken one by one.
struct Object {
    map: Map<String, Value>,
    /// With a dot at its end, or empty.
    path: String,
}

impl Object {
    /// `None`: absent or null.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    fn wrong<T>(&self, key: &str, reason: &str) -> Read<T> {
        Err(format!("{}{key}: {reason}", self.path))
    }

    fn text(&mut self, key: &str) -> Read<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => self.wrong(key, "must be a string"),
        }
    }

    fn number(&mut self, key: &str, maximum: u64) -> Read<Option<u64>> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match value.as_u64().filter(|number| *number <= maximum) {
                Some(number) => Ok(Some(number)),
                None => self.wrong(key, &format!("must be a number of 0 to {maximum}")),
            },
        }
    }

    fn list(&mut self, key: &str) -> Read<Vec<Value>> {
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => self.wrong(key, "must be a list"),
        }
    }

    fn texts(&mut self, key: &str) -> Read<Vec<String>> {
        let mut texts = Vec::new();
        for (index, value) in self.list(key)?.into_iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text),
                _ => return self.wrong(&format!("{key}[{index}]"), "must be a string"),
            }
        }
        Ok(texts)
    }

    fn objects(&mut self, key: &str) -> Read<Vec<Object>> {
        let mut objects = Vec::new();
        for (index, value) in self.list(key)?.into_iter().enumerate() {
            match value {
                Value::Object(map) => {
                    objects.push(Object { map, path: format!("{}{key}[{index}].", self.path) });
                }
                _ => return self.wrong(&format!("{key}[{index}]"), "must be an object"),
            }
        }
        Ok(objects)
    }

    fn object(&mut self, key: &str) -> Read<Object> {
        let path = format!("{}{key}.", self.path);
        match self.take(key) {
            None => Ok(Object { map: Map::new(), path }),
            Some(Value::Object(map)) => Ok(Object { map, path }),
            Some(_) => self.wrong(key, "must be an object"),
        }
    }

    /// Nothing that was asked for is left out silently.
    fn finish(&self) -> Read<()> {
        match self.map.iter().find(|(_, value)| !value.is_null()) {
            Some((key, _)) => self.wrong(key, "is not known here"),
            None => Ok(()),
        }
    }
}

/// The profile has to be for this processor. Programs for others, of 32 bits too, are killed at
/// their first call.
fn architectures(root: &mut Object) -> Read<()> {
    let mut named = root.texts("architectures")?;
    for mut entry in root.objects("archMap")? {
        named.extend(entry.text("architecture")?);
        entry.texts("subArchitectures")?;
        entry.finish()?;
    }
    match named.is_empty() || named.iter().any(|name| name == ARCHITECTURE.0) {
        true => Ok(()),
        false => root.wrong("architectures", &format!("must name {}", ARCHITECTURE.0)),
    }
}

fn flags(root: &mut Object) -> Read<u32> {
    let mut flags = 0;
    for (index, name) in root.texts("flags")?.into_iter().enumerate() {
        flags |= match name.as_str() {
            // The filter is loaded by the only thread there is.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG as u32,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32,
            _ => return root.wrong(&format!("flags[{index}]"), "is not supported"),
        };
    }
    Ok(flags)
}

/// As a number, and by name as Podman's profiles have it too.
fn errno(object: &mut Object, number: &str, name: &str) -> Read<Option<u64>> {
    let by_number = object.number(number, ERRNO_MAX)?;
    let Some(text) = object.text(name)? else { return Ok(by_number) };
    let is_named = |errno: &i32| format!("{:?}", Errno::from_raw(*errno)) == text;
    match (1..256).find(is_named).map(|errno| errno as u64) {
        None => object.wrong(name, &format!("there is no error {text:?}")),
        named if by_number.is_some() && by_number != named => {
            object.wrong(name, &format!("is not the error of {number}"))
        }
        named => Ok(named),
    }
}

fn action(object: &mut Object, key: &str, errno: Option<u64>) -> Read<SeccompAction> {
    let Some(name) = object.text(key)? else { return object.wrong(key, "is missing") };
    let number = errno.unwrap_or(libc::EPERM as u64) as u32;
    Ok(match name.as_str() {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(number),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(number),
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_NOTIFY" => {
            return object.wrong(key, "SCMP_ACT_NOTIFY is not supported: nobody would answer");
        }
        _ => return object.wrong(key, &format!("there is no action {name:?}")),
    })
}

/// `None`: it is for other processors, kernels or capabilities.
fn rule(object: &mut Object, kept: CapabilitySet) -> Read<Option<Rule>> {
    object.take("comment");
    let mut names = object.texts("names")?;
    names.extend(object.text("name")?);
    if names.is_empty() {
        return object.wrong("names", "is missing");
    }
    let errno = errno(object, "errnoRet", "errno")?;
    let action = action(object, "action", errno)?;
    let conditions = conditions(object)?;
    let included = applies(object, "includes", kept)?;
    let excluded = applies(object, "excludes", kept)?;
    // Calls that this processor does not have cannot be made either.
    let calls = names.iter().filter_map(|name| syscalls::number(name)).collect();
    let wanted = included.all && !excluded.any;
    Ok(wanted.then_some(Rule { calls, conditions, action }))
}

/// All conditions of a rule have to hold; if several are about the same argument, one of them (as
/// runc has it).
fn conditions(object: &mut Object) -> Read<Vec<Vec<SeccompCondition>>> {
    let mut conditions: Vec<(u64, SeccompCondition)> = Vec::new();
    for mut argument in object.objects("args")? {
        let Some(index) = argument.number("index", 5)? else {
            return argument.wrong("index", "is missing");
        };
        let value = argument.number("value", u64::MAX)?.unwrap_or(0);
        let second = argument.number("valueTwo", u64::MAX)?.unwrap_or(0);
        let name = argument.text("op")?.unwrap_or_default();
        let (operator, value) = match name.as_str() {
            "SCMP_CMP_NE" => (SeccompCmpOp::Ne, value),
            "SCMP_CMP_LT" => (SeccompCmpOp::Lt, value),
            "SCMP_CMP_LE" => (SeccompCmpOp::Le, value),
            "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, value),
            "SCMP_CMP_GE" => (SeccompCmpOp::Ge, value),
            "SCMP_CMP_GT" => (SeccompCmpOp::Gt, value),
            "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(value), second),
            _ => return argument.wrong("op", &format!("there is no comparison {name:?}")),
        };
        let length = SeccompCmpArgLen::Qword;
        let condition = SeccompCondition::new(index as u8, length, operator, value)
            .map_err(|error| format!("{}op: {error}", argument.path))?;
        conditions.push((index, condition));
        argument.finish()?;
    }
    let repeated = conditions.iter().enumerate().any(|(place, (index, _))| {
        conditions.iter().skip(place + 1).any(|(other, _)| other == index)
    });
    let conditions = conditions.into_iter().map(|(_, condition)| condition);
    Ok(match repeated {
        true => conditions.map(|condition| vec![condition]).collect(),
        false => {
            Some(conditions.collect::<Vec<_>>()).filter(|all| !all.is_empty()).into_iter().collect()
        }
    })
}

/// How much of what a rule names is the case here.
struct Applies {
    all: bool,
    any: bool,
}

fn applies(object: &mut Object, key: &str, kept: CapabilitySet) -> Read<Applies> {
    let mut wanted = object.object(key)?;
    let mut found = Applies { all: true, any: false };
    let mut note = |is_so: bool| {
        found.all &= is_so;
        found.any |= is_so;
    };
    for (index, name) in wanted.texts("caps")?.iter().enumerate() {
        match CapabilityName::parse(name) {
            Some(CapabilityName::One(number)) => note(kept.has(number)),
            _ => return wanted.wrong(&format!("caps[{index}]"), "is no capability"),
        }
    }
    let processors = wanted.texts("arches")?;
    if !processors.is_empty() {
        note(processors.iter().any(|name| name == ARCHITECTURE.1));
    }
    if let Some(release) = wanted.text("minKernel")? {
        let numbers = release.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
        let Some((Ok(major), Ok(minor))) = numbers else {
            return wanted.wrong("minKernel", "must be as in 4.8");
        };
        note(own_process::kernel_is_at_least(major, minor));
    }
    wanted.finish()?;
    Ok(found)
}

#[cfg(test)]
mod tests;
