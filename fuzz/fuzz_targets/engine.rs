//! Requests, answers of the kernel and the passing of time in any order: the world is that of
//! tests/sim, the bytes decide what happens in it.
#![no_main]

mod check;
#[path = "../../tests/sim/commands.rs"]
mod commands;
mod fault;
#[path = "../../tests/sim/journal.rs"]
mod journal;
#[path = "../../tests/sim/noise.rs"]
mod noise;
#[path = "../../tests/sim/users.rs"]
mod users;
#[path = "../../tests/sim/world.rs"]
mod world;

use fault::{Faults, Random};
use libfuzzer_sys::fuzz_target;
use ostler::{Request, StateName};
use std::time::Duration;
use world::World;

/// Longer than the longest life, kill, delay and slow reader of the world together.
const REST: Duration = Duration::from_secs(900);

fuzz_target!(|bytes: &[u8]| {
    let mut world = World::new(0);
    world.random = Random::of(bytes);
    world.faults = Faults::all();
    while !world.random.is_spent() {
        world.step();
    }
    world.faults = Faults::default();
    world.ask(Request::Shutdown { stop_tasks: true, grace: Some(Duration::from_secs(3)) });
    let until = world.now().mono + REST;
    while world.now().mono < until && world.advance_within(until.since(world.now().mono)) {}
    let tasks: Vec<_> = world.engine.tasks().collect();
    for task in tasks {
        let status = world.engine.status(task).expect("listed");
        assert_eq!(status.state, StateName::Exited, "was stopped: {status:?}");
        let name = status.identity.name.to_string();
        world.ask(Request::Remove { name, force: false });
    }
    world.check.after_all(&world.engine);
});
