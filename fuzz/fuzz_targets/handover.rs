//! Bytes as the state of a daemon that another program is to go on with: no panic, no task twice,
//! and an engine that takes over what was read comes to no harm by it.
//!
//! What is read is also read with a first line that fits what follows, since few changes of a state
//! would get past its lengths else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::control::fuzzing_handover::{State, read};
use ostler::engine::{Config, Engine};
use ostler::{Mono, Now, Wall};
use std::collections::BTreeSet;

/// The first line of what is neither the journal nor the history.
const REST: &[u8] = b"{\"supervisor\":";

fuzz_target!(|bytes: &[u8]| {
    if let Ok(state) = read(bytes) {
        check(state);
    }
    if let Some(state) = fitting(bytes).and_then(|bytes| read(&bytes).ok()) {
        check(state);
    }
});

/// The same with the lengths that its parts have.
fn fitting(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.iter().position(|&byte| byte == b'\n')? + 1;
    let (first, rest) = bytes.split_at(head);
    let mut header: serde_json::Value = serde_json::from_slice(first).ok()?;
    let before = rest.windows(REST.len()).position(|part| part == REST)?;
    let lengths = header.get_mut("handover")?.as_object_mut()?;
    let history = lengths.get("history_bytes")?.as_u64()?.min(before as u64);
    lengths.insert("history_bytes".to_owned(), history.into());
    lengths.insert("journal_bytes".to_owned(), (before as u64 - history).into());
    let mut fitting = header.to_string().into_bytes();
    fitting.push(b'\n');
    fitting.extend_from_slice(rest);
    Some(fitting)
}

fn check(state: State) {
    let kept = state.kept;
    assert!(!kept.instance.is_empty(), "launches need a name");
    assert!(state.last <= kept.counters.sequence, "an event that has not happened");
    let names: BTreeSet<&str> = kept.tasks.iter().map(|task| &*task.identity.name).collect();
    assert_eq!(names.len(), kept.tasks.len(), "two tasks have one name");
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
    let ids = engine.take_over(now, kept.tasks);
    assert_eq!(ids.len(), tasks);
    while engine.next_output().is_some() {}
    engine.expire(now);
    while engine.next_output().is_some() {}
    while engine.next_change().is_some() {}
}
