//! The tasks that the task file declares, and what a new version of it asks for.

use super::launches::Launches;
use super::told::{ToldTask, told_spec};
use crate::cli::task_file::{Problem, TaskFile};
use crate::control::ReloadRefusal;
use crate::reactor::Supervisor;
use crate::vocabulary::{Identity, InvalidField, LaunchNumber, Ordered, TaskId, TaskSpec};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

/// The tasks of the file, each with its spec as it was launched. Their names are where their
/// identities are.
#[derive(Debug, Default)]
pub(super) struct Declared {
    tasks: Ordered<TaskId, Fingerprint>,
}

/// What tells one spec from another, in 16 bytes: a second copy of the specs of all tasks would be
/// the most that the daemon keeps of them.
#[derive(Serialize, Deserialize, Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Fingerprint([u64; 2]);

impl Fingerprint {
    pub(super) fn of(spec: &TaskSpec) -> Fingerprint {
        let mut hashes = Hashes::default();
        hashes.0[1].write_u8(1);
        // Every field stands in what is printed for debugging. A hasher refuses nothing.
        let _ = write!(hashes, "{spec:?}");
        Fingerprint(hashes.0.map(|hash| hash.finish()))
    }
}

/// Hashes what is printed to it.
#[derive(Default)]
struct Hashes([DefaultHasher; 2]);

impl Write for Hashes {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.iter_mut().for_each(|hash| hash.write(text.as_bytes()));
        Ok(())
    }
}

/// What a new version of the file asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// What is new and what has changed, in the order in which they start.
    pub(super) launch: Launches,
    /// Names of those that have changed: they are stopped before.
    pub(super) changed: BTreeSet<String>,
    pub(super) stop: Vec<String>,
    /// Names that tasks have which did not come from the file.
    pub(super) taken: Vec<String>,
    pub(super) unchanged: u64,
}

/// A file that is compared with what is, task by task.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    changes: Changes,
    named: HashSet<Box<str>>,
}

impl Comparison {
    /// Takes the next task in; `find` knows which task has a name now. `line` tells its spec, which
    /// is wanted where the task is not there as the file has it.
    pub(super) fn add<'l, E>(
        &mut self,
        declared: &Declared,
        find: impl Fn(&str) -> Option<TaskId>,
        task: &ToldTask,
        line: impl FnOnce() -> Result<Cow<'l, str>, E>,
    ) -> Result<(), E> {
        let changes = &mut self.changes;
        let name = task.name.as_str();
        match find(name).map(|now| declared.tasks.get(&now)) {
            Some(Some(print)) if *print == task.print => changes.unchanged += 1,
            Some(Some(_)) => {
                changes.changed.insert(name.to_owned());
                changes.launch.push(task, &line()?);
            }
            Some(None) => changes.taken.push(name.to_owned()),
            None => changes.launch.push(task, &line()?),
        }
        self.named.insert(name.into());
        Ok(())
    }

    /// All of the file was taken in; `name_of` knows the tasks that are there.
    pub(super) fn finish(
        mut self,
        declared: &Declared,
        name_of: impl Fn(TaskId) -> Option<String>,
    ) -> Changes {
        let living = declared.tasks.keys().filter_map(|&task| name_of(task));
        self.changes.stop = living.filter(|name| !self.named.contains(name.as_str())).collect();
        self.changes.stop.sort_unstable();
        self.changes
    }
}

/// A task of the file, for another program of this process.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct HandedTask {
    name: String,
    launch: LaunchNumber,
    /// As the file had it, and as it is, since its limits may have been changed.
    declared: [u64; 2],
    current: [u64; 2],
}

impl Declared {
    pub(super) fn hand_over(&self, supervisor: &Supervisor) -> Vec<HandedTask> {
        let handed = |&(task, print): &(TaskId, Fingerprint)| {
            let identity = supervisor.status(task)?.identity;
            Some(HandedTask {
                name: identity.name.to_string(),
                launch: identity.number,
                declared: print.0,
                current: Fingerprint::of(&named_spec(&identity)).0,
            })
        };
        self.tasks.iter().filter_map(handed).collect()
    }

    /// Goes on with those of the program before this one.
    pub(super) fn go_on(handed: Vec<HandedTask>, supervisor: &Supervisor) -> Declared {
        let mut all = Declared::default();
        for HandedTask { name, launch, declared, current } in handed {
            let Some(task) = supervisor.find(&name) else { continue };
            let Some(status) = supervisor.status(task) else { continue };
            if status.identity.number != launch {
                continue;
            }
            let print = Fingerprint::of(&named_spec(&status.identity));
            // Where both programs mean the same by it, the file may have it otherwise.
            all.insert(task, if print.0 == current { Fingerprint(declared) } else { print });
        }
        all
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.keys().copied()
    }

    /// A task of the file was launched.
    pub(super) fn insert(&mut self, task: TaskId, print: Fingerprint) {
        self.tasks.insert(task, print);
    }

    /// It is stopped for good, or being replaced.
    pub(super) fn remove(&mut self, task: TaskId) {
        self.tasks.remove(&task);
    }

    /// Forgets those that are not there any more.
    pub(super) fn tidy(&mut self, supervisor: &Supervisor) {
        let gone = |task: &&TaskId| supervisor.status(**task).is_none();
        let gone: Vec<TaskId> = self.tasks.keys().filter(gone).copied().collect();
        gone.into_iter().for_each(|task| self.remove(task));
    }

    /// Compares a file with what is.
    pub(super) fn changes(&self, file: TaskFile, supervisor: &Supervisor) -> Changes {
        self.compared(file, |name| supervisor.find(name), |task| name_of(task, supervisor))
    }

    fn compared(
        &self,
        file: TaskFile,
        find: impl Fn(&str) -> Option<TaskId>,
        name_of: impl Fn(TaskId) -> Option<String>,
    ) -> Changes {
        let mut comparison = Comparison::default();
        for spec in file.tasks {
            let line = || Ok(told_spec(&spec).into());
            let Ok(()) = comparison.add::<Infallible>(self, &find, &ToldTask::of(&spec), line);
        }
        comparison.finish(self, name_of)
    }
}

/// The name of a task that is there.
pub(super) fn name_of(task: TaskId, supervisor: &Supervisor) -> Option<String> {
    supervisor.status(task).map(|status| status.identity.name.to_string())
}

/// The spec of a task as a file has it: limits that were changed since hold until the file asks for
/// others.
pub(super) fn named_spec(identity: &Identity) -> TaskSpec {
    let name = Some(identity.name.to_string());
    TaskSpec { name, declared: false, ..identity.launched_spec() }
}

/// The first thing that is wrong with a file.
pub(super) fn refusal(problems: &[Problem]) -> ReloadRefusal {
    let first = problems.first();
    let field = first.map(|problem| problem.field.clone()).unwrap_or_default();
    let reason = first.map(|problem| problem.reason.clone()).unwrap_or_default();
    let line = first.and_then(|problem| problem.place.as_ref()).map(|place| place.line as u64);
    ReloadRefusal::InvalidTask { field: InvalidField { field, reason }, line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::task_file;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn file(text: &str) -> TaskFile {
        task_file::parse(text, Path::new("/t.toml")).expect("a task file")
    }

    fn id(number: u32) -> TaskId {
        TaskId::new(number, 0)
    }

    #[test]
    fn a_fingerprint_tells_specs_apart() {
        let spec = TaskSpec::new("x");
        let changes: [fn(&mut TaskSpec); 4] = [
            |spec| spec.args = vec!["a b".into()],
            |spec| spec.args = vec!["a".into(), "b".into()],
            |spec| drop(spec.labels.insert("a".into(), "b".into())),
            |spec| spec.auto_remove = true,
        ];
        let mut seen = vec![Fingerprint::of(&spec)];
        assert_eq!(seen, [Fingerprint::of(&spec.clone())]);
        for change in changes {
            let mut changed = spec.clone();
            change(&mut changed);
            let fingerprint = Fingerprint::of(&changed);
            assert!(!seen.contains(&fingerprint), "{changed:?}");
            seen.push(fingerprint);
        }
    }

    #[test]
    fn each_task_is_new_changed_gone_taken_or_the_same() {
        let task = |name: &str, command: &str| format!("[task.{name}]\ncommand = \"{command}\"\n");
        let text = |tasks: &[(&str, &str)]| -> String {
            tasks.iter().map(|(name, command)| task(name, command)).collect()
        };
        let both = [("same", "a"), ("removed", "d"), ("replaced", "e")];
        let old = file(&text(&[&both[..], &[("changed", "b"), ("gone", "c")]].concat()));
        let mut declared = Declared::default();
        let mut living: BTreeMap<String, TaskId> = BTreeMap::new();
        for (number, spec) in (0..).zip(old.tasks) {
            declared.insert(id(number), Fingerprint::of(&spec));
            living.insert(spec.name.expect("a name"), id(number));
        }
        living.remove("removed");
        living.insert("replaced".to_owned(), id(90));
        living.insert("other".to_owned(), id(91));
        let now = [("changed", "B"), ("new", "n"), ("other", "o")];
        let new = file(&text(&[&both[..], &now].concat()));
        let name_of = |task| living.iter().find(|(_, now)| **now == task).map(|(n, _)| n.clone());
        let changes = declared.compared(new, |name| living.get(name).copied(), name_of);
        assert_eq!(Vec::from_iter(changes.launch.names()), ["removed", "changed", "new"]);
        assert_eq!(Vec::from_iter(changes.changed), ["changed"]);
        assert_eq!(changes.stop, ["gone"]);
        assert_eq!(changes.taken, ["replaced", "other"]);
        assert_eq!(changes.unchanged, 1);
    }
}
