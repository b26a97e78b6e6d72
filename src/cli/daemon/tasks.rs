//! The daemon's task file: its tasks are launched at the start, and changed where it has changed
//! when it is read again.

use super::change::{Change, preview};
use super::declared::{Changes, Declared, Fingerprint, HandedTask, named_spec, refusal};
use super::memory;
use super::reading::{Progress, Reading};
use super::settings;
use crate::cli::task_file::{self, TaskFile};
use crate::control::{ReloadCall, ReloadRefusal, Server};
use crate::reactor::{Ready, Supervisor};
use crate::vocabulary::limits::CHANGES_PER_TURN;
use crate::vocabulary::{Reply, StateName, TaskId, Ticket};
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;

/// The task file and the tasks that came from it.
#[derive(Debug)]
pub(super) struct Tasks {
    file: Option<PathBuf>,
    declared: Declared,
    change: Option<Change>,
    reading: Option<Reading>,
    /// Readings that wait for the change under way; `None` where nobody is to be answered.
    waiting: VecDeque<Option<ReloadCall>>,
}

impl Tasks {
    /// Begins to launch what the file says. What is there already, from before the daemon began,
    /// counts as the file's own: it is left alone where it is the same. Exited tasks are launched
    /// again, unless the daemon goes on where an earlier one was killed. What came from the file of
    /// an earlier daemon, and is not in this one, is stopped.
    pub(super) fn start(
        file: Option<PathBuf>,
        tasks: TaskFile,
        supervisor: &mut Supervisor,
    ) -> Tasks {
        let mut declared = Declared::default();
        let named = tasks.tasks.iter().filter_map(|spec| spec.name.as_deref());
        let named: HashSet<&str> = named.collect();
        let all: Vec<TaskId> = supervisor.tasks().filter(|_| file.is_some()).collect();
        for task in all {
            let Some(status) = supervisor.status(task) else { continue };
            let name = &*status.identity.name;
            if !named.contains(name) && !status.identity.spec().declared {
                continue;
            }
            if status.state == StateName::Exited && !supervisor.is_resumed() {
                // It was stopped with an earlier daemon or by a reboot: this is a new beginning.
                if let Err(error) = supervisor.remove(task, false) {
                    log::warn!("task={name} cannot be launched anew: {error}");
                }
                continue;
            }
            declared.insert(task, Fingerprint::of(&named_spec(&status.identity)));
            supervisor.declare(task);
        }
        let changes = declared.changes(tasks, supervisor);
        let change = (changes != Changes::default()).then(|| {
            // The file is gone with all its specs: what stays of the launches finds its room.
            memory::make_room(changes.launch.len());
            let mut change = Change::begin(changes, None, supervisor);
            // Nobody is served yet, and whoever is served first is to find all of them.
            change.go_on(usize::MAX, supervisor);
            change
        });
        Tasks { file, declared, change, reading: None, waiting: VecDeque::new() }
    }

    /// Goes on with the tasks of the file as the program before this one knew them.
    pub(super) fn go_on(
        file: Option<PathBuf>,
        handed: Vec<HandedTask>,
        supervisor: &mut Supervisor,
    ) -> Tasks {
        let declared = Declared::go_on(handed, supervisor);
        // A program that knew no such mark may have launched them.
        declared.tasks().for_each(|task| supervisor.declare(task));
        Tasks { file, declared, change: None, reading: None, waiting: VecDeque::new() }
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
        self.change.is_some() || self.reading.is_some() || !self.waiting.is_empty()
    }

    /// Whether there is something to be done without anything having happened.
    pub(super) fn has_more(&self) -> bool {
        self.change.as_ref().is_some_and(Change::has_more)
            || self.reading.as_ref().is_some_and(Reading::has_more)
    }

    /// Whether this is about a file that is being read.
    pub(super) fn take_ready(&mut self, ready: &Ready) -> bool {
        self.reading.as_mut().is_some_and(|reading| reading.take_ready(ready))
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

    /// Goes on with the change that is under way, ends one that is done and begins the next one.
    /// Nothing is changed while the daemon is ending.
    pub(super) fn step(
        &mut self,
        supervisor: &mut Supervisor,
        server: &mut Server,
        is_ending: bool,
    ) {
        loop {
            if let Some(change) = &mut self.change {
                change.go_on(CHANGES_PER_TURN, supervisor);
                if !change.is_done() {
                    return;
                }
            }
            if let Some(change) = self.change.take() {
                self.declared.tidy(supervisor);
                finish(change, server);
            }
            if !self.go_on_reading(supervisor, server, is_ending) {
                return;
            }
        }
    }

    /// Goes on with the reading of the file that is under way, or begins the next one. Whether
    /// something has come of it.
    fn go_on_reading(
        &mut self,
        supervisor: &mut Supervisor,
        server: &mut Server,
        is_ending: bool,
    ) -> bool {
        let Some(mut reading) = self.reading.take() else {
            let Some(call) = self.waiting.pop_front() else { return false };
            match self.file.as_deref().filter(|_| !is_ending) {
                None => self.answer(call, Err(ReloadRefusal::ShuttingDown), supervisor, server),
                Some(file) => match Reading::begin(file, call, supervisor) {
                    Ok(reading) => self.reading = Some(reading),
                    Err((call, why)) => self.read_here(call, &why, supervisor, server),
                },
            }
            return true;
        };
        let progress = match is_ending {
            true => Progress::Refused(ReloadRefusal::ShuttingDown),
            false => reading.go_on(&self.declared, supervisor),
        };
        if matches!(progress, Progress::NotYet) {
            self.reading = Some(reading);
            return false;
        }
        let call = reading.end(supervisor);
        match progress {
            Progress::NotYet => {}
            Progress::Read(changes) => self.answer(call, Ok(changes), supervisor, server),
            Progress::Refused(why) => self.answer(call, Err(why), supervisor, server),
            Progress::Failed(why) => self.read_here(call, &why, supervisor, server),
        }
        true
    }

    /// Has no other process read the file: others wait meanwhile.
    fn read_here(
        &mut self,
        call: Option<ReloadCall>,
        why: &str,
        supervisor: &mut Supervisor,
        server: &mut Server,
    ) {
        log::warn!(
            "the task file is read by the daemon itself, since a process for it failed: {why}"
        );
        let read = self.read(supervisor);
        self.answer(call, read, supervisor, server);
    }

    /// Begins what a file asks for, or says what it would be.
    fn answer(
        &mut self,
        call: Option<ReloadCall>,
        read: Result<Changes, ReloadRefusal>,
        supervisor: &mut Supervisor,
        server: &mut Server,
    ) {
        match (read, call) {
            (Ok(changes), Some(call)) if call.dry_run => {
                server.answer_reload(call.ticket, Ok(&preview(changes, supervisor)));
            }
            (Ok(changes), call) => {
                let asker = call.map(|call| call.ticket);
                let begun = Change::begin(changes, asker, supervisor);
                self.change = Some(begun);
            }
            (Err(why), Some(call)) => server.answer_reload(call.ticket, Err(&why)),
            (Err(_), None) => {}
        }
    }

    fn read(&self, supervisor: &Supervisor) -> Result<Changes, ReloadRefusal> {
        let Some(file) = self.file.as_deref() else { return Err(ReloadRefusal::ShuttingDown) };
        let tasks = task_file::load(file).map_err(|problems| {
            for problem in &problems {
                problem.to_string().lines().for_each(|line| log::error!("{line}"));
            }
            log::error!("nothing was changed, since the task file cannot be");
            refusal(&problems)
        })?;
        settings::warn(&tasks);
        Ok(self.declared.changes(tasks, supervisor))
    }
}

/// Logs what has come of a change and answers who asked for it.
fn finish(change: Change, server: &mut Server) {
    let (asker, report) = change.end();
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
    if let Some(ticket) = asker {
        server.answer_reload(ticket, Ok(&report));
    }
}
