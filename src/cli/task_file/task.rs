//! One table of a task file as a task.

use super::fields::Fields;
use super::node::{Table, Value};
use super::{isolation, sink};
use crate::cli::units::parse_umask;
use crate::vocabulary::{
    Leftover, Resources, RestartMode, RestartPolicy, Setting, Signal, TaskSpec,
};

const MODES: [(&str, RestartMode); 3] = [
    ("never", RestartMode::Never),
    ("on_failure", RestartMode::OnFailure),
    ("always", RestartMode::Always),
];

/// Tables that a task adds its own keys to; any other field of `[defaults]` it replaces.
const MERGED: [&str; 6] = ["env", "labels", "rlimits", "restart", "resources", "isolation"];

/// A task's table on top of `[defaults]`.
pub(super) fn merged(defaults: &Table, own: &Table) -> Table {
    let mut table = own.clone();
    for default in &defaults.0 {
        let Some(entry) = table.0.iter_mut().find(|entry| entry.key == default.key) else {
            table.0.push(default.clone());
            continue;
        };
        if !MERGED.contains(&entry.key.as_str()) {
            continue;
        }
        match (&default.node.value, &mut entry.node.value) {
            (Value::Table(default), Value::Table(own)) => {
                let missing = default.0.iter().filter(|entry| own.get(&entry.key).is_none());
                let missing: Vec<_> = missing.cloned().collect();
                // The defaults first, so that a task's own variables come later.
                own.0.splice(0..0, missing);
            }
            (Value::Array(default), Value::Array(own)) => {
                own.splice(0..0, default.iter().cloned());
            }
            (default, own) if entry.key == "env" => merge_env(default, own),
            _ => {}
        }
    }
    table
}

/// `env` in two forms: the defaults' variables are put before the task's own, as a list.
fn merge_env(default: &Value, own: &mut Value) {
    let as_list = |value: &Value| match value {
        Value::Array(nodes) => Some(nodes.clone()),
        Value::Table(table) => table
            .0
            .iter()
            .map(|entry| match &entry.node.value {
                Value::String(text) => {
                    let mut node = entry.node.clone();
                    node.value = Value::String(format!("{}={text}", entry.key));
                    Some(node)
                }
                _ => None,
            })
            .collect(),
        _ => None,
    };
    if let (Some(mut all), Some(mut last)) = (as_list(default), as_list(own)) {
        all.append(&mut last);
        *own = Value::Array(all);
    }
}

/// Refuses a command of no letters, which the absence of one looks like.
fn read_command(fields: &mut Fields<'_, '_, '_>) -> String {
    let command = fields.string("command").unwrap_or_default();
    if let Some(entry) = fields.entry("command")
        && entry.node.value == Value::String(String::new())
    {
        fields.wrong("command", &entry.node, "must not be empty");
    }
    command
}

/// Reads every field of a task, and its count; what is wrong is noted and left out.
pub(super) fn read(fields: &mut Fields<'_, '_, '_>) -> (TaskSpec, Option<u32>) {
    let isolation = isolation::read(fields);
    // A directory inside another root is not one of the file's.
    let rooted = isolation.as_ref().is_some_and(|isolation| isolation.root.is_some());
    let directory = |fields: &mut Fields<'_, '_, '_>, key| match rooted {
        true => fields.string(key),
        false => fields.path(key),
    };
    let spec = TaskSpec {
        name: None,
        command: read_command(fields),
        args: fields.strings("args").unwrap_or_default(),
        env: read_env(fields),
        inherit_env: fields.boolean("inherit_env").unwrap_or_default(),
        user: fields.string("user"),
        task_dir: directory(fields, "task_dir"),
        work_dir: directory(fields, "work_dir"),
        stdout: sink::read(fields, "stdout"),
        stderr: None,
        kill_signal: read_signal(fields, "kill_signal"),
        kill_timeout: fields.duration("kill_timeout"),
        stop_all: fields.boolean("stop_all").unwrap_or_default(),
        leftover: fields.word("leftover", &LEFTOVERS).unwrap_or_default(),
        restart: read_restart(fields),
        resources: read_resources(fields),
        cgroup: fields.string("cgroup"),
        isolation,
        rlimits: fields.map("rlimits", true).unwrap_or_default(),
        oom_score_adj: setting(read_small(fields, "oom_score_adj", 1000)),
        nice: setting(read_small(fields, "nice", 20)),
        umask: setting(fields.parsed("umask", parse_umask)),
        auto_remove: fields.boolean("auto_remove").unwrap_or_default(),
        labels: fields.map("labels", false).unwrap_or_default(),
        ..TaskSpec::default()
    };
    let stderr = sink::read_stderr(fields, spec.stdout.as_ref());
    let after = fields.strings("after").unwrap_or_default();
    let count = fields.integer("count", 1..=COUNT_MAX).and_then(|n| u32::try_from(n).ok());
    fields.refuse("name", "the name of a task is that of its table, [task.NAME]");
    (TaskSpec { stderr, after, ..spec }, count)
}

/// Instances of one task: as many as exited ones are remembered.
const COUNT_MAX: i64 = 65_536;

const LEFTOVERS: [(&str, Leftover); 3] =
    [("kill", Leftover::Kill), ("wait", Leftover::Wait), ("leave", Leftover::Leave)];

fn setting<T>(value: Option<T>) -> Setting<T> {
    value.map_or(Setting::Default, Setting::To)
}

fn read_small(fields: &mut Fields<'_, '_, '_>, key: &str, bound: i64) -> Option<i32> {
    let high = if bound == 20 { 19 } else { bound };
    fields.integer(key, -bound..=high).and_then(|number| i32::try_from(number).ok())
}

fn read_env(fields: &mut Fields<'_, '_, '_>) -> Vec<String> {
    match fields.entry("env").map(|entry| &entry.node.value) {
        None => Vec::new(),
        Some(Value::Array(_)) => fields.strings("env").unwrap_or_default(),
        Some(Value::Table(table)) => {
            let mut below = fields.below(table, "env");
            let read = |entry: &super::node::Entry| {
                below.string(&entry.key).map(|value| format!("{}={value}", entry.key))
            };
            table.0.iter().filter_map(read).collect()
        }
        Some(_) => {
            fields.list("env");
            Vec::new()
        }
    }
}

fn read_signal(fields: &mut Fields<'_, '_, '_>, key: &str) -> Option<Signal> {
    let entry = fields.entry(key)?;
    match &entry.node.value {
        Value::Integer(number) => number
            .to_string()
            .parse()
            .map_err(|_| fields.wrong(key, &entry.node, "must be a signal, such as \"TERM\""))
            .ok(),
        _ => fields.text_of(key),
    }
}

fn read_restart(fields: &mut Fields<'_, '_, '_>) -> RestartPolicy {
    let mut policy = RestartPolicy::default();
    // A mode alone may stand for the table.
    if let Some(entry) = fields.entry("restart")
        && matches!(entry.node.value, Value::String(_))
    {
        policy.mode = fields.word("restart", &MODES).unwrap_or_default();
        return policy;
    }
    let Some(table) = fields.table("restart") else { return policy };
    let mut below = fields.below(table, "restart");
    policy.mode = below.word("mode", &MODES).unwrap_or_default();
    policy.attempts = below
        .integer("attempts", -1..=i64::from(u32::MAX))
        .map(|attempts| u32::try_from(attempts).ok());
    policy.interval = below.duration("interval");
    policy.delay = below.duration("delay");
    policy.max_delay = below.duration("max_delay");
    if table.get("mode").is_none() {
        below.missing("mode: \"never\", \"on_failure\" or \"always\"");
    }
    below.finish();
    policy
}

fn read_resources(fields: &mut Fields<'_, '_, '_>) -> Option<Box<Resources>> {
    let table = fields.table("resources")?;
    let mut below = fields.below(table, "resources");
    let resources = Resources {
        cpu_weight: read_count(&mut below, "cpu_weight"),
        cpu_max: read_cores(&mut below),
        cpuset: below
            .string("cpuset")
            .map(|list| if list == "none" { String::new() } else { list }),
        memory_low: read_memory(&mut below, "memory_low"),
        memory_high: read_memory(&mut below, "memory_high"),
        memory_max: read_memory(&mut below, "memory_max"),
        memory_swap_max: read_memory(&mut below, "memory_swap_max"),
        memory_oom_group: below.boolean("memory_oom_group"),
        pids_max: read_count(&mut below, "pids_max"),
        io_weight: read_count(&mut below, "io_weight"),
    };
    below.finish();
    (!resources.is_empty()).then(|| Box::new(resources))
}

/// `Some(())` where the value says that there is no limit: `"none"`, or -1.
fn no_limit(fields: &mut Fields<'_, '_, '_>, key: &str) -> Option<()> {
    match &fields.entry(key)?.node.value {
        Value::String(text) => (text == "none").then_some(()),
        Value::Integer(number) => (*number == -1).then_some(()),
        _ => None,
    }
}

fn read_count(fields: &mut Fields<'_, '_, '_>, key: &str) -> Option<Option<u64>> {
    if no_limit(fields, key).is_some() {
        return Some(None);
    }
    let number = fields.integer(key, 1..=i64::from(u32::MAX))?;
    u64::try_from(number).ok().map(Some)
}

fn read_memory(fields: &mut Fields<'_, '_, '_>, key: &str) -> Option<Option<u64>> {
    if no_limit(fields, key).is_some() {
        return Some(None);
    }
    fields.size(key).map(Some)
}

fn read_cores(fields: &mut Fields<'_, '_, '_>) -> Option<Option<f64>> {
    let entry = fields.entry("cpu_max")?;
    if no_limit(fields, "cpu_max").is_some() {
        return Some(None);
    }
    match entry.node.value {
        Value::Float(cores) => Some(Some(cores)),
        Value::Integer(cores) => Some(Some(cores as f64)),
        _ => {
            fields.wrong("cpu_max", &entry.node, "must be a number of cores, such as 0.5");
            None
        }
    }
}
