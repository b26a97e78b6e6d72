//! How tasks end is told exactly.

use crate::fixture::{Fixture, alone, guests, line_of, named, sh, start_error};
use ostler::{EventKind, ExitStatus, RestartMode, RestartPolicy, StateName, TaskSpec};
use std::time::{Duration, Instant};

fn every_end_is_told(mut fixture: Fixture) {
    for (name, script, end) in [
        ("zero", "exit 0", ExitStatus::Exited(0)),
        ("seven", "exit 7", ExitStatus::Exited(7)),
        ("killed", "kill -9 $$", ExitStatus::Signaled(9)),
        ("real-time", "kill -40 $$", ExitStatus::Signaled(40)),
    ] {
        fixture.launch(named(name, sh(script)));
        let status = fixture.wait(name);
        assert_eq!(status.state, StateName::Exited);
        assert_eq!(status.exit.unwrap().status, end, "{name}");
        let kinds: Vec<EventKind> = fixture
            .events
            .iter()
            .filter(|event| &*event.status.identity.name == name)
            .map(|event| event.kind)
            .collect();
        use EventKind::{Exited, Finished, Launched, Started};
        assert_eq!(kinds, [Launched, Started, Exited, Finished], "{name}");
    }
}

#[test]
fn every_end_is_told_to_a_guest() {
    guests().into_iter().map(Fixture::new).for_each(every_end_is_told);
}

#[test]
fn every_end_is_told_to_an_owner() {
    alone(every_end_is_told);
}

#[test]
fn three_hundred_exits_in_the_same_instant() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let (gate, ready) = (directory.path().join("gate"), directory.path().join("ready"));
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // While it is open for writing nobody who opens it waits, and everybody who reads does.
        let writer = std::fs::OpenOptions::new().read(true).write(true).open(&gate).unwrap();
        let (at_gate, is_ready) = (gate.display(), ready.display());
        for number in 0..300 {
            let code = number % 256;
            let script =
                format!("exec 3< {at_gate}; echo >> {is_ready}; read line <&3; exit {code}");
            fixture.launch(named(&format!("t{number}"), sh(&script)));
        }
        fixture.until(|_| {
            let lines = std::fs::read_to_string(&ready).unwrap_or_default().len();
            (lines == 300).then_some(())
        });
        drop(writer);
        for number in 0..300 {
            let status = fixture.wait(&format!("t{number}")).exit.unwrap().status;
            assert_eq!(status, ExitStatus::Exited((number % 256) as u8), "t{number}");
        }
    });
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
}

/// Of signals that come at once all but one are lost.
#[test]
fn an_end_among_many_orphans_is_told_at_once() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready");
        let script = format!(
            "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 300 & done; echo > {}; wait",
            path.display()
        );
        for number in 0..10 {
            let name = format!("t{number}");
            let task = fixture.launch(named(&name, sh(&script)));
            line_of(&mut fixture, &path);
            std::fs::remove_file(&path).unwrap();
            let pid = fixture.supervisor.status(task).unwrap().pid.unwrap().number();
            let told = Instant::now();
            kill(-pid);
            fixture.wait(&name);
            let took = told.elapsed();
            assert!(took < Duration::from_millis(800), "{name} took {took:?}");
        }
    });
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() {
    for options in guests() {
        let mut fixture = Fixture::new(options);
        for (spec, stage, errno) in [
            (TaskSpec::new("/no/such/program"), "lookup", "ENOENT"),
            (TaskSpec::new("/etc/passwd"), "exec", "EACCES"),
            (TaskSpec { work_dir: Some("/no/such".into()), ..sh("") }, "directory", "ENOENT"),
            (TaskSpec { user: Some("no-such-user".into()), ..sh("") }, "user", "ENOENT"),
        ] {
            let request = crate::fixture::launch_request(named("x", spec));
            let error = start_error(fixture.ask(request).unwrap_err());
            assert_eq!(error.stage.as_str(), stage, "{error:?}");
            if stage != "user" {
                assert_eq!(error.errno_name, errno, "{error:?}");
            }
            assert_eq!(fixture.supervisor.tasks().count(), 0);
        }
    }
}

#[test]
fn a_task_that_fails_is_started_again_and_given_up() {
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let restart = RestartPolicy {
            mode: RestartMode::OnFailure,
            attempts: Some(Some(2)),
            delay: Some(Duration::from_millis(1)),
            ..RestartPolicy::default()
        };
        fixture.launch(named("crash", TaskSpec { restart, ..sh("exit 1") }));
        let status = fixture.wait("crash");
        assert!(status.gave_up);
        assert_eq!(status.restarts, 2);
        let starts = fixture.events.iter().filter(|e| e.kind == EventKind::Started).count();
        assert_eq!(starts, 3);
    }
}

#[test]
fn a_child_that_holds_the_output_does_not_hold_the_exit() {
    for options in guests() {
        let mut fixture = Fixture::new(options);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log").display().to_string();
        let file = ostler::FileSink { max_size: Some(1 << 20), ..ostler::FileSink::new(path) };
        let stdout = Some(ostler::Sink::File(file));
        let leftover = ostler::Leftover::Leave;
        let spec = TaskSpec { stdout, leftover, ..sh("sleep 300 & echo $!; exit 4") };
        fixture.launch(named("holder", spec));
        let status = fixture.wait("holder");
        assert_eq!(status.exit.unwrap().status, ExitStatus::Exited(4));
        let left = std::fs::read_to_string(directory.path().join("log")).unwrap();
        let left: i32 = left.trim().parse().unwrap();
        assert!(crate::fixture::lives(left));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL)
            .unwrap();
    }
}
