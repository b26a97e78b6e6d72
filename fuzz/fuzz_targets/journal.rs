//! Bytes as a journal: no panic, no task twice, and an engine that goes on with what was read comes
//! to no harm by it, in this boot or in the next.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::control::fuzzing_journal::read;
use ostler::engine::{Config, Engine, Output};
use ostler::{Mono, Now, Wall};
use std::collections::BTreeSet;

fuzz_target!(|input: (bool, &[u8])| {
    let (same_boot, bytes) = input;
    let Ok((kept, complaints)) = read(bytes) else { return };
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert!(complaints.len() <= lines + 1, "{complaints:?}");
    assert!(!kept.instance.is_empty(), "launches need a name");
    let names: BTreeSet<&str> = kept.tasks.iter().map(|task| &*task.identity.name).collect();
    assert_eq!(names.len(), kept.tasks.len(), "two tasks have one name");
    for task in &kept.tasks {
        assert!(task.identity.number < kept.counters.next_launch);
        assert!(task.run < kept.counters.next_run);
    }
    let mut engine = Engine::new(Config {
        instance: kept.instance,
        seed: 0,
        first_launch: kept.counters.next_launch,
        first_run: kept.counters.next_run,
        first_event: kept.counters.sequence + 1,
    });
    let now = Now { mono: Mono::from_nanos(1 << 40), wall: Wall::from_micros(1 << 50) };
    engine.note_changes();
    let tasks = kept.tasks.len();
    let ids = engine.restore(now, kept.tasks, same_boot);
    assert_eq!(ids.len(), tasks);
    while let Some(output) = engine.next_output() {
        if let Output::Event(event) = output {
            assert!(event.sequence > kept.counters.sequence);
        }
    }
    engine.expire(now);
    while engine.next_output().is_some() {}
    while engine.next_change().is_some() {}
});
