//! Launches of real processes, each in every way that this machine has.

mod failures;
mod foreground;
mod inheritance;
mod lookup;
mod mounts;
mod namespaces;
mod privileges;

use super::*;
use crate::sys::reap::{self, Keep, Look};
use crate::vocabulary::{ExitStatus, Stage};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Read;
use std::os::fd::AsFd;

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Way {
    Shared,
    Copied,
    /// Without clone3 and close_range.
    Old,
}

const WAYS: [Way; 3] = [Way::Shared, Way::Copied, Way::Old];

impl Way {
    fn spawner(self) -> Spawner {
        self.spawner_with(false)
    }

    fn spawner_with(self, own_process: bool) -> Spawner {
        let always_copied = self != Way::Shared;
        let mut spawner = Spawner::new(SpawnerOptions { own_process, always_copied }).unwrap();
        if self == Way::Old {
            spawner.host.clone3 = false;
            spawner.host.close_range = false;
        }
        spawner
    }
}

/// A task that runs `script`.
fn sh(script: &str) -> TaskSpec {
    TaskSpec {
        args: vec!["-c".into(), script.into()],
        env: vec!["PATH=/usr/bin:/bin".into()],
        ..TaskSpec::new("/bin/sh")
    }
}

fn task(command: &str, args: &[&str]) -> TaskSpec {
    TaskSpec {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec!["PATH=/usr/bin:/bin".into()],
        ..TaskSpec::new(command)
    }
}

/// Waits until the exec has succeeded or failed.
fn settle(spawned: Spawned) -> Result<Child, StartError> {
    match spawned {
        Spawned::Running(child) => Ok(child),
        Spawned::Starting(child, pipe) => match outcome(pipe) {
            Ok(()) => Ok(child),
            Err(error) => {
                child.reap();
                Err(error)
            }
        },
        // It may have succeeded where only its report could not be read.
        Spawned::Preparing(init, pipe) => match outcome(pipe) {
            Ok(()) => Ok(init),
            Err(error) => {
                init.kill_and_reap();
                Err(error)
            }
        },
    }
}

fn outcome(mut pipe: StatusPipe) -> Result<(), StartError> {
    loop {
        match pipe.outcome() {
            None => until_readable(pipe.as_fd()),
            Some(outcome) => return outcome,
        }
    }
}

/// Its main process, and its init where it has one.
fn start(
    spawner: &mut Spawner,
    plan: &Plan,
    streams: Streams,
) -> Result<(Child, Option<Child>), StartError> {
    let spawned = spawner.spawn(plan, streams, None)?;
    let has_init = matches!(spawned, Spawned::Preparing(..));
    let first = settle(spawned)?;
    if !has_init {
        return Ok((first, None));
    }
    let entry = Entry { process: first.pidfd.as_ref().unwrap().as_fd() };
    match spawner.spawn_inside(plan, streams, None, entry).and_then(settle) {
        Ok(main) => Ok((main, Some(first))),
        Err(error) => {
            first.kill_and_reap();
            Err(error)
        }
    }
}

fn until_readable(fd: std::os::fd::BorrowedFd<'_>) {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
}

fn wait(child: &Child) -> ExitStatus {
    loop {
        if let Some(pidfd) = &child.pidfd {
            until_readable(pidfd.as_fd());
        }
        match reap::look(child.pid, child.pidfd.as_ref(), Keep::Nothing) {
            Look::Alive => std::thread::yield_now(),
            Look::Ended(status) => return status,
            Look::Gone => panic!("somebody else has reaped it"),
        }
    }
}

/// Runs a task to its end; its two outputs together, which have to be text.
fn run_in(spawner: &mut Spawner, spec: &TaskSpec) -> Result<(ExitStatus, String), StartError> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
    let plan = spawner.plan(spec)?;
    let end = Some(writer.as_raw_fd());
    let streams = Streams { stdin: None, stdout: end, stderr: end };
    let started = start(spawner, &plan, streams);
    // Before the reading: it ends when nobody else has the writing end.
    drop(writer);
    let (child, init) = started?;
    let mut text = String::new();
    std::fs::File::from(reader).read_to_string(&mut text).unwrap();
    let status = wait(&child);
    if let Some(init) = init {
        init.kill_and_reap();
    }
    Ok((status, text))
}

fn run(way: Way, spec: &TaskSpec) -> Result<(ExitStatus, String), StartError> {
    run_in(&mut way.spawner(), spec)
}

/// What a task prints that has to succeed.
fn output(way: Way, spec: &TaskSpec) -> String {
    let (status, text) = run(way, spec).unwrap_or_else(|error| panic!("{way:?}: {error}"));
    assert_eq!(status, ExitStatus::Exited(0), "{way:?}: {text}");
    text
}

/// Whether this test can change users; says so where it cannot.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped {test}: only root can change to another user");
    }
    root
}

/// Runs the test `name` (its path below `sys::spawn::tests`) in a process of its own, where no
/// other test changes what the whole process has.
fn alone(name: &str, body: impl FnOnce()) {
    const VARIABLE: &str = "SPAWN_TEST_ALONE";
    if std::env::var(VARIABLE).is_ok_and(|value| value == name) {
        body();
        return;
    }
    let name_of_all = format!("sys::spawn::tests::{name}");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name_of_all, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, name)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn each_way_is_taken_when_asked_for() {
    for way in WAYS {
        let mut spawner = way.spawner();
        let plan = spawner.plan(&sh("exit 3")).unwrap();
        let spawned = spawner.spawn(&plan, Streams::default(), None).unwrap();
        assert_eq!(matches!(spawned, Spawned::Running(_)), way == Way::Shared, "{way:?}");
        assert_eq!(wait(&settle(spawned).unwrap()), ExitStatus::Exited(3), "{way:?}");
    }
}

#[test]
fn what_may_hang_is_never_waited_for() {
    let mut spawner = Way::Shared.spawner();
    // A link to anywhere.
    let plan = spawner.plan(&task("/proc/self/exe", &[])).unwrap();
    assert!(!plan.may_share);
    let elsewhere = TaskSpec { work_dir: Some("/proc".into()), ..sh("pwd") };
    assert!(!spawner.plan(&elsewhere).unwrap().may_share);
    assert_eq!(output(Way::Shared, &elsewhere), "/proc\n");
    // Nor is memory shared with a child whose new user could reach into it.
    spawner.host.can_change_user = true;
    spawner.host.user_change_is_open = true;
    let other = TaskSpec { user: Some("77:78".into()), ..sh("true") };
    assert!(!spawner.plan(&other).unwrap().may_share);
    assert!(spawner.plan(&sh("true")).unwrap().may_share);
}

#[test]
fn a_killed_newborn_is_made_again_in_the_other_way() {
    let Some(group) = killed_group() else {
        eprintln!("skipped a_killed_newborn_is_made_again_in_the_other_way: no v2 group to be had");
        return;
    };
    let mut spawner = Way::Shared.spawner();
    let plan = spawner.plan(&sh("cat /proc/self/cgroup")).unwrap();
    for launch in 0..3 {
        let directory = std::fs::File::open(&group).unwrap().into();
        let placement = Placement::new(directory, group.clone());
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        let streams = Streams { stdout: Some(writer.as_raw_fd()), ..Streams::default() };
        let spawned = spawner.spawn(&plan, streams, Some(&placement)).unwrap();
        drop(writer);
        assert!(matches!(spawned, Spawned::Starting(..)));
        assert_eq!(spawner.dead_newborns, DEAD_NEWBORNS_MAX.min(launch + 1));
        let child = settle(spawned).unwrap();
        let mut text = String::new();
        std::fs::File::from(reader).read_to_string(&mut text).unwrap();
        assert_eq!(wait(&child), ExitStatus::Exited(0));
        assert!(text.contains(group.file_name().unwrap().to_str().unwrap()), "{text}");
    }
    std::fs::remove_dir(&group).unwrap();
}

/// A v2 group into which nothing can be born: see cgroup.kill.
fn killed_group() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let root = PathBuf::from(line.split(' ').nth(4)?);
    let group = root.join(format!("spawn-test-{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    if std::fs::write(group.join("cgroup.kill"), "1").is_err() {
        std::fs::remove_dir(&group).unwrap();
        return None;
    }
    Some(group)
}

#[test]
fn a_child_is_born_in_its_group() {
    let Some(killed) = killed_group() else {
        eprintln!("skipped a_child_is_born_in_its_group: no v2 group to be had");
        return;
    };
    std::fs::remove_dir(&killed).unwrap();
    for way in WAYS {
        let group = killed.with_extension(format!("{way:?}"));
        std::fs::create_dir(&group).unwrap();
        let placement = Placement::new(std::fs::File::open(&group).unwrap().into(), group.clone());
        let mut spawner = way.spawner();
        let plan = spawner.plan(&task("sleep", &["60"])).unwrap();
        let spawned = spawner.spawn(&plan, Streams::default(), Some(&placement)).unwrap();
        assert_eq!(matches!(spawned, Spawned::Running(_)), way == Way::Shared);
        let child = settle(spawned).unwrap();
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert_eq!(members, format!("{}\n", child.pid));
        crate::sys::processes::kill(child.pid, crate::vocabulary::Signal::KILL).unwrap();
        assert_eq!(wait(&child), ExitStatus::Signaled(9));
        std::fs::remove_dir(&group).unwrap();
    }
}
