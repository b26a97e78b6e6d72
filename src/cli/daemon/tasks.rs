//! The daemon's task file: its tasks are launched at the start, and changed where it has changed
//! when it is read again.

use super::change::{Change, preview};
use super::declared::{Changes, Declaration, Declared, HandedTask, named_spec, refusal};
use super::settings;
use crate::cli::task_file::{self, TaskFile};
use crate::control::{ReloadCall, ReloadRefusal, Server};
use crate::reactor::Supervisor;
use crate::vocabulary::{Reply, StateName, Ticket};
use std::collections::VecDeque;
use std::path::PathBuf;

/// The task file and the tasks that came from it.
#[derive(Debug)]
pub(super) struct Tasks {
    file: Option<PathBuf>,
    declared: Declared,
    change: Option<Change>,
    /// Readings that wait for the change under way; `None` where nobody is to be answered.
    waiting: VecDeque<Option<ReloadCall>>,
}

impl Tasks {
    /// Begins to launch what the file says. What is there already, from before the daemon began,
    /// counts as the file's own: it is left alone where it is the same. Exited tasks are launched
    /// again, unless the daemon goes on where an earlier one was killed.
    pub(super) fn start(
        file: Option<PathBuf>,
        tasks: TaskFile,
        supervisor: &mut Supervisor,
    ) -> Tasks {
        let mut declared = Declared::default();
        for name in tasks.tasks.iter().filter_map(|spec| spec.name.as_deref()) {
            let Some(task) = supervisor.find(name) else { continue };
            let Some(status) = supervisor.status(task) else { continue };
            if status.state == StateName::Exited && !supervisor.is_resumed() {
                // It was stopped with an earlier daemon or by a reboot: this is a new beginning.
                if let Err(error) = supervisor.remove(task, false) {
                    log::warn!("task={name} cannot be launched anew: {error}");
                }
                continue;
            }
            declared.insert(Declaration::of(&named_spec(&status.identity)), task);
        }
        let changes = declared.changes(tasks, |name| supervisor.find(name));
        let change = (changes != Changes::default())
            .then(|| Change::begin(changes, None, &declared, supervisor));
        Tasks { file, declared, change, waiting: VecDeque::new() }
    }

    /// Goes on with the tasks of the file as the program before this one knew them.
    pub(super) fn go_on(
        file: Option<PathBuf>,
        handed: Vec<HandedTask>,
        supervisor: &Supervisor,
    ) -> Tasks {
        let declared = Declared::go_on(handed, supervisor);
        Tasks { file, declared, change: None, waiting: VecDeque::new() }
    }

    /// The tasks of the file, for the program that goes on.
    pub(super) fn hand_over(&self, supervisor: &Supervisor) -> Vec<HandedTask> {
        self.declared.hand_over(supervisor)
    }

    /// Has the file read again as soon as that can be; by a signal, with nobody to be answered.
    pub(super) fn reload(&mut self, call: Option<ReloadCall>) {
        match (&self.file, call) {
            (None, None) => log::warn!("there is no task file to read again: none was given"),
            _ => self.waiting.push_back(call),
        }
    }

    /// Whether the file is being read again, or waits for it.
    pub(super) fn is_reloading(&self) -> bool {
        self.change.is_some() || !self.waiting.is_empty()
    }

    /// Takes the answer to something that was asked for a change; whether it was that.
    pub(super) fn take(
        &mut self,
        ticket: Ticket,
        reply: &Reply,
        supervisor: &mut Supervisor,
    ) -> bool {
        let Some(change) = &mut self.change else { return false };
        change.take(ticket, reply, &mut self.declared, supervisor)
    }

    /// Ends the change that is done and begins the next one. Nothing is changed while the daemon
    /// is ending.
    pub(super) fn step(
        &mut self,
        supervisor: &mut Supervisor,
        server: &mut Server,
        is_ending: bool,
    ) {
        loop {
            if self.change.as_ref().is_some_and(|change| !change.is_done()) {
                return;
            }
            if let Some(change) = self.change.take() {
                finish(&change, server);
            }
            let Some(call) = self.waiting.pop_front() else { return };
            match self.read(is_ending, supervisor) {
                Ok(changes) => match call {
                    Some(call) if call.dry_run => {
                        server.answer_reload(call.ticket, Ok(&preview(changes, supervisor)));
                    }
                    _ => {
                        let asker = call.map(|call| call.ticket);
                        let begun = Change::begin(changes, asker, &self.declared, supervisor);
                        self.change = Some(begun);
                    }
                },
                Err(why) => {
                    if let Some(call) = call {
                        server.answer_reload(call.ticket, Err(&why));
                    }
                }
            }
        }
    }

    fn read(&self, is_ending: bool, supervisor: &Supervisor) -> Result<Changes, ReloadRefusal> {
        let Some(file) = self.file.as_deref().filter(|_| !is_ending) else {
            return Err(ReloadRefusal::ShuttingDown);
        };
        let tasks = task_file::load(file).map_err(|problems| {
            for problem in &problems {
                problem.to_string().lines().for_each(|line| log::error!("{line}"));
            }
            log::error!("nothing was changed, since the task file cannot be");
            refusal(&problems)
        })?;
        settings::warn(&tasks);
        Ok(self.declared.changes(tasks, |name| supervisor.find(name)))
    }
}

/// Logs what has come of a change and answers who asked for it.
fn finish(change: &Change, server: &mut Server) {
    let report = &change.report;
    for (name, error) in &report.failed {
        log::error!("task={name} cannot be as the task file has it: {error}");
    }
    log::info!(
        "task file: started={} stopped={} restarted={} failed={} unchanged={}",
        report.started.len(),
        report.stopped.len(),
        report.restarted.len(),
        report.failed.len(),
        report.unchanged
    );
    if let Some(ticket) = change.asker {
        server.answer_reload(ticket, Ok(report));
    }
}
