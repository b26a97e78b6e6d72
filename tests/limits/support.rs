//! What the tests of limits share.

use crate::fixture::{Fixture, named, sh};
use crate::machine::in_machine;
use ostler::{Options, Resources, Status, TaskId, TaskSpec};
use std::path::{Path, PathBuf};

/// A supervisor where limits can be enforced; `None`: they cannot, as `test` is told.
pub(crate) fn limited(test: &str) -> Option<Fixture> {
    let fixture = Fixture::new(Options::default());
    let features = fixture.supervisor.facts().features;
    if features.contains(&"cgroup.memory") && features.contains(&"cgroup.pids") {
        return Some(fixture);
    }
    // Where root can write, all of this has to work.
    let writable = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"]
        .iter()
        .any(|path| nix::unistd::access(*path, nix::unistd::AccessFlags::W_OK).is_ok());
    assert!(!in_machine() && !writable, "features: {features:?}");
    println!("skipped: {test}: no permission to limit anything");
    None
}

/// The trees of this process's supervisors that are there, in all hierarchies.
pub(crate) fn groups_left() -> Vec<PathBuf> {
    trees_of(std::process::id())
}

/// The same of another process.
pub(crate) fn trees_of(pid: u32) -> Vec<PathBuf> {
    let start = format!("ostler-{pid}");
    let mut left = Vec::new();
    let mut open = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((directory, depth)) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&start);
            if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())) {
                left.push(entry.path());
            }
            if depth < 6 {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    left
}

/// The names of the groups of a run that are there.
pub(crate) fn groups_of(run: &str) -> Vec<PathBuf> {
    let of = |tree: PathBuf| Some(tree.join(run)).filter(|group| group.exists());
    groups_left().into_iter().filter_map(of).collect()
}

/// What the first of these files that exists says, in any group of a run.
pub(crate) fn setting(status: &Status, files: &[&str]) -> String {
    let run = format!("{}.{}", status.identity.name, status.run);
    let groups = groups_of(&run);
    let found = groups.iter().flat_map(|group| files.iter().map(|file| group.join(file)));
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let text = found.into_iter().find_map(read);
    text.unwrap_or_else(|| panic!("none of {files:?} in {groups:?}")).trim().to_owned()
}

pub(crate) fn task(name: &str, script: &str, resources: Resources) -> TaskSpec {
    TaskSpec { resources: Some(Box::new(resources)), ..named(name, sh(script)) }
}

pub(crate) fn status(fixture: &Fixture, task: TaskId) -> Status {
    fixture.supervisor.status(task).unwrap()
}

/// A line of /proc/PID/status.
pub(crate) fn of_process(status: &Status, field: &str) -> String {
    let path = Path::new("/proc").join(status.pid.unwrap().to_string()).join("status");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().find_map(|line| line.strip_prefix(field)).unwrap().trim().to_owned()
}

/// User and system time of a process so far, in seconds.
pub(crate) fn cpu_seconds(status: &Status) -> f64 {
    let path = Path::new("/proc").join(status.pid.unwrap().to_string()).join("stat");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks: f64 = fields.split(' ').skip(11).take(2).map(|n| n.parse::<f64>().unwrap()).sum();
    // USER_HZ is 100 on every architecture that has it in its interface.
    ticks / 100.0
}
