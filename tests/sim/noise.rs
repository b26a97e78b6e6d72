//! What an engine is told that it does not wait for.

use crate::world::{Due, World, start_error};
use ostler::engine::Input;
use ostler::{ExitStatus, Pid, StateName, TaskId, Ticket};

impl World {
    /// Tells the engine what it waits for in no state of that task.
    pub(crate) fn noise(&mut self) {
        let tasks: Vec<TaskId> = self.engine.tasks().collect();
        let known: Vec<TaskId> = self.agenda.values().filter_map(Due::task).collect();
        if let Some(&task) = known.iter().find(|task| !tasks.contains(task)) {
            self.tell(task, Input::StartFailed(start_error()));
        }
        let Some(&task) = tasks.first() else { return };
        let state = self.engine.status(task).map(|status| status.state);
        let idle = matches!(state, Some(StateName::Exited | StateName::Backoff));
        let ticket = Some(Ticket(u64::MAX));
        let input = match self.random.below(6) {
            0 => Input::Signaled { ticket, result: Ok(()) },
            1 => Input::OutputSettled { pending: true },
            2 if idle => Input::MainExited(ExitStatus::Exited(0)),
            3 if idle => Input::StartFailed(start_error()),
            4 if idle => Input::Empty { oom_killed: Some(true) },
            5 if idle => Input::ExecSucceeded,
            _ => Input::Processes(Pid::new(1).into_iter().collect()),
        };
        if !matches!(input, Input::OutputSettled { .. }) || state == Some(StateName::Running) {
            self.tell(task, input);
        }
    }
}
