//! A task in a pid namespace lives and ends as any other.

use crate::fixture::{Fixture, alone, guests, launch_request, named, sh, start_error};
use crate::support::{available, exists, init, isolated, kill, members, namespace, pid, writing};
use nix::sys::signal::Signal;
use ostler::{ExitStatus, Isolation, Options, Stage, TaskSpec};
use std::time::{Duration, Instant};

fn sleep() -> TaskSpec {
    TaskSpec { args: vec!["300".into()], ..TaskSpec::new("sleep") }
}

/// Its end leaves nothing of it.
fn stop_is_quick(fixture: &mut Fixture) {
    let task = fixture.launch(named("t", isolated(pid(), sleep())));
    let status = fixture.supervisor.status(task).unwrap();
    let namespace = namespace(&status);
    let init = init(&namespace);
    assert_eq!(members(&namespace).len(), 2);
    let begun = Instant::now();
    let stopped = fixture.stop("t", Duration::from_secs(50));
    assert!(begun.elapsed() < Duration::from_secs(25), "the grace was waited for");
    assert_eq!(stopped.exit.unwrap().status, ExitStatus::Signaled(2));
    assert_eq!(members(&namespace), [0; 0]);
    assert!(!exists(init) && !exists(status.pid.unwrap().number()), "a zombie is left");
    fixture.supervisor.remove(task, false).unwrap();
}

#[test]
fn a_stop_of_sleep_does_not_take_the_grace() {
    if !available("a_stop_of_sleep_does_not_take_the_grace") {
        return;
    }
    for options in guests() {
        stop_is_quick(&mut Fixture::new(options));
    }
    alone(|mut fixture| stop_is_quick(&mut fixture));
}

#[test]
fn the_exit_is_that_of_the_main_process() {
    if !available("the_exit_is_that_of_the_main_process") {
        return;
    }
    for options in guests() {
        let mut fixture = Fixture::new(options);
        for (script, end) in [
            ("exit 7", ExitStatus::Exited(7)),
            ("kill -KILL $$", ExitStatus::Signaled(9)),
            ("kill -SEGV $$", ExitStatus::Signaled(11)),
            ("kill -TERM $$", ExitStatus::Signaled(15)),
            ("sleep 300 & exit 3", ExitStatus::Exited(3)),
        ] {
            let task = fixture.launch(named("t", isolated(pid(), sh(script))));
            assert_eq!(fixture.wait("t").exit.unwrap().status, end, "{script}");
            fixture.supervisor.remove(task, false).unwrap();
        }
    }
}

#[test]
fn the_pid_is_the_one_outside_and_the_task_is_process_2() {
    if !available("the_pid_is_the_one_outside_and_the_task_is_process_2") {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let task = fixture.launch(named("t", isolated(pid(), sleep())));
    let status = fixture.supervisor.status(task).unwrap();
    let outside = status.pid.unwrap();
    let text = std::fs::read_to_string(format!("/proc/{outside}/status")).unwrap();
    let numbers = text.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(numbers.split_whitespace().collect::<Vec<_>>(), [&*outside.to_string(), "2"]);
    assert!(text.contains(&format!("PPid:\t{}\n", std::process::id())), "{text}");
    // What ends it from outside is told like any end.
    kill(outside.number(), Signal::SIGKILL);
    assert_eq!(fixture.wait("t").exit.unwrap().status, ExitStatus::Signaled(9));
    assert_eq!(fixture.wait("t").exit.unwrap().pid, outside);
}

#[test]
fn whoever_ends_the_init_ends_the_task() {
    if !available("whoever_ends_the_init_ends_the_task") {
        return;
    }
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let task = fixture.launch(named("t", isolated(pid(), sh("sleep 300 & sleep 300; exit 0"))));
        let namespace = namespace(&fixture.supervisor.status(task).unwrap());
        kill(init(&namespace), Signal::SIGKILL);
        assert_eq!(fixture.wait("t").exit.unwrap().status, ExitStatus::Signaled(9));
        assert_eq!(members(&namespace), [0; 0]);
    }
}

#[test]
fn signals_to_all_reach_all_but_the_init() {
    if !available("signals_to_all_reach_all_but_the_init") {
        return;
    }
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let script = "trap 'echo main; exit 5' TERM; (trap 'echo child; exit' TERM; echo ready; \
                      while :; do sleep 0.01; done) & while :; do sleep 0.01; done";
        let spec = writing(&path, isolated(pid(), sh(script)));
        let task = fixture.launch(named("t", TaskSpec { stop_all: true, ..spec }));
        crate::fixture::line_of(&mut fixture, &path);
        fixture.supervisor.stop(task, Some(ostler::Signal::TERM), None).unwrap();
        assert_eq!(fixture.wait("t").exit.unwrap().status, ExitStatus::Exited(5));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("main\n"), "{text}");
        fixture.supervisor.remove(task, false).unwrap();
    }
}

#[test]
fn orphans_are_reaped_inside() {
    if !available("orphans_are_reaped_inside") {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    // Grandchildren that end after their parents. In the end only 1, 2 and this look are there.
    let script = "for i in 1 2 3 4 5 6 7 8 9; do (sh -c 'sleep 0.05' & (sleep 0.02 &)); done\n\
                  while n=$(ls -d /proc/[0-9]* | wc -l); [ $n -gt 5 ]; do sleep 0.02; done\n\
                  grep -h State: /proc/[0-9]*/status; exit 4";
    fixture.launch(named("t", writing(&path, isolated(pid(), sh(script)))));
    assert_eq!(fixture.wait("t").exit.unwrap().status, ExitStatus::Exited(4));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().count() >= 2 && !text.contains('Z'), "{text}");
}

#[test]
fn restarts_get_a_new_namespace() {
    if !available("restarts_get_a_new_namespace") {
        return;
    }
    let mut fixture = Fixture::new(Options::default());
    let task = fixture.launch(named("t", isolated(pid(), sleep())));
    let first = init(&namespace(&fixture.supervisor.status(task).unwrap()));
    fixture.status(ostler::Request::Restart { name: "t".into(), signal: None, grace: None });
    let second = init(&namespace(&fixture.supervisor.status(task).unwrap()));
    assert!(first != second && !exists(first));
    fixture.stop("t", Duration::ZERO);
}

#[test]
fn a_launch_that_fails_inside_leaves_nothing() {
    if !available("a_launch_that_fails_inside_leaves_nothing") {
        return;
    }
    let everything = Isolation {
        ipc: true,
        uts: true,
        hostname: Some("inside".into()),
        net: Some("none".into()),
        ..pid()
    };
    for options in guests() {
        let mut fixture = Fixture::new(options);
        for (spec, stage) in [
            (TaskSpec::new("/no/such"), Stage::Lookup),
            (TaskSpec { work_dir: Some("/no/such".into()), ..sleep() }, Stage::Directory),
        ] {
            let spec = named("t", isolated(everything.clone(), spec));
            let error = fixture.ask(launch_request(spec)).unwrap_err();
            assert_eq!(start_error(error).stage, stage);
            assert_eq!(fixture.supervisor.tasks().count(), 0);
        }
    }
}
