//! What the tests of namespaces share.

use crate::fixture::{Fixture, PATIENCE, lives};
use crate::machine::in_machine;
use ostler::{FileSink, Isolation, Options, Sink, Status, TaskSpec};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Whether tasks can have namespaces here; says so where they cannot.
pub(crate) fn available(test: &str) -> bool {
    let available =
        Fixture::new(Options::default()).supervisor.facts().features.contains(&"namespaces");
    // Where root may make them, all of this has to work.
    assert!(available || !in_machine(), "no namespaces in the virtual machine");
    if !available {
        println!("skipped: {test}: no permission to make namespaces");
    }
    available
}

/// Only root can change users; says so where we are not.
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {test}: not root");
    }
    root
}

pub(crate) fn pid() -> Isolation {
    Isolation { pid: true, ..Isolation::default() }
}

pub(crate) fn isolated(isolation: Isolation, spec: TaskSpec) -> TaskSpec {
    TaskSpec { isolation: Some(Box::new(isolation)), ..spec }
}

/// A task that writes into a file.
pub(crate) fn writing(path: &Path, spec: TaskSpec) -> TaskSpec {
    let sink = Sink::File(FileSink::new(path.display().to_string()));
    TaskSpec { stdout: Some(sink.clone()), stderr: Some(sink), ..spec }
}

/// A pid namespace. As long as it is held its name is not another's.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: PathBuf,
    _held: File,
}

fn name_of(pid: i32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

/// That of a process.
pub(crate) fn namespace_of(pid: i32) -> Option<Namespace> {
    let held = File::open(format!("/proc/{pid}/ns/pid")).ok()?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).ok()?;
    Some(Namespace { name, _held: held })
}

/// Whether a process is in the namespace of this one.
pub(crate) fn is_in_ours(pid: i32) -> bool {
    name_of(pid) == name_of(std::process::id() as i32)
}

/// The same of a task that runs.
pub(crate) fn namespace(status: &Status) -> Namespace {
    namespace_of(status.pid.unwrap().number()).unwrap()
}

/// The living processes in a pid namespace, as seen from here, its init among them.
pub(crate) fn members(namespace: &Namespace) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| name_of(pid).is_some_and(|name| name == namespace.name) && lives(pid))
        .collect()
}

/// The init of a pid namespace, which may be just taking its name.
pub(crate) fn init(namespace: &Namespace) -> i32 {
    let name = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let is_init = |pid: &i32| name(pid).is_ok_and(|name| name == "ostler-init\n");
    let mut found = None;
    until("the init has its name", || {
        found = members(namespace).into_iter().find(is_init);
        found.is_some()
    });
    found.unwrap()
}

/// Whether there is such a process, a zombie included.
pub(crate) fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// A directory into which everybody may look.
pub(crate) fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// Waits for what happens without the loop.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn kill(pid: i32, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}
