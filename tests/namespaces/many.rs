//! Many tasks in namespaces at once.

use crate::fixture::{Fixture, alone, launch_request, named};
use crate::machine::in_machine;
use crate::support::{available, isolated, pid};
use ostler::{StateName, TaskSpec};
use std::time::Duration;

/// An emulated machine is a hundred times slower.
fn tasks() -> usize {
    if in_machine() { 30 } else { 300 }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn children() -> String {
    std::fs::read_to_string("/proc/thread-self/children").unwrap()
}

fn all_live_and_end(mut fixture: Fixture) {
    // The first one makes what all share.
    for name in ["first", "second"] {
        fixture.launch(named(name, isolated(pid(), TaskSpec::new("true"))));
        fixture.wait(name);
    }
    let before = descriptors();
    let tasks = tasks();
    for number in 0..tasks {
        let spec = TaskSpec { args: vec!["300".into()], ..TaskSpec::new("sleep") };
        let spec = named(&format!("t{number}"), isolated(pid(), spec));
        fixture.supervisor.submit(launch_request(spec));
    }
    fixture.until(|fixture| {
        let running = |id| fixture.supervisor.status(id).map(|status| status.state);
        let ids: Vec<_> = fixture.supervisor.tasks().collect();
        let count = ids.into_iter().filter(|id| running(*id) == Some(StateName::Running)).count();
        (count == tasks).then_some(())
    });
    for number in 0..tasks {
        let name = format!("t{number}");
        let task = fixture.supervisor.find(&name).unwrap();
        fixture.supervisor.stop(task, None, Some(Duration::from_secs(30))).unwrap();
    }
    for number in 0..tasks {
        fixture.wait(&format!("t{number}"));
    }
    fixture.until(|_| children().trim().is_empty().then_some(()));
    assert_eq!(descriptors(), before);
}

#[test]
fn three_hundred_tasks_live_at_once_and_leave_nothing() {
    if available("three_hundred_tasks_live_at_once_and_leave_nothing") {
        alone(all_live_and_end);
    }
}
