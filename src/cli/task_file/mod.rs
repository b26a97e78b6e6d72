//! Task files: TOML, or JSON by extension. Every error is found, and told with its place.

mod fields;
#[cfg(fuzzing)]
pub mod fuzzing;
mod instances;
mod isolation;
mod names;
mod node;
mod order;
mod problem;
mod sink;
mod task;
#[cfg(test)]
mod tests;

pub(crate) use problem::Problem;

use crate::control::task_from_json;
use crate::vocabulary::{TaskSpec, cause};
use fields::Fields;
use node::{Entry, Table, Value};
use problem::Problems;
use std::io::Read;
use std::path::Path;

/// The tasks of a file.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct TaskFile {
    /// Each with its name, in the order in which they start: every one after those that it names
    /// in `after`.
    pub(crate) tasks: Vec<TaskSpec>,
    /// What is no error but hardly meant.
    pub(crate) warnings: Vec<Problem>,
}

/// Reads and parses a task file; `-` is standard input, JSON.
pub(crate) fn load(path: &Path) -> Result<TaskFile, Vec<Problem>> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    match read {
        Ok(text) => parse(&text, path),
        Err(error) => {
            let reason = format!("cannot read the task file: {}", cause(&error));
            let (file, field) = (path.to_owned(), String::new());
            Err(vec![Problem { file, place: None, field, reason }])
        }
    }
}

/// Parses the text of a task file. `path` names it in messages, says by its extension what it is,
/// and its directory is where relative paths start. JSON may also be a single task, as the
/// protocol has it.
pub(crate) fn parse(text: &str, path: &Path) -> Result<TaskFile, Vec<Problem>> {
    let mut problems = Problems::new(path, text);
    let json = path == Path::new("-") || path.extension().is_some_and(|e| e == "json");
    let root = if json {
        let value = node::json(text, &mut problems);
        if value.get("command").is_some() {
            return single(value, problems);
        }
        node::from_json(value, &mut problems)
    } else {
        node::from_toml(text, &mut problems)
    };
    let declared = read_tables(&root, path.parent().unwrap_or(Path::new("")), &mut problems);
    let tasks = names::in_start_order(&declared, &mut problems);
    let warnings = warnings(&declared, path, text);
    if problems.is_empty() { Ok(TaskFile { tasks, warnings }) } else { Err(problems.into_vec()) }
}

fn single(task: serde_json::Value, mut problems: Problems<'_>) -> Result<TaskFile, Vec<Problem>> {
    match task_from_json(task) {
        Ok(spec) => Ok(TaskFile { tasks: vec![spec], warnings: Vec::new() }),
        Err(wrong) => {
            problems.add(None, wrong.field, wrong.reason);
            Err(problems.into_vec())
        }
    }
}

/// One `[task.NAME]`.
#[derive(Debug)]
struct Declared<'t> {
    /// Its name is the entry's key.
    entry: &'t Entry,
    /// With the defaults.
    table: Table,
    spec: TaskSpec,
    count: Option<u32>,
}

static EMPTY: Table = Table(Vec::new());

fn read_tables<'t>(
    root: &'t Table,
    directory: &'t Path,
    problems: &mut Problems<'_>,
) -> Vec<Declared<'t>> {
    let mut fields = Fields::new(root, "", directory, problems);
    let defaults = fields.table("defaults").unwrap_or(&EMPTY);
    let mut below = fields.below(defaults, "defaults");
    for key in ["count", "after"] {
        below.refuse(key, "must stand in the task itself");
    }
    task::read(&mut below);
    below.finish();
    let tasks = fields.table("task").unwrap_or(&EMPTY);
    fields.finish();
    let mut declared = Vec::new();
    for entry in &tasks.0 {
        let path = format!("task.{}", entry.key);
        let Value::Table(own) = &entry.node.value else {
            let reason = format!("must be a table, not {}", entry.node.kind());
            problems.add(entry.node.span.clone(), path, reason);
            continue;
        };
        let table = task::merged(defaults, own);
        let (spec, count) = read_checked(&table, &path, directory, problems);
        if table.get("command").is_none() {
            problems.add(entry.span.clone(), path, "needs a command");
        }
        declared.push(Declared { entry, table, spec, count });
    }
    declared
}

/// Reads a task and notes everything about it that no system can do.
fn read_checked(
    table: &Table,
    path: &str,
    directory: &Path,
    problems: &mut Problems<'_>,
) -> (TaskSpec, Option<u32>) {
    let mut fields = Fields::new(table, path, directory, problems);
    let (spec, count) = task::read(&mut fields);
    fields.finish();
    let mut rest = table.clone();
    let mut checked = spec.clone();
    // Validation tells the first that is wrong: read again without it, until nothing is.
    loop {
        if checked.command.is_empty() {
            // Told already, and without a command nothing else would be looked at.
            checked.command = "true".to_owned();
        }
        let Err(wrong) = checked.validate() else { break };
        let key = wrong.field.split(['.', '[']).next().unwrap_or_default();
        let known = rest.get(key).is_some();
        problems.add(rest.locate(&wrong.field), field_path(path, &wrong.field), wrong.reason);
        if !known {
            break;
        }
        rest.remove(key);
        let mut silent = Problems::new(Path::new(""), "");
        let mut fields = Fields::new(&rest, path, directory, &mut silent);
        checked = task::read(&mut fields).0;
    }
    (spec, count)
}

/// The field that the vocabulary calls `field`, as it is written in a task file.
fn field_path(task: &str, field: &str) -> String {
    format!("{task}.{}", field.trim_end_matches("_ms").trim_end_matches("_bytes"))
}

/// Tasks that will hardly find their command.
fn warnings(declared: &[Declared<'_>], path: &Path, text: &str) -> Vec<Problem> {
    let mut warnings = Problems::new(path, text);
    for Declared { entry, table, spec, .. } in declared {
        let has_path = spec.inherit_env || spec.env.iter().any(|entry| entry.starts_with("PATH="));
        if !has_path && !spec.command.is_empty() && !spec.command.contains('/') {
            let reason = format!(
                "{:?} is looked for in the PATH of whoever reads this file, and the task itself \
                 has none: set PATH in env",
                spec.command
            );
            warnings.add(table.locate("command"), format!("task.{}", entry.key), reason);
        }
    }
    warnings.into_vec()
}
