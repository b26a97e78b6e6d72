//! Each way out is tried, and fails.

use crate::fixture::{Fixture, lives, named, sh};
use crate::probe::report;
use crate::support::{available, is_root, isolated, members, namespace, pid};
use nix::libc::{EPERM, ESRCH};
use ostler::{EventKind, ExitStatus, Isolation, Options, Resources, TaskSpec};
use std::time::Duration;

#[test]
fn a_task_reaches_neither_the_outside_nor_its_init() {
    let test = "a_task_reaches_neither_the_outside_nor_its_init";
    if !available(test) {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let sleep = TaskSpec { args: vec!["300".into()], ..TaskSpec::new("sleep") };
    let task = fixture.launch(named("neighbour", isolated(pid(), sleep)));
    let neighbour = fixture.supervisor.status(task).unwrap().pid.unwrap().number();
    // Root without a right, and a user of no rights: the init has none either.
    let bare = Isolation { capabilities: Some(Vec::new()), ..pid() };
    let users = if is_root(test) { vec![None, Some("65534:65534")] } else { vec![None] };
    for user in users {
        for outside in [neighbour as u32, std::process::id()] {
            let found = report(&mut fixture, bare.clone(), user, outside, 0o755);
            let errno = |name: &str| *found.get(name).unwrap_or_else(|| panic!("{found:?}"));
            for attempt in ["kill outside", "ptrace outside", "pidfd outside"] {
                assert_eq!(errno(attempt), ESRCH, "{attempt}: {found:?}");
            }
            for attempt in ["ptrace init", "leave as user", "leave as kernel"] {
                assert_eq!(errno(attempt), EPERM, "{attempt}: {found:?}");
            }
            for attempt in ["root of init", "memory of init", "mounts of init"] {
                assert_ne!(errno(attempt), 0, "{attempt}: {found:?}");
            }
            assert_eq!(errno("init lives"), 0, "{found:?}");
        }
    }
    assert!(lives(neighbour));
    fixture.stop("neighbour", Duration::ZERO);
}

#[test]
fn a_task_that_kills_all_kills_itself_alone() {
    if !available("a_task_that_kills_all_kills_itself_alone") {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let sleep = TaskSpec { args: vec!["300".into()], ..TaskSpec::new("sleep") };
    let task = fixture.launch(named("neighbour", isolated(pid(), sleep)));
    let neighbour = fixture.supervisor.status(task).unwrap().pid.unwrap().number();
    let script = "sleep 300 & kill -KILL -1; kill -KILL 1; wait; exit 3";
    fixture.launch(named("t", isolated(pid(), sh(script))));
    assert_eq!(fixture.wait("t").exit.unwrap().status, ExitStatus::Exited(3));
    assert!(lives(neighbour));
    fixture.stop("neighbour", Duration::ZERO);
}

#[test]
fn a_fork_bomb_is_held_and_ended() {
    let test = "a_fork_bomb_is_held_and_ended";
    if !available(test) {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    if !fixture.supervisor.facts().features.contains(&"cgroup.pids") {
        println!("skipped: {test}: no permission to limit processes");
        return;
    }
    let resources = Resources { pids_max: Some(Some(60)), ..Resources::default() };
    let script = "b() { b | b & }; b 2>/dev/null; sleep 300";
    let spec = isolated(pid(), sh(script));
    let spec = TaskSpec { resources: Some(Box::new(resources)), ..spec };
    let task = fixture.launch(named("bomb", spec));
    let namespace = namespace(&fixture.supervisor.status(task).unwrap());
    let most = fixture.until(|_| {
        let count = members(&namespace).len();
        (count > 30).then_some(count)
    });
    assert!(most <= 60, "{most}");
    fixture.stop("bomb", Duration::ZERO);
    assert_eq!(members(&namespace), [0; 0]);
    assert!(!fixture.events.iter().any(|event| event.kind == EventKind::Stuck));
}

#[test]
fn a_set_user_id_program_gives_nothing_under_no_new_privs() {
    let test = "a_set_user_id_program_gives_nothing_under_no_new_privs";
    if !available(test) || !is_root(test) {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    for (no_new_privs, expected) in [(false, 0), (true, 65534)] {
        let isolation = Isolation { no_new_privs, ..pid() };
        let own = std::process::id();
        let found = report(&mut fixture, isolation, Some("65534:65534"), own, 0o4755);
        let uid = found.get("effective uid");
        if !no_new_privs && uid == Some(&65534) {
            println!("skipped: {test}: the directory for temporary files is mounted nosuid");
            return;
        }
        assert_eq!(uid, Some(&expected), "{found:?}");
    }
}
