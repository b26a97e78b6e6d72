//! Many tasks: nothing grows, nothing wakes.

use crate::fixture::{Fixture, alone, guests, named, sh};
use ostler::{Request, RestartMode, RestartPolicy, TaskSpec};
use std::time::Duration;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn an_owner_without_events_sleeps() {
    alone(|mut fixture| {
        for number in 0..50 {
            let spec = TaskSpec { args: vec!["300".into()], ..TaskSpec::new("/bin/sleep") };
            fixture.launch(named(&format!("t{number}"), spec));
        }
        // A sweep for lost signals may be due once.
        for _ in 0..3 {
            let turn = Some(Duration::from_millis(1500));
            fixture.supervisor.turn(turn, &mut fixture.events).unwrap();
        }
        assert_eq!(fixture.supervisor.next_deadline(), None);
        let before = fixture.supervisor.figures().wakeups;
        let start = std::time::Instant::now();
        fixture.supervisor.turn(Some(Duration::from_secs(1)), &mut fixture.events).unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1), "something woke the loop");
        assert_eq!(fixture.supervisor.figures().wakeups, before + 1);
        assert_eq!(threads(), 1);
        for number in 0..50 {
            fixture.stop(&format!("t{number}"), Duration::ZERO);
        }
    });
}

#[test]
fn a_thousand_restarts_leave_no_descriptor() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log").display().to_string();
        let file = ostler::FileSink { max_size: Some(4096), ..ostler::FileSink::new(path) };
        let restart = RestartPolicy {
            mode: RestartMode::Always,
            delay: Some(Duration::ZERO),
            ..RestartPolicy::default()
        };
        let stdout = Some(ostler::Sink::File(file));
        let spec = TaskSpec { restart, stdout, ..sh("echo hello") };
        fixture.launch(named("busy", spec));
        let restarts = |fixture: &Fixture| {
            let task = fixture.supervisor.find("busy").unwrap();
            fixture.supervisor.status(task).unwrap().restarts
        };
        let at = |fixture: &mut Fixture, count: u32| {
            fixture.until(|fixture| {
                fixture.events.clear();
                (restarts(fixture) >= count).then_some(())
            });
        };
        at(&mut fixture, 10);
        let before = descriptors();
        at(&mut fixture, 250);
        assert!(descriptors() <= before + 3, "{} from {before}", descriptors());
        fixture.stop("busy", Duration::ZERO);
        fixture.ask(Request::Remove { name: "busy".into(), force: false }).unwrap();
        assert_eq!(fixture.supervisor.tasks().count(), 0);
    });
}

#[test]
fn nothing_of_a_removed_task_is_left() {
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let before = descriptors();
        for number in 0..20 {
            fixture.launch(named(&format!("t{number}"), sh("sleep 300")));
        }
        for number in 0..20 {
            let name = format!("t{number}");
            fixture.ask(Request::Remove { name, force: true }).unwrap();
        }
        // Other tests of this process have descriptors too: only a growth by ours is told.
        assert!(descriptors() < before + 20);
        assert_eq!(fixture.supervisor.tasks().count(), 0);
    }
}
