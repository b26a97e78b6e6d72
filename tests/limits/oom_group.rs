//! The OOM killer ends one process of a task, or all of them where it asks for that.

use crate::fixture::{Fixture, lives};
use crate::support::{groups_of, limited, setting, status, task};
use ostler::{ExitStatus, Request, Resources};
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// A hog beside a main process and another one, which both have nothing to do with it.
const SCRIPT: &str = "sleep 300 & sleep 1000 & pid=$!; \
    dd if=/dev/zero of=/dev/null bs=256M count=1; wait $pid; exit 3";

fn limits(all: Option<bool>) -> Resources {
    let memory_max = Some(Some(64 * MIB));
    Resources { memory_max, memory_oom_group: all, ..Resources::default() }
}

/// Waits until the OOM killer has been there.
fn until_killed(fixture: &mut Fixture) {
    fixture.until(|_| {
        let counts = |group: std::path::PathBuf| {
            ["memory.oom_control", "memory.events"].into_iter().any(|file| {
                let text = std::fs::read_to_string(group.join(file)).unwrap_or_default();
                text.lines().any(|line| line.starts_with("oom_kill ") && !line.ends_with(" 0"))
            })
        };
        groups_of("changed.1").into_iter().any(counts).then_some(())
    });
}

#[test]
fn all_of_a_task_ends_where_it_asks_for_that() {
    let Some(mut fixture) = limited("all_of_a_task_ends_where_it_asks_for_that") else { return };
    fixture.launch(task("all", SCRIPT, limits(Some(true))));
    let exit = fixture.wait("all").exit.unwrap();
    assert_eq!((exit.status, exit.oom_killed), (ExitStatus::Signaled(9), Some(true)));
    assert!(groups_of("all.1").is_empty());
}

#[test]
fn one_process_ends_where_it_does_not() {
    let Some(mut fixture) = limited("one_process_ends_where_it_does_not") else { return };
    for (number, all) in [None, Some(false)].into_iter().enumerate() {
        let launched = fixture.launch(task("one", &SCRIPT.replace("1000", "2"), limits(all)));
        let exit = fixture.wait("one").exit.unwrap();
        assert_eq!((exit.status, exit.oom_killed), (ExitStatus::Exited(3), Some(true)), "{number}");
        fixture.supervisor.remove(launched, false).unwrap();
    }
}

#[test]
fn it_can_be_changed_while_the_task_lives() {
    let Some(mut fixture) = limited("it_can_be_changed_while_the_task_lives") else { return };
    // The hog waits for a signal.
    let script = "trap 'dd if=/dev/zero of=/dev/null bs=256M count=1' USR1; \
                  sleep 300 & while :; do wait; done";
    let launched = fixture.launch(task("changed", script, limits(None)));
    for all in [true, false, true] {
        let change = Resources { memory_oom_group: Some(all), ..Resources::default() };
        let request = Request::Update { name: "changed".into(), resources: Box::new(change) };
        fixture.ask(request).unwrap();
        let now = status(&fixture, launched);
        if groups_of("changed.1").iter().any(|group| group.join("memory.oom.group").exists()) {
            assert_eq!(setting(&now, &["memory.oom.group"]), u8::from(all).to_string());
        }
        if !all {
            // One process ends, the task does not.
            fixture.supervisor.signal(launched, "USR1".parse().unwrap(), false).unwrap();
            until_killed(&mut fixture);
            fixture.supervisor.turn(Some(Duration::from_millis(500)), &mut fixture.events).unwrap();
            assert!(lives(now.pid.unwrap().number()));
        }
    }
    fixture.supervisor.signal(launched, "USR1".parse().unwrap(), false).unwrap();
    assert_eq!(fixture.wait("changed").exit.unwrap().status, ExitStatus::Signaled(9));
}
