//! Which tasks cannot be, whatever the system: checked before anything is done.

use super::capability::CapabilityName;
use super::error::InvalidField;
use super::limits::{MAX_FILES_MAX, NAME_BYTES_MAX};
use super::resources::{Isolation, Resources};
use super::sink::Sink;
use super::spec::{Setting, TaskSpec};

type Checked = Result<(), InvalidField>;

/// The limits that `rlimits` may name, as getrlimit(2) has them without `RLIMIT_`.
pub(crate) const RLIMIT_NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn refuse(field: impl Into<String>, reason: impl Into<String>) -> Checked {
    Err(InvalidField { field: field.into(), reason: reason.into() })
}

/// Whether a task may have this name: 1 to 200 of `A-Z a-z 0-9 . _ - + @ :`, not starting with `.`
/// or `-`.
///
/// ```
/// assert!(ostler::valid_task_name("web-1"));
/// assert!(!ostler::valid_task_name(".."));
/// ```
pub fn valid_task_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+@:".contains(&b))
}

impl TaskSpec {
    /// Refuses what can be no task on any system, naming the field as the protocol does.
    ///
    /// # Errors
    /// The first field that is wrong, with what would be right.
    pub fn validate(&self) -> Result<(), InvalidField> {
        if let Some(name) = &self.name
            && !valid_task_name(name)
        {
            return refuse(
                "name",
                "must be 1 to 200 of A-Z a-z 0-9 . _ - + @ : and not start with . or -",
            );
        }
        self.validate_command()?;
        self.validate_sinks()?;
        self.validate_settings()?;
        if let Some(cgroup) = &self.cgroup {
            text("cgroup", cgroup)?;
            if cgroup.split('/').any(|part| part == "..") {
                return refuse("cgroup", "must not contain ..");
            }
        }
        if let Some(resources) = &self.resources {
            resources.validate()?;
        }
        if let Some(isolation) = &self.isolation {
            isolation.validate()?;
        }
        Ok(())
    }

    fn validate_command(&self) -> Checked {
        text("command", &self.command)?;
        for (index, arg) in self.args.iter().enumerate() {
            no_nul(|| format!("args[{index}]"), arg)?;
        }
        for (index, entry) in self.env.iter().enumerate() {
            no_nul(|| format!("env[{index}]"), entry)?;
            if !matches!(entry.split_once('='), Some((key, _)) if !key.is_empty()) {
                return refuse(format!("env[{index}]"), "must be KEY=VALUE");
            }
        }
        if let Some(user) = &self.user {
            text("user", user)?;
            if user.split(':').any(str::is_empty) || user.matches(':').count() > 1 {
                return refuse("user", "must be NAME, UID, NAME:GROUP or UID:GID");
            }
        }
        for (field, path) in [("task_dir", &self.task_dir), ("work_dir", &self.work_dir)] {
            if let Some(path) = path {
                absolute(field, path)?;
            }
        }
        Ok(())
    }

    fn validate_sinks(&self) -> Checked {
        validate_sink("stdout", self.stdout())?;
        validate_sink("stderr", self.stderr())?;
        match (self.stdout().path(), self.stderr().path()) {
            (Some(out), Some(err)) if out == err && self.stdout() != self.stderr() => {
                refuse("stderr", "has the path of stdout, so its other fields must be equal")
            }
            _ => Ok(()),
        }
    }

    fn validate_settings(&self) -> Checked {
        if self.restart.interval.is_some_and(|interval| interval.is_zero()) {
            return refuse("restart.interval_ms", "must be above 0");
        }
        for (name, value) in &self.rlimits {
            let field = || format!("rlimits.{name}");
            if !RLIMIT_NAMES.contains(&name.as_str()) {
                return refuse(field(), format!("must be one of {}", RLIMIT_NAMES.join(" ")));
            }
            if let Err(reason) = parse_rlimit(value) {
                return refuse(field(), reason);
            }
        }
        if matches!(self.oom_score_adj, Setting::To(score) if !(-1000..=1000).contains(&score)) {
            return refuse("oom_score_adj", "must be -1000 to 1000");
        }
        if matches!(self.nice, Setting::To(nice) if !(-20..=19).contains(&nice)) {
            return refuse("nice", "must be -20 to 19");
        }
        if matches!(self.umask, Setting::To(umask) if umask > 0o777) {
            return refuse("umask", "must be an octal string of 0 to 777");
        }
        for (key, value) in &self.labels {
            text("labels", key)?;
            no_nul(|| format!("labels.{key}"), value)?;
        }
        for (index, name) in self.after.iter().enumerate() {
            if !valid_task_name(name) {
                return refuse(format!("after[{index}]"), "must be the name of a task");
            }
        }
        Ok(())
    }
}

/// `SOFT` or `SOFT:HARD`, each a number or `unlimited`; one number sets both.
pub(crate) fn parse_rlimit(value: &str) -> Result<(u64, u64), String> {
    let one = |text: &str| match text {
        "unlimited" | "infinity" => Ok(u64::MAX),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| format!("{digits} is too large"))
        }
        _ => Err("must be SOFT or SOFT:HARD, each a number or \"unlimited\"".to_owned()),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    let (soft, hard) = (one(soft)?, one(hard)?);
    if soft > hard {
        Err("the soft limit is above the hard one".to_owned())
    } else {
        Ok((soft, hard))
    }
}

fn validate_sink(stream: &str, sink: &Sink) -> Checked {
    let Some(path) = sink.path() else { return Ok(()) };
    absolute(&format!("{stream}.path"), path)?;
    if path.ends_with('/') {
        return refuse(format!("{stream}.path"), "must name a file, not a directory");
    }
    if let Sink::File(file) = sink {
        if file.max_size == Some(0) {
            return refuse(format!("{stream}.max_size_bytes"), "must be above 0");
        }
        if !(1..=MAX_FILES_MAX).contains(&file.max_files) {
            let reason = format!("must be 1 to {MAX_FILES_MAX}");
            return refuse(format!("{stream}.max_files"), reason);
        }
    }
    Ok(())
}

/// The kernel counts at least 1 ms in at most 1 s.
const CPU_MAX_MIN: f64 = 0.001;
/// More processes no system has (PID_MAX_LIMIT), and pids.max takes no more.
const PIDS_MAX: u64 = 4 << 20;

impl Resources {
    /// Refuses values that no kernel takes.
    pub(crate) fn validate(&self) -> Checked {
        for (field, weight) in [("cpu_weight", self.cpu_weight), ("io_weight", self.io_weight)] {
            if matches!(weight, Some(Some(weight)) if !(1..=10_000).contains(&weight)) {
                return refuse(format!("resources.{field}"), "must be 1 to 10000, or -1");
            }
        }
        if matches!(self.cpu_max, Some(Some(cores)) if !(cores > 0.0 && cores <= 1e6)) {
            return refuse("resources.cpu_max", "must be a number of cores above 0, or -1");
        }
        if matches!(self.cpu_max, Some(Some(cores)) if cores < CPU_MAX_MIN) {
            return refuse("resources.cpu_max", "must be at least 0.001 cores, or -1");
        }
        if matches!(self.pids_max, Some(Some(pids)) if !(1..=PIDS_MAX).contains(&pids)) {
            return refuse("resources.pids_max", "must be 1 to 4194304, or -1");
        }
        if let Some(list) = &self.cpuset
            && !valid_cpu_list(list)
        {
            return refuse("resources.cpuset", "must be a list of CPUs such as 0-3,8");
        }
        Ok(())
    }
}

fn valid_cpu_list(list: &str) -> bool {
    let number = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.len() < 6 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().ok())
            .flatten()
    };
    list.is_empty()
        || list.split(',').all(|part| match part.split_once('-') {
            Some((low, high)) => {
                matches!((number(low), number(high)), (Some(l), Some(h)) if l <= h)
            }
            None => number(part).is_some(),
        })
}

impl Isolation {
    fn validate(&self) -> Checked {
        if let Some(root) = &self.root {
            absolute("isolation.root", root)?;
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            absolute(&format!("isolation.mounts[{index}].source"), &mount.source)?;
            mount_point(&format!("isolation.mounts[{index}].target"), &mount.target)?;
        }
        for (index, device) in self.devices.iter().flatten().enumerate() {
            absolute(&format!("isolation.devices[{index}].source"), &device.source)?;
            let target = device.target.as_ref().unwrap_or(&device.source);
            mount_point(&format!("isolation.devices[{index}].target"), target)?;
            letters(
                &format!("isolation.devices[{index}].permissions"),
                &device.permissions,
                "rwm",
            )?;
        }
        for (index, name) in self.capabilities.iter().flatten().enumerate() {
            if CapabilityName::parse(name).is_none() {
                let reason = format!(
                    "{name:?} is no capability; must be a name of capabilities(7) such as \
                     NET_BIND_SERVICE, or ALL"
                );
                return refuse(format!("isolation.capabilities[{index}]"), reason);
            }
        }
        for (index, rule) in self.landlock.iter().flatten().enumerate() {
            absolute(&format!("isolation.landlock[{index}].path"), &rule.path)?;
            letters(&format!("isolation.landlock[{index}].access"), &rule.access, "rwx")?;
        }
        if self.hostname.is_some() && !self.uts {
            return refuse("isolation.hostname", "needs isolation.uts");
        }
        if let Some(hostname) = &self.hostname {
            text("isolation.hostname", hostname)?;
            if hostname.len() > 64 {
                return refuse("isolation.hostname", "must be at most 64 bytes");
            }
        }
        match self.net.as_deref() {
            None | Some("host" | "none") => {}
            Some(path) => absolute("isolation.net", path)?,
        }
        match self.seccomp.as_deref() {
            None | Some("default" | "none") => {}
            Some(path) => absolute("isolation.seccomp", path)?,
        }
        Ok(())
    }
}

fn letters(field: &str, value: &str, of: &str) -> Checked {
    if value.is_empty() || !value.chars().all(|c| of.contains(c)) {
        return refuse(field, format!("must be letters of {of:?}"));
    }
    Ok(())
}

fn no_nul(field: impl Fn() -> String, value: &str) -> Checked {
    if value.contains('\0') { refuse(field(), "must not contain NUL") } else { Ok(()) }
}

fn text(field: &str, value: &str) -> Checked {
    if value.is_empty() {
        return refuse(field, "must not be empty");
    }
    no_nul(|| field.to_owned(), value)
}

fn absolute(field: &str, path: &str) -> Checked {
    no_nul(|| field.to_owned(), path)?;
    if path.len() >= 4096 {
        return refuse(field, "must be shorter than 4096 bytes");
    }
    if path.starts_with('/') { Ok(()) } else { refuse(field, "must be an absolute path") }
}

/// The rest is for the kernel to see, inside the root.
fn mount_point(field: &str, path: &str) -> Checked {
    absolute(field, path)?;
    let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
    if parts.peek().is_none() {
        return refuse(field, "must not be the root itself: that is isolation.root");
    }
    if parts.any(|part| part == "..") {
        return refuse(field, "must not contain ..");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{FileSink, Leftover, RestartPolicy};
    use std::time::Duration;

    fn field_of(spec: TaskSpec) -> String {
        spec.validate().expect_err("refused").field
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        let ok = TaskSpec { leftover: Leftover::Wait, ..TaskSpec::new("sleep") };
        assert_eq!(ok.validate(), Ok(()));
        assert_eq!(field_of(TaskSpec::new("")), "command");
        assert_eq!(field_of(TaskSpec::new("a\0b")), "command");
        let with = |change: fn(&mut TaskSpec)| {
            let mut spec = ok.clone();
            change(&mut spec);
            field_of(spec)
        };
        assert_eq!(with(|s| s.name = Some("-x".into())), "name");
        assert_eq!(with(|s| s.name = Some("x".repeat(201))), "name");
        assert_eq!(with(|s| s.args = vec!["a".into(), "\0".into()]), "args[1]");
        assert_eq!(with(|s| s.env = vec!["=x".into()]), "env[0]");
        assert_eq!(with(|s| s.user = Some("a:b:c".into())), "user");
        assert_eq!(with(|s| s.work_dir = Some("tmp".into())), "work_dir");
        assert_eq!(with(|s| s.stdout = Some(Sink::File(FileSink::new("x")))), "stdout.path");
        assert_eq!(with(|s| s.stderr = Some(Sink::File(FileSink::new("/x/")))), "stderr.path");
        assert_eq!(
            with(|s| {
                s.stdout = Some(Sink::File(FileSink::new("/x")));
                s.stderr = Some(Sink::Fifo { path: "/x".into(), direct: false });
            }),
            "stderr"
        );
        assert_eq!(
            with(|s| s.restart =
                RestartPolicy { interval: Some(Duration::ZERO), ..Default::default() }),
            "restart.interval_ms"
        );
        assert_eq!(with(|s| drop(s.rlimits.insert("x".into(), "1".into()))), "rlimits.x");
        assert_eq!(with(|s| drop(s.rlimits.insert("cpu".into(), "2:1".into()))), "rlimits.cpu");
        assert_eq!(with(|s| s.oom_score_adj = Setting::To(1001)), "oom_score_adj");
        assert_eq!(with(|s| s.nice = Setting::To(20)), "nice");
        assert_eq!(with(|s| s.umask = Setting::To(0o1000)), "umask");
        assert_eq!(with(|s| s.cgroup = Some("a/../b".into())), "cgroup");
    }

    #[test]
    fn cpu_lists() {
        for list in ["", "0", "0-3", "0-3,8,10-11"] {
            assert!(valid_cpu_list(list), "{list}");
        }
        for list in [",", "3-1", "a", "0-", "1,,2", "9999999"] {
            assert!(!valid_cpu_list(list), "{list}");
        }
    }
}
