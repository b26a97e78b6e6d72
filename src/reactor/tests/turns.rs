//! What one turn of the loop does, and what is told of it.

use super::*;
use crate::reactor::CgroupMode;
use crate::vocabulary::limits::STARTS_PER_TURN;
use crate::vocabulary::{EventKind, IfExists, Request};

#[test]
fn a_storm_of_starts_is_spread_over_turns_that_are_told_in_full() {
    let options = Options { cgroup: CgroupMode::Never, ..Options::default() };
    let mut rig = Rig::new(options);
    for number in 0..STARTS_PER_TURN * 3 {
        rig.supervisor.submit(Request::Launch {
            spec: Box::new(sleeper(&format!("t{number}"))),
            if_exists: IfExists::Fail,
            timeout: PATIENCE,
        });
    }
    let mut before = 0;
    for turn in 1..=3 {
        let begun = Instant::now();
        rig.supervisor.turn(Some(Duration::ZERO), &mut rig.events).expect("a turn");
        let took = u64::try_from(begun.elapsed().as_micros()).expect("short");
        let started = rig.events.iter().filter(|event| event.kind == EventKind::Started).count();
        // As many as there is time for, and one at least.
        assert!((before + 1..=STARTS_PER_TURN * turn).contains(&started), "{started}");
        before = started;
        let told = rig.supervisor.figures().loop_max_us;
        assert!(told >= took / 2, "a turn of {took} us is told as {told}");
    }
    let tasks: Vec<TaskId> = rig.supervisor.tasks().collect();
    for &task in &tasks {
        rig.supervisor.stop(task, None, Some(Duration::ZERO)).expect("a task");
    }
    rig.until(|rig| tasks.iter().all(|&task| rig.state(task) == Some(StateName::Exited)));
}

#[test]
fn facts_are_found_out_once() {
    let supervisor = Supervisor::new(Options::default()).expect("a supervisor");
    let first = supervisor.facts();
    // Where there are v1 groups one is made to find out what it offers.
    let before = faults::calls("mkdir");
    assert_eq!(supervisor.facts(), first);
    assert_eq!(faults::calls("mkdir"), before);
}
