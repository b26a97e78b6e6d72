//! What the main process leaves in its pid namespace.

use crate::fixture::{Fixture, alone, guests, line_of, named, sh};
use crate::support::{Namespace, available, exists, init, isolated, kill, members, namespace, pid};
use nix::sys::signal::Signal;
use ostler::{ExitStatus, Leftover, Request, StateName, TaskId, TaskSpec};

/// Ends as soon as the file is there, and leaves a process of another session and process group.
const SCRIPT: &str = "(setsid sh -c 'sleep 300 & sleep 300 & echo >$READY; wait' &)
while ! [ -e \"$GO\" ]; do sleep 0.01; done; exit 6";

struct Left {
    fixture: Fixture,
    task: TaskId,
    namespace: Namespace,
    init: i32,
    _directory: tempfile::TempDir,
}

/// A task whose main process has left three others.
fn left(mut fixture: Fixture, leftover: Leftover) -> Left {
    let directory = tempfile::tempdir().unwrap();
    let go = directory.path().join("go");
    let ready = directory.path().join("ready");
    let path = "PATH=/usr/bin:/bin".to_owned();
    let env = vec![path, format!("GO={}", go.display()), format!("READY={}", ready.display())];
    let spec = TaskSpec { leftover, env, ..isolated(pid(), sh(SCRIPT)) };
    let task = fixture.launch(named("t", spec));
    let namespace = namespace(&fixture.supervisor.status(task).unwrap());
    let init = init(&namespace);
    line_of(&mut fixture, &ready);
    std::fs::write(go, "").unwrap();
    Left { fixture, task, namespace, init, _directory: directory }
}

fn killed(fixture: Fixture) {
    let mut left = left(fixture, Leftover::Kill);
    let status = left.fixture.wait("t");
    assert_eq!(status.exit.unwrap().status, ExitStatus::Exited(6));
    assert_eq!(members(&left.namespace), [0; 0]);
    assert!(!exists(left.init));
}

fn awaited(fixture: Fixture) {
    let mut left = left(fixture, Leftover::Wait);
    let (task, namespace, init) = (left.task, left.namespace, left.init);
    left.fixture.until(|fixture| {
        let status = fixture.supervisor.status(task).unwrap();
        (status.pid.is_none() && status.state == StateName::Running).then_some(())
    });
    let others: Vec<i32> = members(&namespace).into_iter().filter(|&pid| pid != init).collect();
    assert_eq!(others.len(), 3, "they live on, and so does the task");
    for pid in others {
        assert_eq!(left.fixture.supervisor.status(task).unwrap().state, StateName::Running);
        kill(pid, Signal::SIGKILL);
    }
    assert_eq!(left.fixture.wait("t").exit.unwrap().status, ExitStatus::Exited(6));
    assert!(!exists(init), "the init is left");
}

fn stays(fixture: Fixture) {
    let mut left = left(fixture, Leftover::Leave);
    let (namespace, init) = (left.namespace, left.init);
    assert_eq!(left.fixture.wait("t").exit.unwrap().status, ExitStatus::Exited(6));
    let others: Vec<i32> = members(&namespace).into_iter().filter(|&pid| pid != init).collect();
    assert_eq!((others.len(), exists(init)), (3, true), "they stay, and so does their init");
    left.fixture.supervisor.remove(left.task, false).unwrap();
    others.into_iter().for_each(|pid| kill(pid, Signal::SIGKILL));
    left.fixture.until(|_| (!exists(init)).then_some(()));
}

fn stopped_while_awaited(fixture: Fixture) {
    let mut left = left(fixture, Leftover::Wait);
    let task = left.task;
    left.fixture
        .until(|fixture| fixture.supervisor.status(task).unwrap().pid.is_none().then_some(()));
    // The rest ends by the signal, the init by itself.
    let stopped = left.fixture.status(Request::Stop {
        name: "t".into(),
        signal: Some(ostler::Signal::TERM),
        grace: Some(std::time::Duration::from_secs(500)),
    });
    assert_eq!(stopped.state, StateName::Exited);
    assert_eq!(members(&left.namespace), [0; 0]);
    assert!(!exists(left.init));
}

#[test]
fn it_is_killed() {
    if available("it_is_killed") {
        guests().into_iter().map(Fixture::new).for_each(killed);
        alone(killed);
    }
}

#[test]
fn it_is_awaited() {
    if available("it_is_awaited") {
        guests().into_iter().map(Fixture::new).for_each(awaited);
        alone(awaited);
    }
}

#[test]
fn it_stays() {
    if available("it_stays") {
        guests().into_iter().map(Fixture::new).for_each(stays);
        alone(stays);
    }
}

#[test]
fn it_is_stopped() {
    if available("it_is_stopped") {
        guests().into_iter().map(Fixture::new).for_each(stopped_while_awaited);
        alone(stopped_while_awaited);
    }
}

#[test]
fn a_double_fork_gets_nowhere() {
    if !available("a_double_fork_gets_nowhere") {
        return;
    }
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let script =
            format!("setsid sh -c 'setsid sleep 300 & echo > {}' & sleep 300", path.display());
        let task = fixture.launch(named("t", isolated(pid(), sh(&script))));
        let namespace = namespace(&fixture.supervisor.status(task).unwrap());
        line_of(&mut fixture, &path);
        fixture.stop("t", std::time::Duration::ZERO);
        assert_eq!(members(&namespace), [0; 0]);
    }
}
