//! The supervisor dies at any moment, with everything that it had not taken down, and another one
//! goes on. Processes live on, end, and are found again or not.

use crate::fault::Faults;
use crate::journal::Journal;
use crate::number;
use crate::world::World;
use ostler::{Request, StateName};
use std::time::Duration;

const SEEDS: u64 = 300;
const STEPS: u64 = 500;

fn mortal(seed: u64) -> World {
    let mut world = World::new(seed);
    world.engine.note_changes();
    world.journal = Some(Journal::default());
    world.faults.deaths = 1 + world.random.below(60);
    world.check.off = true;
    world
}

/// One life of a world after the other, and the number of deaths between them.
fn simulate(seed: u64) -> u64 {
    let mut world = mortal(seed);
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
