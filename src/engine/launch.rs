//! The request to launch a task.

#[cfg(feature = "cli")]
use super::task::Changed;
use super::task::{Cause, State, Task};
use super::waiting::{Ask, Asker};
use super::{Engine, Outcome, Timer};
use crate::vocabulary::limits::{EXITED_TASKS_MAX, LAUNCH_TIMEOUT_DEFAULT, TASKS_MAX};
use crate::vocabulary::{
    Answer, EventKind, Identity, IfExists, InvalidField, Mono, Now, Ordered, RequestError, TaskId,
    TaskSpec, Ticket,
};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// With so many earlier specs a launch is compared: about 50 ns each where the command differs.
const LAST_SPECS: usize = 8;

impl Engine {
    pub(super) fn launch(
        &mut self,
        now: Now,
        ticket: Ticket,
        mut spec: TaskSpec,
        if_exists: IfExists,
        timeout: Duration,
    ) -> Outcome {
        if self.shutdown.is_some() {
            return Err(RequestError::ShuttingDown);
        }
        spec.validate().map_err(RequestError::InvalidTask)?;
        let name = match spec.name.take() {
            Some(name) => name,
            None => self.table.names.free_name(&spec.command),
        };
        let mut replaced = None;
        if let Some(id) = self.find(&name) {
            match if_exists {
                IfExists::Same if self.has_spec(id, &spec) => {
                    return self.join_launch(now, ticket, id, timeout);
                }
                IfExists::Replace if self.is_exited(id) => replaced = Some(id),
                IfExists::Fail | IfExists::Same | IfExists::Replace => {
                    return Err(self.task_exists(id, name));
                }
            }
        }
        let dependencies = self.dependencies_of(&spec, &name)?;
        self.check_room(replaced)?;
        if let Some(id) = replaced {
            self.forget(now, id);
        }

        let never_ran = |&id: &TaskId| self.table.get(id).is_none_or(|task| task.started.is_none());
        let awaited: Vec<TaskId> = dependencies.iter().copied().filter(never_ran).collect();
        let awaits = u32::try_from(awaited.len()).unwrap_or(u32::MAX);
        let identity = Identity::new(name.into(), self.next_launch, now.wall, spec);
        let identity = Arc::new(self.shared(identity));
        self.next_launch += 1;
        let patience = timeout.max(LAUNCH_TIMEOUT_DEFAULT);
        let id = self.table.insert(Task::new(identity, awaits, patience));
        for dependency in dependencies {
            self.order.link(id, dependency);
        }
        self.event(now, id, EventKind::Launched, None);
        let dead = awaited.into_iter().find(|&id| self.is_exited(id));
        if let Some(dead) = dead.and_then(|id| self.identity(id)).map(Arc::clone) {
            self.ask(ticket, id, Ask::Launch, None);
            self.launch_fails_after(now, id, &dead);
        } else if awaits == 0 {
            self.ask(ticket, id, Ask::Launch, None);
            self.begin(now, id, Cause::Launch);
            self.set_deadline(id, Some(now.mono + timeout));
        } else {
            return Ok(self.status_answer(id));
        }
        Ok(None)
    }

    /// Remembers who waits for what.
    pub(super) fn ask(&mut self, ticket: Ticket, task: TaskId, ask: Ask, deadline: Option<Mono>) {
        if let Some(at) = deadline {
            self.deadlines.add(at, Timer::Asker(ticket));
        }
        self.askers.add(ticket, Asker { task, ask, deadline });
    }

    pub(super) fn status_answer(&self, id: TaskId) -> Option<Answer> {
        self.status(id).map(|status| Answer::Status(Box::new(status)))
    }

    pub(super) fn is_exited(&self, id: TaskId) -> bool {
        self.table.get(id).is_some_and(|task| task.state.is_exited())
    }

    /// The same launch once more: its answer is that of the first one.
    fn join_launch(&mut self, now: Now, ticket: Ticket, id: TaskId, timeout: Duration) -> Outcome {
        match self.table.get(id).map(|task| task.state) {
            Some(State::Starting { cause: Cause::Launch, .. }) => {
                self.ask(ticket, id, Ask::Launch, Some(now.mono + timeout));
                Ok(None)
            }
            _ => Ok(self.status_answer(id)),
        }
    }

    fn has_spec(&self, id: TaskId, spec: &TaskSpec) -> bool {
        self.identity(id).is_some_and(|identity| identity.is_as(spec))
    }

    fn task_exists(&self, id: TaskId, name: String) -> RequestError {
        match self.status(id) {
            Some(status) => RequestError::TaskExists { status: Box::new(status) },
            None => RequestError::NoSuchTask { name },
        }
    }

    /// The tasks that `after` names.
    fn dependencies_of(&self, spec: &TaskSpec, own: &str) -> Result<Vec<TaskId>, RequestError> {
        let find = |(index, name): (usize, &String)| {
            let refuse = |reason| {
                let field = format!("after[{index}]");
                Err(RequestError::InvalidTask(InvalidField { field, reason }))
            };
            match self.find(name) {
                _ if name == own => refuse("a task cannot come after itself".to_owned()),
                Some(id) => Ok(id),
                None => refuse(format!("no task is named {name:?}: launch it first")),
            }
        };
        let mut ids = Ordered::new();
        for named in spec.after.iter().enumerate() {
            ids.add(find(named)?);
        }
        Ok(ids.keys().copied().collect())
    }

    fn check_room(&self, replaced: Option<TaskId>) -> Result<(), RequestError> {
        let gone = usize::from(replaced.is_some());
        let (exited, all) = (self.table.exited() - gone, self.table.len() - gone);
        let (limit, maximum) = if exited >= EXITED_TASKS_MAX {
            ("exited_tasks", EXITED_TASKS_MAX)
        } else if all >= TASKS_MAX {
            ("tasks", TASKS_MAX)
        } else {
            return Ok(());
        };
        let reason = "remove exited tasks first, or launch with auto_remove".to_owned();
        Err(RequestError::Limit { limit, maximum: maximum as u64, reason })
    }

    /// From now on the task is one of the task file.
    #[cfg(feature = "cli")]
    pub fn declare(&mut self, id: TaskId) {
        let Some(identity) = self.identity(id).filter(|identity| !identity.common().declared)
        else {
            return;
        };
        let identity = Arc::new(self.shared(identity.as_declared()));
        if let Some(task) = self.table.get_mut(id) {
            task.identity = identity;
            self.table.note(id, Changed::Spec);
        }
    }

    /// The same in less memory, where one of the last launches was like it.
    pub(super) fn shared(&mut self, identity: Identity) -> Identity {
        let mut specs = self.last_specs.iter().filter_map(Weak::upgrade);
        if let Some(shared) = specs.find_map(|common| identity.like(&common)) {
            return shared;
        }
        self.last_specs.truncate(LAST_SPECS - 1);
        self.last_specs.push_front(Arc::downgrade(identity.common()));
        identity
    }
}
