//! The table of tasks: a slab whose keys carry a generation, and the names.

use super::names::Names;
use super::task::{Changed, State, Task};
use crate::vocabulary::{LaunchNumber, TaskId};
use slab::Slab;
use std::collections::VecDeque;

/// Every task that is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    slots: Slab<Task>,
    /// Of each slot, how often it was given back.
    generations: Vec<u32>,
    pub(super) names: Names,
    exited: usize,
    /// Absent where nobody keeps the tasks.
    changes: Option<Changes>,
}

/// What was changed since somebody last asked.
#[derive(Clone, Debug, Default)]
struct Changes {
    /// Once each.
    tasks: VecDeque<TaskId>,
    removed: VecDeque<LaunchNumber>,
}

impl Table {
    /// Takes a task in; its name must be free.
    pub(super) fn insert(&mut self, task: Task) -> TaskId {
        let exited = task.state.is_exited();
        let identity = std::sync::Arc::clone(&task.identity);
        let index = self.slots.insert(task);
        if self.generations.len() <= index {
            self.generations.resize(index + 1, 0);
        }
        self.exited += usize::from(exited);
        let id = self.id(index);
        self.names.insert(&identity, id);
        self.note(id, Changed::All);
        id
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Task> {
        self.get(id)?;
        let task = self.slots.try_remove(id.index())?;
        if let Some(generation) = self.generations.get_mut(id.index()) {
            // What does not fit an id would never be found again.
            *generation = generation.wrapping_add(1) & TaskId::GENERATION_MASK;
        }
        self.exited -= usize::from(task.state.is_exited());
        self.names.remove(&task.identity.name);
        if let Some(changes) = &mut self.changes
            && task.changed != Changed::All
        {
            changes.removed.push_back(task.identity.number);
        }
        Some(task)
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Task> {
        self.is_current(id).then(|| self.slots.get(id.index())).flatten()
    }

    /// For everything but the state, see [`Table::enter`].
    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.note(id, Changed::State);
        if self.is_current(id) { self.slots.get_mut(id.index()) } else { None }
    }

    /// From now on what is changed is noted.
    pub(super) fn note_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    /// Notes a change, where somebody wants to know.
    pub(super) fn note(&mut self, id: TaskId, changed: Changed) {
        let current = self.is_current(id);
        let (Some(changes), true) = (&mut self.changes, current) else { return };
        let Some(task) = self.slots.get_mut(id.index()) else { return };
        if task.changed == Changed::Nothing {
            changes.tasks.push_back(id);
        }
        task.changed = task.changed.max(changed);
    }

    /// The next launch that was forgotten, if it had been told of.
    pub(super) fn next_removed(&mut self) -> Option<LaunchNumber> {
        self.changes.as_mut()?.removed.pop_front()
    }

    /// The next task that was changed, and what of it.
    pub(super) fn next_changed(&mut self) -> Option<(TaskId, Changed)> {
        loop {
            let id = self.changes.as_mut()?.tasks.pop_front()?;
            if self.is_current(id)
                && let Some(task) = self.slots.get_mut(id.index())
            {
                return Some((id, std::mem::replace(&mut task.changed, Changed::Nothing)));
            }
        }
    }

    /// Puts a task into another state.
    pub(super) fn enter(&mut self, id: TaskId, state: State) {
        let Some(task) = self.get_mut(id) else { return };
        let (was, is) = (task.state.is_exited(), state.is_exited());
        task.state = state;
        self.exited = self.exited + usize::from(is) - usize::from(was);
    }

    pub(super) fn find(&self, name: &str) -> Option<TaskId> {
        self.names.find(name)
    }

    pub(super) fn ids(&self) -> impl ExactSizeIterator<Item = TaskId> + '_ {
        self.slots.iter().map(|(index, _)| self.id(index))
    }

    /// Places that there are or were.
    pub(super) fn places(&self) -> usize {
        self.generations.len()
    }

    /// The task in this place.
    pub(super) fn at(&self, place: usize) -> Option<TaskId> {
        self.slots.contains(place).then(|| self.id(place))
    }

    /// Gives back the room behind the last task. Generations are kept, so that ids that are known
    /// outside never mean another task.
    pub(super) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// How many of them have exited for good.
    pub(super) fn exited(&self) -> usize {
        self.exited
    }

    fn is_current(&self, id: TaskId) -> bool {
        self.generations.get(id.index()) == Some(&id.generation())
    }

    fn id(&self, index: usize) -> TaskId {
        // A slab of tasks is bounded by `limits::TASKS_MAX`, far below 2^32.
        TaskId::new(index as u32, self.generations.get(index).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{Identity, TaskSpec, Wall};
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_place_can_be_used_for_ever() {
        let mut table = Table { generations: vec![TaskId::GENERATION_MASK], ..Table::default() };
        for number in 0..3 {
            let spec = TaskSpec::new("x");
            let identity = Identity::new("x".into(), number, Wall::default(), spec);
            let id = table.insert(Task::new(Arc::new(identity), 0, Duration::ZERO));
            assert!(table.get(id).is_some(), "{id}");
            assert_eq!(table.find("x"), Some(id));
            assert!(table.remove(id).is_some(), "{id}");
            assert!(table.get(id).is_none());
        }
    }
}
