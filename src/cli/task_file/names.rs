//! Names of tasks: who comes after whom, and in what order all start.

use super::Declared;
use super::instances::{instance, instance_name};
use super::order::start_order;
use super::problem::{Problems, suggestion};
use crate::vocabulary::{TaskSpec, valid_task_name};
use std::collections::HashMap;

/// Names in all `after` of a file once groups stand for their instances.
const AFTER_MAX: usize = 1 << 20;

type Names<'d, 't> = HashMap<&'d str, (usize, &'d Declared<'t>)>;

impl Declared<'_> {
    fn name(&self) -> &str {
        &self.entry.key
    }

    fn path(&self) -> String {
        format!("task.{}", self.name())
    }

    /// The names of the tasks that it makes.
    fn made(&self) -> Vec<String> {
        match self.count {
            Some(count) => (0..count).map(|index| instance_name(self.name(), index)).collect(),
            None => vec![self.name().to_owned()],
        }
    }
}

/// Every task that the tables make, each after those that it names. What is wrong with names is
/// noted; the tasks are of no use then.
pub(super) fn in_start_order(
    declared: &[Declared<'_>],
    problems: &mut Problems<'_>,
) -> Vec<TaskSpec> {
    let names: Names<'_, '_> =
        declared.iter().enumerate().map(|(index, task)| (task.name(), (index, task))).collect();
    check_names(declared, &names, problems);
    let mut edges = Vec::with_capacity(declared.len());
    let mut after = Vec::with_capacity(declared.len());
    let mut total = 0_usize;
    for task in declared {
        let (indices, waited) = resolve(task, &names, problems);
        let instances = task.count.map_or(1, |count| count as usize);
        total = total.saturating_add(waited.len().saturating_mul(instances));
        if total > AFTER_MAX {
            let reason = format!("more than {AFTER_MAX} pairs of tasks wait for each other");
            problems.add(task.table.locate("after"), task.path(), reason);
            return Vec::new();
        }
        edges.push(indices);
        after.push(waited);
    }
    let order = match start_order(&edges) {
        Ok(order) => order,
        Err(circle) => {
            tell_circle(&circle, declared, problems);
            return Vec::new();
        }
    };
    let mut tasks = Vec::new();
    for index in order {
        let (Some(task), Some(after)) = (declared.get(index), after.get(index)) else { continue };
        let spec = TaskSpec { after: after.clone(), ..task.spec.clone() };
        match task.count {
            Some(count) => tasks.extend((0..count).map(|n| instance(&spec, task.name(), n))),
            None => tasks.push(TaskSpec { name: Some(task.name().to_owned()), ..spec }),
        }
    }
    tasks
}

/// Notes names that no task can have, and tasks that would have the same name.
fn check_names(declared: &[Declared<'_>], names: &Names<'_, '_>, problems: &mut Problems<'_>) {
    for task in declared {
        let path = task.path();
        let last = task.count.map(|count| instance_name(task.name(), count - 1));
        if !valid_task_name(task.name()) || !valid_task_name(last.as_deref().unwrap_or(task.name()))
        {
            let reason = "a task's name must be 1 to 200 of A-Z a-z 0-9 . _ - + @ : and not \
                          start with . or -";
            problems.add(task.entry.span.clone(), &path, reason);
        }
        if let Some((group, instance)) = instance_of(task.name(), names) {
            let reason = format!(
                "is also the name of instance {instance} of task.{}, which has count = {}",
                group.name(),
                group.count.unwrap_or_default()
            );
            problems.add(task.entry.span.clone(), &path, reason);
        }
    }
}

/// The task with a count of which `name` is an instance, and which.
fn instance_of<'d, 't>(name: &str, names: &Names<'d, 't>) -> Option<(&'d Declared<'t>, u32)> {
    let (group, index) = name.rsplit_once('-')?;
    let number: u32 = index.parse().ok()?;
    let (_, group) = names.get(group)?;
    // Not web-007, nor web-+7.
    (number < group.count? && index == number.to_string()).then_some((*group, number))
}

/// What a task comes after: the tables, and the names of the tasks that those make.
fn resolve(
    task: &Declared<'_>,
    names: &Names<'_, '_>,
    problems: &mut Problems<'_>,
) -> (Vec<usize>, Vec<String>) {
    let (mut indices, mut waited) = (Vec::new(), Vec::new());
    for (position, name) in task.spec.after.iter().enumerate() {
        if let Some((index, other)) = names.get(name.as_str()) {
            indices.push(*index);
            waited.extend(other.made());
            continue;
        }
        let group = instance_of(name, names).and_then(|(group, _)| names.get(group.name()));
        if let Some((index, _)) = group {
            indices.push(*index);
            waited.push(name.clone());
            continue;
        }
        let hint = suggestion(name, names.keys().copied())
            .map_or_else(String::new, |meant| format!(", did you mean {meant:?}?"));
        let span = task.table.locate(&format!("after[{position}]"));
        let field = format!("{}.after[{position}]", task.path());
        problems.add(span, field, format!("this file has no task {name:?}{hint}"));
    }
    (indices, waited)
}

fn tell_circle(circle: &[usize], declared: &[Declared<'_>], problems: &mut Problems<'_>) {
    let tasks: Vec<&Declared<'_>> = circle.iter().filter_map(|&n| declared.get(n)).collect();
    let Some(first) = tasks.first() else { return };
    let mut names: Vec<&str> = tasks.iter().take(10).map(|task| task.name()).collect();
    if tasks.len() > names.len() {
        names.push("...");
    }
    names.push(first.name());
    let reason = match tasks.len() {
        1 => "a task cannot come after itself".to_owned(),
        _ => format!("these wait for each other, none can start: {}", names.join(" after ")),
    };
    problems.add(first.table.locate("after"), format!("{}.after", first.path()), reason);
}
