//! What is left once everything has come to rest: nothing but the daemon as it was.

use crate::host::{Host, PATIENCE};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the memory of a daemon may differ by between two rests.
const MEMORY_MAX: u64 = 12 << 20;
/// A client more or less, and what is opened when it is first needed, once.
const DESCRIPTORS_MAX: usize = 6;

/// A daemon at rest.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Of the daemon and of its keeper.
    descriptors: [Vec<String>; 2],
    memory: u64,
}

/// Removes every task, and waits until nothing is left of any. Against `start`, a rest before.
#[track_caller]
pub(crate) fn come_to_rest(host: &mut Host, start: Option<&Rest>) -> Rest {
    host.tasks.write_file(&[]);
    host.call("Reload", json!({})).expect("a good file");
    if start.is_none() {
        // The first task makes what is kept for all others.
        let task = json!({"task": {"name": host.tasks.name(0), "command": "/bin/true"}});
        host.call("Launch", task).expect("launched");
    }
    let begun = Instant::now();
    loop {
        let listed = host.call("List", json!({})).expect("a list");
        let tasks = listed["tasks"].as_array().expect("tasks").clone();
        if tasks.is_empty() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{tasks:#?}: {}", host.last_log());
        for task in tasks {
            // One that goes by itself may be gone.
            let _ = host.call("Remove", json!({"name": task["name"], "force": true}));
            host.tasks.read_fifos();
        }
    }
    until_none(host, "files of the state", |host| {
        let entries = std::fs::read_dir(host.state("")).expect("a directory").flatten();
        let names = entries.map(|entry| entry.file_name().display().to_string());
        names.filter(|name| name != "journal" && name != "lock").collect()
    });
    until_none(host, "children of the daemon", Host::children);
    until_none(host, "processes", |host| processes(&format!("SOAK={}", host.tasks.mark)));
    until_none(host, "groups", |host| {
        let mut found = Vec::new();
        groups(Path::new("/sys/fs/cgroup"), &host.tasks.mark, &mut found);
        found
    });
    host.tasks.check_lines();
    rest(host, start)
}

/// The daemon gets along with the descriptors and the memory that it had.
#[track_caller]
fn rest(host: &Host, start: Option<&Rest>) -> Rest {
    let begun = Instant::now();
    loop {
        let figures = host.call("DaemonStats", json!({})).expect("figures");
        let memory = figures["rss_bytes"].as_u64().expect("a number");
        let rest = Rest { descriptors: host.descriptors(), memory };
        let is_as_before = start.is_none_or(|start| {
            let mut pairs = start.descriptors.iter().zip(&rest.descriptors);
            pairs.all(|(before, now)| now.len() <= before.len() + DESCRIPTORS_MAX)
                && memory <= start.memory + MEMORY_MAX
        });
        if is_as_before {
            return rest;
        }
        assert!(begun.elapsed() < PATIENCE / 4, "{rest:#?} now, {start:#?} at first");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn until_none(host: &mut Host, what: &str, left: impl Fn(&Host) -> Vec<String>) {
    let begun = Instant::now();
    loop {
        let now = left(host);
        if now.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE / 4, "{what}: {now:?}; {}", host.last_log());
        host.tasks.read_fifos();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes with this in their environment.
fn processes(mark: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let marked = pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|one| one == mark.as_bytes())
    });
    marked.map(|pid| pid.to_string()).collect()
}

/// Groups of any hierarchy with this in their name.
fn groups(directory: &Path, mark: &str, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_str().is_some_and(|name| name.contains(mark)) {
            found.push(entry.path().display().to_string());
        } else {
            groups(&entry.path(), mark, found);
        }
    }
}
