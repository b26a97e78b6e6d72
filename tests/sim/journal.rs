//! What outlives the supervisor of a simulated world, its death, and what the next one finds.

use crate::commands::Commands;
use crate::world::{Due, Happening, Run, World};
use ostler::engine::{Change, Config, Engine, Input, Main, Saved, State};
use ostler::{Exit, ExitStatus, LaunchNumber, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known after a death.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    pub(crate) tasks: BTreeMap<LaunchNumber, Saved>,
    next: (LaunchNumber, u64),
    sequence: u64,
    /// Ends of runs that were told to somebody.
    pub(crate) told: BTreeMap<(LaunchNumber, u64), Exit>,
    pub(crate) deaths: u64,
}

impl Journal {
    fn take_down(&mut self, engine: &mut Engine) {
        while let Some(change) = engine.next_change() {
            match change {
                Change::Removed(number) => drop(self.tasks.remove(&number)),
                Change::Task(saved) => drop(self.tasks.insert(saved.identity.number, saved)),
                Change::State(saved) => {
                    let known = self.tasks.get_mut(&saved.identity.number).expect("a task before");
                    assert_eq!(known.after.len().max(saved.after.len()), known.after.len());
                    let (identity, after) = (known.identity.clone(), known.after.clone());
                    *known = Saved { identity, after, ..saved };
                }
            }
        }
        self.next = engine.next_numbers();
        assert!(self.sequence <= engine.sequence());
        self.sequence = engine.sequence();
        for saved in self.tasks.values() {
            if let (State::Exited | State::Backoff { .. }, Some(exit)) = (saved.state, saved.exit) {
                self.told.insert((saved.identity.number, saved.run), exit);
            }
        }
    }
}

impl World {
    /// What happened so far survives.
    pub(crate) fn take_down(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.take_down(&mut self.engine);
        }
    }

    /// Whether this is the moment.
    pub(crate) fn dies(&mut self) -> bool {
        self.journal.is_some() && self.random.below(1000) < self.faults.deaths
    }

    pub(crate) fn die(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        journal.deaths += 1;
        let (next, sequence) = (journal.next, journal.sequence);
        let saved: Vec<Saved> = journal.tasks.values().cloned().collect();
        let mut old: BTreeMap<LaunchNumber, TaskId> = BTreeMap::new();
        for task in self.engine.tasks() {
            old.extend(self.engine.identity(task).map(|identity| (identity.number, task)));
        }
        self.engine = Engine::new(Config {
            instance: "sim".to_owned(),
            seed: self.random.below(1 << 20),
            first_launch: next.0.max(1),
            first_run: next.1.max(1),
            first_event: sequence + 1,
        });
        self.engine.note_changes();
        let now = self.now();
        let ids = self.engine.restore(now, saved.clone(), true);
        assert_eq!(ids.len(), saved.len(), "a task is lost");
        let mut runs = std::mem::take(&mut self.runs);
        let agenda = std::mem::take(&mut self.agenda);
        let mut renamed = BTreeMap::new();
        for (&new, saved) in ids.iter().zip(&saved) {
            let number = saved.identity.number;
            let before = old.get(&number).copied();
            renamed.extend(before.map(|old| (old, new)));
            let run = before.and_then(|old| runs.remove(&old));
            self.find_again(new, saved, run.filter(|run| run.number == saved.run));
        }
        for run in runs.values() {
            let lives = run.main || run.rest > 0;
            assert!(!lives || run.empty, "processes that nobody knows of: run {}", run.number);
        }
        // Commands in tasks are killed by whoever comes next.
        self.commands = Commands::default();
        for (key, due) in agenda {
            let Due::Run(task, number, happening) = due else { continue };
            let stays = matches!(
                happening,
                Happening::MainEnds(_) | Happening::OneOfTheRestEnds | Happening::AllKilled
            );
            if let Some(&new) = renamed.get(&task).filter(|_| stays) {
                self.agenda.insert(key, Due::Run(new, number, happening));
            }
        }
        self.drain(false);
    }

    /// What the next supervisor finds of a run.
    fn find_again(&mut self, task: TaskId, saved: &Saved, run: Option<Run>) {
        let told_by_now = run.as_ref().is_some_and(|run| run.main_told);
        let mut run = run.unwrap_or_else(|| Run::gone(saved.run));
        match saved.state {
            State::Starting { .. } => {
                // All of it is killed.
                run.aborted = true;
                run.exec = false;
                self.runs.insert(task, run);
                let wait = self.kill_delay();
                self.later(task, wait, Happening::Aborted);
            }
            State::Running { main: _ }
            | State::Stopping { main: Main::Lives(_) }
            | State::Killing { main: Main::Lives(_) } => {
                run.empty = false;
                run.awaits_empty = false;
                self.runs.insert(task, run);
                if told_by_now || !self.runs.get(&task).is_some_and(|run| run.main) {
                    self.runs.entry(task).and_modify(|run| run.main_told = true);
                    let ended = Input::MainExited(ExitStatus::Unknown);
                    self.later(task, Duration::ZERO, Happening::Tell(ended));
                }
            }
            State::Lingering { .. }
            | State::Leaving { .. }
            | State::Stopping { main: Main::Ended(_) }
            | State::Killing { main: Main::Ended(_) } => {
                run.main_told = true;
                run.main = false;
                run.empty = false;
                run.awaits_empty = matches!(saved.state, State::Stopping { .. });
                self.runs.insert(task, run);
                self.look_if_empty(task);
            }
            State::Draining { .. } => {
                run.empty = true;
                self.runs.insert(task, run);
            }
            State::Waiting { .. } | State::Backoff { .. } | State::Exited => {}
        }
    }
}
