//! Many tasks: nothing grows, nothing wakes.

use crate::fixture::{Fixture, alone, guests, named, sh};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use ostler::{FileSink, Options, Request, RestartMode, RestartPolicy, Sink, TaskSpec};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
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

/// A limit of descriptors: from half of it on a file need not be open between two writes.
const LIMIT: u64 = 4096;
/// What tasks leave free.
const RESERVE: i32 = 512;

fn rotated(path: &Path) -> Option<Sink> {
    let file = FileSink::new(path.display().to_string());
    Some(Sink::File(FileSink { max_size: Some(1 << 20), ..file }))
}

/// Takes all descriptors below this one.
fn fill(taken: &mut Vec<File>, below: i32) {
    loop {
        let file = File::open("/dev/null").unwrap();
        if file.as_raw_fd() >= below {
            return;
        }
        taken.push(file);
    }
}

#[test]
fn a_launch_gets_the_descriptors_of_files_that_need_not_be_open() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < LIMIT {
        println!("skipped: files that need not be open: the limit of descriptors is {hard}");
        return;
    }
    alone(|fixture| {
        drop(fixture);
        setrlimit(Resource::RLIMIT_NOFILE, LIMIT, LIMIT).unwrap();
        let mut fixture = Fixture::new(Options { own_process: true, ..Options::default() });
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let talks = "trap 'echo two; exit 0' INT; echo one; sleep 300 & wait";
        let mut taken = Vec::new();
        fill(&mut taken, LIMIT as i32 / 2);
        let names = ["a", "b", "c", "d"];
        for name in names {
            fixture.launch(named(name, TaskSpec { stdout: rotated(&path(name)), ..sh(talks) }));
            let written = || std::fs::read_to_string(path(name)).is_ok_and(|text| text == "one\n");
            fixture.until(|_| written().then_some(()));
        }
        fill(&mut taken, LIMIT as i32 - RESERVE);
        let mut launched = Vec::new();
        let refused = loop {
            let name = format!("more{}", launched.len());
            let stdout = rotated(&path(&name));
            let spec = TaskSpec { args: vec!["300".into()], ..TaskSpec::new("/bin/sleep") };
            match fixture.supervisor.launch(named(&name, TaskSpec { stdout, ..spec })) {
                Ok(task) => launched.push(task),
                Err(error) => break error.to_string(),
            }
        };
        assert!(refused.contains("descriptors"), "{refused}");
        // A pipe each in the place of a file.
        assert_eq!(launched.len(), names.len());
        // Whose lines arrive all the same.
        for name in names {
            let exit = fixture.stop(name, Duration::from_secs(30)).exit.unwrap();
            assert_eq!(exit.status.exit_code(), 0);
            assert_eq!(std::fs::read_to_string(path(name)).unwrap(), "one\ntwo\n");
        }
    });
}
