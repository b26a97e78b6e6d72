//! Which task comes after which.

use crate::vocabulary::{Ordered, TaskId};

/// The edges of `after`, found from either end. They name launches, not names: a new launch of the
/// same name is another task.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// (task, what it comes after)
    after: Ordered<(TaskId, TaskId)>,
    /// (task, what comes after it)
    before: Ordered<(TaskId, TaskId)>,
}

impl Order {
    pub(super) fn link(&mut self, task: TaskId, dependency: TaskId) {
        self.after.add((task, dependency));
        self.before.add((dependency, task));
    }

    /// What comes after this task.
    pub(super) fn dependents(&self, task: TaskId) -> Vec<TaskId> {
        ends(&self.before, task)
    }

    /// What this task comes after.
    pub(super) fn dependencies(&self, task: TaskId) -> Vec<TaskId> {
        ends(&self.after, task)
    }

    /// This task comes after nothing any more; says what it came after.
    pub(super) fn release(&mut self, task: TaskId) -> Vec<TaskId> {
        let dependencies = self.dependencies(task);
        for &dependency in &dependencies {
            self.after.remove(&(task, dependency));
            self.before.remove(&(dependency, task));
        }
        dependencies
    }

    /// The task is gone.
    pub(super) fn unlink(&mut self, task: TaskId) {
        self.release(task);
        for dependent in self.dependents(task) {
            self.before.remove(&(task, dependent));
            self.after.remove(&(dependent, task));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.after.len() + self.before.len()
    }
}

fn ends(edges: &Ordered<(TaskId, TaskId)>, from: TaskId) -> Vec<TaskId> {
    let all = edges.from(&(from, TaskId::new(0, 0))).map(|&(edge, ())| edge);
    all.take_while(|&(task, _)| task == from).map(|(_, to)| to).collect()
}
