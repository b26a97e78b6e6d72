//! Which tasks of a file are meant.

use crate::vocabulary::TaskSpec;
use std::collections::{HashMap, HashSet};

/// The tasks of these names and what they come after, in the same order; all where no name is
/// given. A name may be that of a group, for all its instances.
pub(super) fn select(tasks: Vec<TaskSpec>, names: &[String]) -> Result<Vec<TaskSpec>, String> {
    if names.is_empty() {
        return Ok(tasks);
    }
    let by_name: HashMap<&str, &TaskSpec> =
        tasks.iter().filter_map(|task| Some((task.name.as_deref()?, task))).collect();
    let mut open: Vec<&str> = Vec::new();
    for name in names {
        if by_name.contains_key(name.as_str()) {
            open.push(name);
            continue;
        }
        let group = tasks.iter().filter(|task| task.labels.get("group") == Some(name));
        let before = open.len();
        open.extend(group.filter_map(|task| task.name.as_deref()));
        if open.len() == before {
            return Err(format!("the file has no task {name:?}"));
        }
    }
    let mut wanted: HashSet<&str> = HashSet::new();
    while let Some(name) = open.pop() {
        if wanted.insert(name)
            && let Some(task) = by_name.get(name)
        {
            open.extend(task.after.iter().map(String::as_str));
        }
    }
    let wanted: HashSet<String> = wanted.into_iter().map(str::to_owned).collect();
    let is_wanted = |task: &TaskSpec| task.name.as_ref().is_some_and(|name| wanted.contains(name));
    Ok(tasks.into_iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, after: &[&str]) -> TaskSpec {
        TaskSpec {
            name: Some(name.into()),
            after: after.iter().map(|&name| name.to_owned()).collect(),
            ..TaskSpec::new("true")
        }
    }

    #[test]
    fn what_a_task_comes_after_comes_along() {
        let grouped = |index: u32| TaskSpec {
            labels: [("group".to_owned(), "web".to_owned())].into(),
            ..task(&format!("web-{index}"), &["db"])
        };
        let tasks = vec![task("disk", &[]), task("db", &["disk"]), grouped(0), grouped(1)];
        let chosen = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            select(tasks.clone(), &names)
                .map(|tasks| tasks.into_iter().filter_map(|task| task.name).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[]).unwrap().len(), 4);
        assert_eq!(chosen(&["db"]).unwrap(), ["disk", "db"]);
        assert_eq!(chosen(&["web-1"]).unwrap(), ["disk", "db", "web-1"]);
        assert_eq!(chosen(&["web"]).unwrap(), ["disk", "db", "web-0", "web-1"]);
        assert_eq!(chosen(&["x"]).unwrap_err(), "the file has no task \"x\"");
    }
}
