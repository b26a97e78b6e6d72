//! The engine in a world that is made up: thousands of steps of users and processes, decided by a
//! seed, with everything that must always be true checked after each.
//!
//! `OSTLER_SEED=n cargo test --test sim` replays one seed, `OSTLER_SEEDS=n` tries the first n.

// A simulation that is wrong about itself has failed.
#![allow(clippy::expect_used, clippy::panic)]

mod check;
mod commands;
mod commands_check;
mod crashes;
mod fault;
mod journal;
mod kinds;
mod noise;
mod scenes;
mod shutdowns;
mod small;
mod users;
mod world;

use check::Checker;
use fault::Faults;
use kinds::{ACTIONS, ERRORS, EVENTS, EXEC_ACTIONS};
use ostler::{EventKind, Request, StateName};
use std::collections::BTreeMap;
use std::time::Duration;
use world::World;

/// Seeds that once found something wrong, in the engine or in what is asked of it.
const FAILED_ONCE: [u64; 6] = [18, 2_659, 27_924, 42_091, 50_394, 100_120];
const SEEDS: u64 = 400;
const STEPS: u64 = 700;

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {0}: OSTLER_SEED={0} cargo test --test sim world", self.0);
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

/// One life of a world, and all that was seen of it.
fn simulate(seed: u64) -> Checker {
    let _replay = Replay(seed);
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.faults = Faults::default();
    settle(&mut world);
    end(&mut world, seed);
    world.check
}

/// Without faults and requests every task comes to rest in bounded time.
fn settle(world: &mut World) {
    // Longer than the longest life, kill, delay and slow reader of the world together.
    let until = world.now().mono + Duration::from_secs(900);
    while world.now().mono < until && world.advance_within(until.since(world.now().mono)) {}
    for task in world.engine.tasks().collect::<Vec<_>>() {
        let status = world.engine.status(task).expect("listed");
        let rests =
            matches!(status.state, StateName::Running | StateName::Backoff | StateName::Exited);
        assert!(rests, "does not come to rest: {status:?}");
    }
    assert_eq!(world.check.waiting().1, 0, "all is at rest, and somebody still waits");
}

/// Everything is ended, in one of two ways, and nothing is left.
fn end(world: &mut World, seed: u64) {
    let names = |world: &World| -> Vec<String> {
        let ids = world.engine.tasks();
        ids.filter_map(|id| Some(world.engine.identity(id)?.name.to_string())).collect()
    };
    if seed.is_multiple_of(2) {
        world.ask(Request::Shutdown { stop_tasks: true, grace: Some(Duration::from_secs(3)) });
    } else {
        for name in names(world) {
            world.ask(Request::Stop { name, signal: None, grace: None });
        }
    }
    let until = world.now().mono + Duration::from_secs(600);
    while world.now().mono < until && world.advance_within(until.since(world.now().mono)) {}
    for task in world.engine.tasks().collect::<Vec<_>>() {
        let status = world.engine.status(task).expect("listed");
        assert_eq!(status.state, StateName::Exited, "was stopped: {status:?}");
    }
    assert_eq!(world.check.waiting().0, 0, "all have exited, and somebody still waits");
    for name in names(world) {
        world.ask(Request::Remove { name, force: false });
    }
    world.check.after_all(&world.engine);
}

#[test]
fn worlds_hold_together() {
    if let Some(seed) = number("OSTLER_SEED") {
        println!("{} steps", simulate(seed).steps);
        return;
    }
    let (mut steps, mut seen) = (0, BTreeMap::new());
    for seed in FAILED_ONCE.into_iter().chain(0..number("OSTLER_SEEDS").unwrap_or(SEEDS)) {
        let check = simulate(seed);
        steps += check.steps;
        for (name, count) in check.seen {
            *seen.entry(name).or_insert(0) += count;
        }
    }
    println!("{steps} steps: {seen:?}");
    assert!(steps >= 100_000);
    let events = EVENTS.map(EventKind::as_str);
    for name in ACTIONS.iter().chain(&EXEC_ACTIONS).chain(&events).chain(&ERRORS[..9]) {
        assert!(seen.get(name).is_some_and(|&count| count >= 10), "{name} is hardly ever seen");
    }
    assert_eq!(seen.get("another"), None, "an error that nothing here can cause");
}

#[test]
fn a_world_repeats_with_its_seed() {
    let trace = |seed| simulate(seed).trace;
    for seed in 0..5 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace(0), trace(1));
}
