//! Nothing escapes.

use crate::fixture::{Fixture, alone, line_of, lives, named, sh};
use ostler::{CgroupMode, Containment, Leftover, Options, StateName, TaskSpec};
use std::path::Path;
use std::time::Duration;

/// A daemon in the old style: its own session, forked twice, its parent gone.
fn escape(path: &Path) -> String {
    format!("setsid sh -c 'setsid sleep 300 & echo $! > {}' & sleep 300", path.display())
}

#[test]
fn a_double_fork_does_not_leave_a_group() {
    let options = Options { cgroup: CgroupMode::Require, ..Options::default() };
    let mut fixture = Fixture::new(options);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let launched = fixture.ask(crate::fixture::launch_request(named("daemon", sh(&escape(&path)))));
    if let Err(error) = launched {
        println!("skipped: no permission to make cgroups: {error}");
        return;
    }
    let escaped: i32 = line_of(&mut fixture, &path).parse().unwrap();
    assert!(lives(escaped));
    let task = fixture.supervisor.find("daemon").unwrap();
    let status = fixture.supervisor.status(task).unwrap();
    assert_eq!(status.containment, Some(Containment::CgroupV2));
    let group = fixture.supervisor.cgroup_of(&status).unwrap();
    assert!(Path::new(&group).is_dir());
    assert_eq!(fixture.stop("daemon", Duration::ZERO).state, StateName::Exited);
    assert!(!lives(escaped));
    assert!(!Path::new(&group).exists());
    let tree = Path::new(&group).parent().unwrap().to_owned();
    drop(fixture);
    assert!(!tree.exists(), "{} is left", tree.display());
}

#[test]
fn an_owner_gets_the_orphans_of_its_only_task() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fixture.launch(named("daemon", sh(&escape(&path))));
        let escaped: i32 = line_of(&mut fixture, &path).parse().unwrap();
        fixture.stop("daemon", Duration::ZERO);
        assert!(!lives(escaped), "{escaped} has escaped");
    });
}

#[test]
fn sessions_that_descendants_have_made_end_with_a_stop() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fixture.launch(named("neighbour", sh("setsid sleep 300 & setsid sleep 300")));
        let script = format!("setsid sleep 300 & echo $! > {}; exec sleep 300", path.display());
        fixture.launch(named("daemon", sh(&script)));
        let escaped: i32 = line_of(&mut fixture, &path).parse().unwrap();
        let stat = format!("/proc/{escaped}/stat");
        fixture.until(|_| {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.contains(&format!(" {escaped} {escaped} ")).then_some(())
        });
        let neighbour = fixture.supervisor.find("neighbour").unwrap();
        fixture.stop("daemon", Duration::from_secs(300));
        assert!(!lives(escaped), "{escaped} has escaped");
        assert_eq!(fixture.supervisor.status(neighbour).unwrap().state, StateName::Running);
        fixture.stop("neighbour", Duration::ZERO);
    });
}

#[test]
fn orphans_are_reaped() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let script = format!("(sh -c 'echo $$ > {}; exit 1' &) ; sleep 300", path.display());
        fixture.launch(named("parent", sh(&script)));
        let orphan: i32 = line_of(&mut fixture, &path).parse().unwrap();
        let gone = Path::new("/proc").join(orphan.to_string());
        fixture.until(|_| (!gone.exists()).then_some(()));
        fixture.stop("parent", Duration::ZERO);
    });
}

#[test]
fn what_a_task_leaves_is_no_orphan_of_the_next_one() {
    alone(|mut fixture| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let script = format!("setsid sleep 300 & echo $! > {}; sleep 0.1", path.display());
        let leftover = Leftover::Leave;
        fixture.launch(named("parent", TaskSpec { leftover, ..sh(&script) }));
        let left: i32 = line_of(&mut fixture, &path).parse().unwrap();
        fixture.wait("parent");
        fixture.launch(named("next", sh("exit 0")));
        fixture.wait("next");
        let living = lives(left);
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::SIGKILL).ok();
        assert!(living, "the next task's end has killed {left}");
    });
}
