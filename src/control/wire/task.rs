//! Tasks in JSON.

use super::fields::{Fields, Refusal};
use super::isolation::{self, IsolationShape};
use super::limits::{ResourcesShape, decode_resources};
use super::sink::{AskedSink, SinkShape};
use crate::vocabulary::{InvalidField, Leftover, RestartMode, RestartPolicy, Setting, TaskSpec};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// `Task` as the protocol has it.
#[derive(Serialize)]
pub(crate) struct TaskShape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    command: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    args: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    env: &'a [String],
    #[serde(skip_serializing_if = "is_false")]
    inherit_env: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_dir: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<SinkShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<SinkShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill_signal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kill_timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    stop_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    leftover: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<RestartShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ResourcesShape<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<IsolationShape<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rlimits: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nice: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    umask: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    auto_remove: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RestartShape {
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_delay_ms: Option<u64>,
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

/// Whole milliseconds, rounded up: a short wait is never no wait.
fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn set<T: Copy>(setting: Setting<T>) -> Option<T> {
    match setting {
        Setting::To(value) => Some(value),
        Setting::Default | Setting::Inherit => None,
    }
}

impl<'a> TaskShape<'a> {
    /// The task as it was given, without what has its default.
    pub(crate) fn of(spec: &'a TaskSpec) -> TaskShape<'a> {
        TaskShape::named(spec, spec.name.as_deref())
    }

    /// The same, under the name it got.
    pub(crate) fn named(spec: &'a TaskSpec, name: Option<&'a str>) -> TaskShape<'a> {
        let restart = &spec.restart;
        TaskShape {
            name,
            command: &spec.command,
            args: &spec.args,
            env: &spec.env,
            inherit_env: spec.inherit_env,
            user: spec.user.as_deref(),
            task_dir: spec.task_dir.as_deref(),
            work_dir: spec.work_dir.as_deref(),
            stdout: spec.stdout.as_ref().map(SinkShape::of),
            stderr: spec.stderr.as_ref().map(SinkShape::of),
            kill_signal: spec.kill_signal.map(|signal| signal.to_string()),
            kill_timeout_ms: spec.kill_timeout.map(milliseconds),
            stop_all: spec.stop_all,
            leftover: match spec.leftover {
                Leftover::Kill => None,
                Leftover::Wait => Some("wait"),
                Leftover::Leave => Some("leave"),
            },
            restart: (*restart != RestartPolicy::default()).then(|| RestartShape::of(restart)),
            resources: spec.resources.as_deref().map(ResourcesShape::of),
            cgroup: spec.cgroup.as_deref(),
            isolation: spec.isolation.as_deref().map(IsolationShape::of),
            rlimits: &spec.rlimits,
            oom_score_adj: set(spec.oom_score_adj),
            nice: set(spec.nice),
            umask: set(spec.umask).map(|bits| format!("{bits:03o}")),
            auto_remove: spec.auto_remove,
            labels: &spec.labels,
        }
    }
}

impl RestartShape {
    fn of(policy: &RestartPolicy) -> RestartShape {
        RestartShape {
            mode: match policy.mode {
                RestartMode::Never => "never",
                RestartMode::OnFailure => "on_failure",
                RestartMode::Always => "always",
            },
            attempts: policy.attempts.map(|attempts| attempts.map_or(-1, i64::from)),
            interval_ms: policy.interval.map(milliseconds),
            delay_ms: policy.delay.map(milliseconds),
            max_delay_ms: policy.max_delay.map(milliseconds),
        }
    }
}

/// Reads a `Task` and checks it.
pub(crate) fn decode_task(mut fields: Fields) -> Result<TaskSpec, Refusal> {
    const LEFTOVERS: [(&str, Leftover); 3] =
        [("kill", Leftover::Kill), ("wait", Leftover::Wait), ("leave", Leftover::Leave)];
    let (stdout, stderr) = decode_sinks(&mut fields)?;
    let spec = TaskSpec {
        name: fields.string("name")?,
        command: fields.required_string("command")?,
        args: fields.strings("args")?.unwrap_or_default(),
        env: fields.strings("env")?.unwrap_or_default(),
        inherit_env: fields.flag("inherit_env")?.unwrap_or_default(),
        user: fields.string("user")?,
        task_dir: fields.string("task_dir")?,
        work_dir: fields.string("work_dir")?,
        stdout,
        stderr,
        kill_signal: fields.signal("kill_signal").map_err(|refusal| match refusal {
            Refusal::Signal(signal) => invalid("kill_signal", signal.to_string()),
            other => other,
        })?,
        kill_timeout: fields.milliseconds("kill_timeout_ms")?,
        stop_all: fields.flag("stop_all")?.unwrap_or_default(),
        leftover: fields.one_of("leftover", &LEFTOVERS)?.unwrap_or_default(),
        restart: fields.object("restart")?.map(decode_restart).transpose()?.unwrap_or_default(),
        resources: (fields.object("resources")?.map(decode_resources).transpose()?).map(Box::new),
        cgroup: fields.string("cgroup")?,
        isolation: (fields.object("isolation")?.map(isolation::decode).transpose()?).map(Box::new),
        rlimits: fields.table("rlimits")?.unwrap_or_default(),
        oom_score_adj: setting(fields.signed("oom_score_adj")?),
        nice: setting(fields.signed("nice")?),
        umask: setting(fields.string("umask")?.map(|text| octal(&text)).transpose()?),
        auto_remove: fields.flag("auto_remove")?.unwrap_or_default(),
        labels: fields.table("labels")?.unwrap_or_default(),
        ..TaskSpec::default()
    };
    fields.finish()?;
    spec.validate().map_err(Refusal::Task)?;
    Ok(spec)
}

fn decode_sinks(
    fields: &mut Fields,
) -> Result<(Option<crate::vocabulary::Sink>, Option<crate::vocabulary::Sink>), Refusal> {
    let stdout = fields.object("stdout")?.map(AskedSink::decode).transpose()?;
    let mut stderr = fields.object("stderr")?.map(AskedSink::decode).transpose()?;
    if let (Some(stdout), Some(stderr)) = (&stdout, &mut stderr) {
        stderr.complete_from(stdout);
    }
    let stdout = stdout.map(|sink| sink.into_sink("stdout")).transpose()?;
    let stderr = stderr.map(|sink| sink.into_sink("stderr")).transpose()?;
    Ok((stdout, stderr))
}

fn decode_restart(mut fields: Fields) -> Result<RestartPolicy, Refusal> {
    const MODES: [(&str, RestartMode); 4] = [
        ("never", RestartMode::Never),
        ("on_failure", RestartMode::OnFailure),
        ("on-failure", RestartMode::OnFailure),
        ("always", RestartMode::Always),
    ];
    let attempts = |asked: Option<u64>| match asked.map(u32::try_from).transpose() {
        Ok(attempts) => Ok(attempts),
        Err(_) => Err(invalid("restart.attempts", format!("must be at most {}, or -1", u32::MAX))),
    };
    let policy = RestartPolicy {
        mode: fields.required("mode", |fields, name| fields.one_of(name, &MODES))?,
        attempts: fields.limit("attempts")?.map(attempts).transpose()?,
        interval: fields.milliseconds("interval_ms")?,
        delay: fields.milliseconds("delay_ms")?,
        max_delay: fields.milliseconds("max_delay_ms")?,
    };
    fields.finish()?;
    Ok(policy)
}

fn setting<T>(asked: Option<T>) -> Setting<T> {
    asked.map_or(Setting::Default, Setting::To)
}

fn octal(text: &str) -> Result<u32, Refusal> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    octal
        .then(|| u32::from_str_radix(digits, 8).ok())
        .flatten()
        .ok_or_else(|| invalid("umask", "must be an octal string of 0 to 777"))
}

fn invalid(field: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Task(InvalidField { field: field.to_owned(), reason: reason.into() })
}
