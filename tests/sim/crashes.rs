//! The supervisor dies at any moment, with everything that it had not taken down, and another one
//! goes on. Processes live on, end, and are found again or not.

use crate::fault::Faults;
use crate::number;
use crate::world::{Happening, Run, World};
use ostler::engine::{Change, Config, Engine, Input, Main, Saved, State};
use ostler::{Exit, ExitStatus, LaunchNumber, Request, StateName, TaskId};
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 300;
const STEPS: u64 = 500;

/// What is known after a death.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    tasks: BTreeMap<LaunchNumber, Saved>,
    next: (LaunchNumber, u64),
    sequence: u64,
    /// Ends of runs that were told to somebody.
    told: BTreeMap<(LaunchNumber, u64), Exit>,
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
    fn mortal(seed: u64) -> World {
        let mut world = World::new(seed);
        world.engine.note_changes();
        world.journal = Some(Journal::default());
        world.faults.deaths = 1 + world.random.below(60);
        world.check.off = true;
        world
    }

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
            seed: self.random.next(),
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
        for (key, (task, number, happening)) in agenda {
            let stays = matches!(
                happening,
                Happening::MainEnds(_) | Happening::OneOfTheRestEnds | Happening::AllKilled
            );
            if let Some(&new) = renamed.get(&task).filter(|_| stays) {
                self.agenda.insert(key, (new, number, happening));
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

/// One life of a world after the other, and the number of deaths between them.
fn simulate(seed: u64) -> u64 {
    let mut world = World::mortal(seed);
    for _ in 0..STEPS {
        world.step();
    }
    // Deaths and all else that goes wrong have an end; then everything comes to rest.
    world.faults = Faults::default();
    let until = world.now().mono + Duration::from_secs(900);
    while world.now().mono < until && world.advance_within(until.since(world.now().mono)) {}
    for task in world.engine.tasks().collect::<Vec<_>>() {
        let status = world.engine.status(task).expect("listed");
        let rests =
            matches!(status.state, StateName::Running | StateName::Backoff | StateName::Exited);
        assert!(rests, "does not come to rest: {:?}", world.engine.saved(task));
        let told = world
            .journal
            .as_ref()
            .and_then(|journal| journal.told.get(&(status.identity.number, status.run)).copied());
        if let (Some(told), StateName::Exited) = (told, status.state) {
            assert_eq!(Some(told), status.exit, "an end is another than it was told to be");
        }
    }
    let names: Vec<String> = world
        .engine
        .tasks()
        .filter_map(|task| Some(world.engine.identity(task)?.name.to_string()))
        .collect();
    for name in &names {
        world.ask(Request::Stop { name: name.clone(), signal: None, grace: None });
    }
    let until = world.now().mono + Duration::from_secs(600);
    while world.now().mono < until && world.advance_within(until.since(world.now().mono)) {}
    for name in names {
        world.ask(Request::Remove { name, force: false });
    }
    let left: Vec<_> = world.engine.tasks().map(|task| world.engine.saved(task)).collect();
    assert!(left.is_empty(), "tasks are left: {left:#?}");
    assert_eq!(world.engine.entries(), 0, "something is left behind");
    let journal = world.journal.expect("it was there all the time");
    assert!(journal.tasks.is_empty(), "the journal knows more");
    journal.deaths
}

#[test]
fn whoever_comes_next_goes_on() {
    if let Some(seed) = number("OSTLER_CRASH_SEED") {
        println!("{} deaths", simulate(seed));
        return;
    }
    let mut deaths = 0;
    for seed in 0..number("OSTLER_SEEDS").unwrap_or(SEEDS) {
        let outcome = std::panic::catch_unwind(|| simulate(seed));
        match outcome {
            Ok(count) => deaths += count,
            Err(_) => panic!("OSTLER_CRASH_SEED={seed} cargo test --test sim whoever"),
        }
    }
    println!("{deaths} deaths");
    assert!(deaths > 1000);
}
