//! A task in a group that its user names: one is made inside it, and it is left alone itself.

use crate::fixture::{Fixture, lives, named, sh};
use ostler::{CgroupMode, Containment, Options, RequestError, Resources, StateName, TaskSpec};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A v2 group with a process in it, both gone after the test.
struct Group {
    path: PathBuf,
    process: std::process::Child,
}

impl Group {
    fn make(test: &str) -> Option<Group> {
        let unified = Path::new("/sys/fs/cgroup/unified");
        let root = if unified.exists() { unified } else { Path::new("/sys/fs/cgroup") };
        let path = root.join(format!("{test}-{}", std::process::id()));
        if let Err(error) = std::fs::create_dir(&path) {
            println!("skipped: {test}: {error}");
            return None;
        }
        let process = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        std::fs::write(path.join("cgroup.procs"), process.id().to_string()).unwrap();
        Some(Group { path, process })
    }

    fn task(&self, name: &str, script: &str) -> TaskSpec {
        let cgroup = Some(self.path.to_str().unwrap().to_owned());
        TaskSpec { cgroup, ..named(name, sh(script)) }
    }

    fn inside(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.path).unwrap().map(|entry| entry.unwrap());
        entries.filter(|e| e.file_type().unwrap().is_dir()).map(|entry| entry.path()).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir(&self.path);
    }
}

#[test]
fn a_task_lives_inside_and_ends_alone() {
    let Some(group) = Group::make("a_task_lives_inside_and_ends_alone") else { return };
    let mut fixture = Fixture::new(Options::default());
    for relative in [false, true] {
        let mut spec = group.task("inside", "setsid sleep 300 & exec sleep 300");
        if relative {
            let name = group.path.file_name().unwrap().to_str().unwrap().to_owned();
            spec.cgroup = Some(name);
        }
        let task = fixture.launch(spec);
        let status = fixture.supervisor.status(task).unwrap();
        assert_eq!(status.containment, Some(Containment::CgroupV2));
        let own = PathBuf::from(fixture.supervisor.cgroup_of(&status).unwrap());
        assert_eq!(own.parent(), Some(&*group.path));
        assert_eq!(group.inside(), std::slice::from_ref(&own));
        let procs = || std::fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
        fixture.until(|_| (procs().lines().count() == 2).then_some(()));
        let pids: Vec<i32> = procs().lines().map(|pid| pid.parse().unwrap()).collect();
        assert!(pids.contains(&status.pid.unwrap().number()));
        assert_eq!(fixture.stop("inside", Duration::ZERO).state, StateName::Exited);
        // A process leaves its group a little before it is gone.
        fixture.until(|_| pids.iter().all(|pid| !lives(*pid)).then_some(()));
        assert_eq!(group.inside(), Vec::<PathBuf>::new());
        assert!(lives(group.process.id() as i32));
        fixture.supervisor.remove(task, false).unwrap();
    }
}

#[test]
fn a_start_that_fails_leaves_nothing_inside() {
    let Some(group) = Group::make("a_start_that_fails_leaves_nothing_inside") else { return };
    let mut fixture = Fixture::new(Options::default());
    let mut spec = group.task("missing", "");
    spec.command = "/no/such/command".into();
    let answer = fixture.ask(crate::fixture::launch_request(spec));
    assert!(matches!(answer, Err(RequestError::LaunchFailed(_))), "{answer:?}");
    assert_eq!(group.inside(), Vec::<PathBuf>::new());
}

/// Whoever waits for a newborn there waits until somebody thaws it.
#[test]
fn a_frozen_group_does_not_hold_up_the_supervisor() {
    let test = "a_frozen_group_does_not_hold_up_the_supervisor";
    let Some(group) = Group::make(test) else { return };
    let mut fixture = Fixture::new(Options::default());
    std::fs::write(group.path.join("cgroup.freeze"), "1").unwrap();
    let task = fixture.supervisor.launch(group.task("cold", "exec sleep 300")).unwrap();
    fixture.launch(named("warm", sh("exec sleep 300")));
    assert_eq!(fixture.supervisor.status(task).unwrap().state, StateName::Pending);
    std::fs::write(group.path.join("cgroup.freeze"), "0").unwrap();
    fixture.until(|f| (f.supervisor.status(task)?.state == StateName::Running).then_some(()));
    for name in ["cold", "warm"] {
        fixture.stop(name, Duration::ZERO);
    }
    assert_eq!(group.inside(), Vec::<PathBuf>::new());
}

#[test]
fn what_cannot_be_had_is_refused() {
    let Some(group) = Group::make("what_cannot_be_had_is_refused") else { return };
    let never = Options { cgroup: CgroupMode::Never, ..Options::default() };
    let refused = Fixture::new(never).supervisor.launch(group.task("t", "true")).unwrap_err();
    assert!(
        matches!(refused, RequestError::Unsupported { ref feature, .. } if feature == "cgroup")
    );
    let mut fixture = Fixture::new(Options::default());
    let mut limited = group.task("t", "true");
    let limits = Resources { pids_max: Some(Some(5)), ..Resources::default() };
    limited.resources = Some(Box::new(limits));
    let refused = fixture.supervisor.launch(limited).unwrap_err();
    assert!(
        matches!(refused, RequestError::Unsupported { ref feature, .. } if feature == "resources")
    );
    for nowhere in ["/tmp", "no/such/group"] {
        let spec = TaskSpec { cgroup: Some(nowhere.into()), ..named("t", sh("true")) };
        let refused = fixture.supervisor.launch(spec).unwrap_err();
        let RequestError::InvalidTask(invalid) = refused else { panic!("{refused:?}") };
        assert_eq!(invalid.field, "cgroup");
    }
}
