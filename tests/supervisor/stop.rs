//! A stop: signal, grace, kill.

use crate::fixture::{Fixture, alone, guests, line_of, lives, named, sh};
use ostler::{EventKind, ExitStatus, Leftover, Request, RequestError, Signal, TaskSpec};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(300);

fn kinds(fixture: &Fixture) -> Vec<EventKind> {
    fixture.events.iter().map(|event| event.kind).collect()
}

fn stops(mut fixture: Fixture) {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");

    // One that ends on its signal is not killed, and its own code is told.
    let trap =
        format!("trap 'exit 5' INT; echo > {}; while :; do sleep 0.01; done", ready.display());
    fixture.launch(named("polite", sh(&trap)));
    line_of(&mut fixture, &ready);
    let status = fixture.stop("polite", LONG);
    assert_eq!(status.exit.unwrap().status, ExitStatus::Exited(5));
    assert!(!kinds(&fixture).contains(&EventKind::Killed));

    // One that ignores it is killed when the grace is over.
    std::fs::remove_file(&ready).unwrap();
    let deaf =
        format!("trap '' INT TERM; echo > {}; while :; do sleep 0.01; done", ready.display());
    fixture.launch(named("deaf", sh(&deaf)));
    line_of(&mut fixture, &ready);
    let before = Instant::now();
    let status = fixture.stop("deaf", Duration::from_millis(300));
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!(status.exit.unwrap().status, ExitStatus::Signaled(9));
    assert!(kinds(&fixture).contains(&EventKind::Killed));

    // No grace, no signal.
    fixture.launch(named("now", sh("trap 'exit 1' INT; sleep 300")));
    let status = fixture.stop("now", Duration::ZERO);
    assert_eq!(status.exit.unwrap().status, ExitStatus::Signaled(9));
}

#[test]
fn guests_stop_tasks() {
    guests().into_iter().map(Fixture::new).for_each(stops);
}

#[test]
fn owners_stop_tasks() {
    alone(stops);
}

/// What a task leaves in its process group or session dies with it.
fn rest_is_killed(mut fixture: Fixture) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let script = format!("sleep 300 & echo $! > {}; exit 0", path.display());
    fixture.launch(named("parent", sh(&script)));
    fixture.wait("parent");
    let left: i32 = line_of(&mut fixture, &path).parse().unwrap();
    assert!(!lives(left), "{left} lives on");
}

#[test]
fn what_is_left_is_killed_by_guests() {
    guests().into_iter().map(Fixture::new).for_each(rest_is_killed);
}

#[test]
fn what_is_left_is_killed_by_owners() {
    alone(rest_is_killed);
}

#[test]
fn what_is_left_can_be_awaited() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; exit 3", path.display());
        fixture.launch(named("parent", TaskSpec { leftover: Leftover::Wait, ..sh(&script) }));
        let left: i32 = line_of(&mut fixture, &path).parse().unwrap();
        fixture.until(|fixture| {
            let task = fixture.supervisor.find("parent").unwrap();
            fixture.supervisor.status(task).unwrap().pid.is_none().then_some(())
        });
        assert!(lives(left));
        assert!(!kinds(&fixture).contains(&EventKind::Exited));
        // A signal goes to what is left.
        let name = "parent".to_owned();
        let signal = Request::Signal { name, signal: Signal::TERM, all: true };
        fixture.ask(signal).unwrap();
        let status = fixture.wait("parent");
        assert_eq!(status.exit.unwrap().status, ExitStatus::Exited(3));
        assert!(!lives(left));
    });
}

#[test]
fn signals_reach_the_main_process_or_all() {
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("said");
        let ready = directory.path().join("ready");
        let script = format!(
            "trap 'echo main >> {0}' USR1; (trap 'echo child >> {0}' USR1; echo > {1}; \
             while :; do sleep 0.01; done) & while :; do sleep 0.01; done",
            path.display(),
            ready.display()
        );
        fixture.launch(named("two", sh(&script)));
        line_of(&mut fixture, &ready);
        let signal = |all| Request::Signal { name: "two".into(), signal: Signal::USR1, all };
        fixture.ask(signal(false)).unwrap();
        assert_eq!(line_of(&mut fixture, &path), "main");
        std::fs::remove_file(&path).unwrap();
        fixture.ask(signal(true)).unwrap();
        fixture.until(|_| {
            let said = std::fs::read_to_string(&path).unwrap_or_default();
            (said.contains("main") && said.contains("child")).then_some(())
        });
        fixture.stop("two", Duration::ZERO);
        let error = fixture.ask(signal(false)).unwrap_err();
        assert!(matches!(error, RequestError::NotRunning { .. }), "{error:?}");
    }
}

#[test]
fn what_was_left_alone_outlives_other_tasks() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let script = format!("sleep 300 & echo $! > {}; exit 0", path.display());
        fixture.launch(named("leaver", TaskSpec { leftover: Leftover::Leave, ..sh(&script) }));
        fixture.wait("leaver");
        let left: i32 = line_of(&mut fixture, &path).parse().unwrap();
        fixture.launch(named("other", sh("exit 0")));
        fixture.wait("other");
        assert!(lives(left), "{left} died with a task that it did not belong to");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL)
            .unwrap();
    });
}
