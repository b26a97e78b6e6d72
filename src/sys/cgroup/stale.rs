//! Trees of supervisors by name, and sweeping those of supervisors that are gone.

use super::{LEAF, Mounted};
use crate::sys::processes;
use crate::vocabulary::Pid;
use std::io::ErrorKind::NotFound;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Inode of the first pid namespace (PROC_PID_INIT_INO of the kernel).
const FIRST_PID_NAMESPACE: u64 = 4_026_531_836;

/// Tells the trees of other pid namespaces from ours, whose numbers mean other processes there.
pub(super) fn namespace_mark() -> String {
    match std::fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()) {
        Ok(FIRST_PID_NAMESPACE) => String::new(),
        Ok(inode) => format!(".{inode}"),
        Err(_) => ".unknown".to_owned(),
    }
}

/// The name of this process's tree.
pub(super) fn tree_name(mark: &str, number: u32) -> String {
    let suffix = if number == 0 { String::new() } else { format!("-{number}") };
    format!("ostler-{}{mark}{suffix}", std::process::id())
}

/// Removes the v1 groups of processes that are gone, as far as nothing runs in them.
pub(crate) fn sweep_v1(mounted: &Mounted) {
    let mark = namespace_mark();
    for (_, own) in &mounted.v1 {
        sweep(own, &mark);
    }
}

/// Removes the trees of processes that are gone, as far as nothing runs in them.
pub(super) fn sweep(above: &Path, mark: &str) {
    if mark == ".unknown" {
        return;
    }
    let Ok(entries) = std::fs::read_dir(above) else { return };
    for entry in entries.flatten() {
        let owner = entry.file_name().to_str().and_then(|name| owner_of(name, mark));
        if owner.is_some_and(|owner| !processes::exists(owner)) {
            remove_empty(&entry.path());
        }
    }
}

/// The process of our own pid namespace that made the tree of this name.
pub(super) fn owner_of(name: &str, mark: &str) -> Option<Pid> {
    let made_by = name.strip_prefix("ostler-")?.split('-').next()?;
    Pid::new(made_by.strip_suffix(mark)?.parse().ok()?)
}

/// Removes a tree and the groups in it, unless something runs in one of them: whoever has made
/// that goes on with it, and may have made the next one a moment ago, or lives where we cannot see
/// it.
fn remove_empty(tree: &Path) {
    let events = std::fs::read_to_string(tree.join("cgroup.events")).unwrap_or_default();
    if events.lines().any(|line| line == "populated 1") {
        return;
    }
    if std::fs::remove_dir(tree.join(LEAF)).is_err_and(|error| error.kind() != NotFound) {
        return;
    }
    for task in groups_in(tree) {
        // Of what is inside the group of a task only those of its commands are ours.
        let is_command = |group: &PathBuf| {
            group.file_name().is_some_and(|name| name.as_bytes().starts_with(b"exec."))
        };
        for command in groups_in(&task).filter(is_command) {
            let _ = std::fs::remove_dir(command);
        }
        let _ = std::fs::remove_dir(task);
    }
    let _ = std::fs::remove_dir(tree);
}

fn groups_in(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::super::{Tree, mounted};
    use super::*;

    #[test]
    fn trees_of_processes_that_are_gone_are_swept() {
        let Ok(tree) = Tree::make(&mounted()) else {
            println!("skipped: no permission to make a cgroup");
            return;
        };
        // A place of its own: whoever makes a tree beside ours sweeps there as well.
        let above = tree.path();
        let mark = namespace_mark();
        // No process has an id above PID_MAX_LIMIT.
        let stale = above.join(format!("ostler-4194305{mark}-7"));
        std::fs::create_dir_all(stale.join("task.1/exec.2")).unwrap();
        std::fs::create_dir_all(stale.join(LEAF)).unwrap();
        let elsewhere = above.join("ostler-4194305.1");
        std::fs::create_dir_all(elsewhere.join("task.1")).unwrap();
        let alive = above.join(format!("ostler-{}{mark}", std::process::id()));
        std::fs::create_dir_all(alive.join("task.1")).unwrap();
        let busy = above.join(format!("ostler-4194306{mark}"));
        std::fs::create_dir_all(busy.join("task.1")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(busy.join("task.1/cgroup.procs"), child.id().to_string()).unwrap();
        sweep(above, &mark);
        assert!(!stale.exists());
        for kept in [&elsewhere, &alive, &busy] {
            assert!(kept.join("task.1").exists(), "{}", kept.display());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for kept in [&elsewhere, &alive, &busy] {
            remove_empty(kept);
            assert!(!kept.exists(), "{}", kept.display());
        }
    }
}
