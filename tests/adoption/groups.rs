//! The groups of tasks, where somebody else has removed what was empty of them: a supervisor beside
//! us that took it for that of one that is gone, or a service manager.

use crate::calls::{Calls, lives, wait_for};
use crate::fixture::Life;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Two processes, of which one leaves the session.
const SCRIPT: &str = "setsid sleep 600 & exec sleep 600";

/// A group for daemons in which nobody else sweeps, removed at the end.
struct Scope(PathBuf);

impl Scope {
    fn new() -> Option<Scope> {
        let life = Life::new();
        let status = life.launch("t", "exec sleep 600", json!({}));
        if status["containment"] != "cgroup_v2" {
            println!("skipped: groups that were removed: no permission for a cgroup");
            return None;
        }
        // Beside the tree of this daemon.
        let place = above(&above(&group_of(&status)));
        let unique = life.directory.path().file_name().expect("a name").to_owned();
        let scope = place.join(unique);
        std::fs::create_dir(&scope).expect("a group");
        Some(Scope(scope))
    }

    fn make(&self, name: &str) -> PathBuf {
        let group = self.0.join(name);
        std::fs::create_dir(&group).expect("a group");
        group
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let mut groups = vec![self.0.clone()];
        let mut next = 0;
        while let Some(group) = groups.get(next).cloned() {
            next += 1;
            let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
            let inside = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            groups.extend(inside.map(|entry| entry.path()));
        }
        for group in groups.iter().rev() {
            if let Err(error) = std::fs::remove_dir(group) {
                println!("{} stays: {error}", group.display());
            }
        }
    }
}

/// A daemon in there.
fn begin(group: &Path) -> Life {
    let mut life = Life::unborn(&[]);
    life.group = Some(group.to_owned());
    life.begin();
    life
}

/// The group of a run.
#[track_caller]
fn group_of(status: &Value) -> PathBuf {
    assert_eq!(status["containment"], "cgroup_v2", "{status:#}");
    PathBuf::from(status["cgroup"].as_str().expect("a path"))
}

fn above(group: &Path) -> PathBuf {
    group.parent().expect("a group above").to_owned()
}

fn processes(group: &Path) -> Vec<u64> {
    let list = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    list.lines().map(|line| line.parse().expect("a number")).collect()
}

/// Removes a tree, once it is empty.
fn remove(tree: &Path) {
    wait_for("the groups are empty", || {
        for entry in std::fs::read_dir(tree).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Not empty yet.
                let _ = std::fs::remove_dir(entry.path());
            }
        }
        std::fs::remove_dir(tree).is_ok()
    });
}

/// The next daemon has the task with all of its processes.
#[track_caller]
fn check_taken_over(life: &Life, name: &str, group: &Path) {
    let mut all = Vec::new();
    wait_for("both processes", || {
        all = processes(group);
        all.len() == 2
    });
    let status = life.inspect(name);
    assert_eq!((&status["adopted"], group_of(&status)), (&json!(true), group.to_owned()));
    let over = life.call("Stop", json!({"name": name, "grace_ms": 0}))["status"].take();
    assert_eq!(over["state"], "exited", "{over:#}");
    assert!(all.iter().all(|&pid| !lives(pid)), "{all:?} of {name}");
    wait_for("the group is removed", || !group.exists());
}

#[test]
fn a_tree_that_was_removed_is_made_anew_and_found_by_the_next_daemon() {
    let Some(scope) = Scope::new() else { return };
    let mut life = begin(&scope.0);
    let first = group_of(&life.launch("first", SCRIPT, json!({})));
    life.kill_and_begin();
    life.call("Remove", json!({"name": "first", "force": true}));
    // This daemon has launched nothing, and is not in the tree of the one before it.
    remove(&above(&first));
    let second = group_of(&life.launch("second", SCRIPT, json!({})));
    life.kill_and_begin();
    check_taken_over(&life, "second", &second);
}

#[test]
fn a_supervisor_beside_us_that_sweeps_costs_no_task_its_group() {
    let Some(scope) = Scope::new() else { return };
    let mut life = begin(&scope.0);
    let first = group_of(&life.launch("first", SCRIPT, json!({})));
    life.kill_and_begin();
    life.call("Remove", json!({"name": "first", "force": true}));
    wait_for("its group is removed", || !first.exists());
    // Each of these makes a tree, and sweeps first.
    let sweep = || {
        let beside = begin(&scope.0);
        let tree = above(&group_of(&beside.launch("t", "exec sleep 600", json!({}))));
        assert_eq!(above(&tree), scope.0);
    };
    sweep();
    assert!(!above(&first).exists(), "it has swept");
    let second = group_of(&life.launch("second", SCRIPT, json!({})));
    sweep();
    life.kill();
    sweep();
    life.begin();
    sweep();
    let third = group_of(&life.launch("third", SCRIPT, json!({})));
    assert_eq!(above(&third), above(&second), "something lives there");
    sweep();
    check_taken_over(&life, "second", &second);
    life.kill_and_begin();
    check_taken_over(&life, "third", &third);
}

#[test]
fn a_daemon_that_is_upgraded_before_its_first_launch_keeps_the_groups() {
    let Some(scope) = Scope::new() else { return };
    let mut life = begin(&scope.0);
    let first = group_of(&life.launch("first", SCRIPT, json!({})));
    life.kill_and_begin();
    life.call("Upgrade", json!({}));
    let second = group_of(&life.launch("second", SCRIPT, json!({})));
    assert_eq!(above(&second), above(&first));
    life.kill_and_begin();
    check_taken_over(&life, "first", &first);
    check_taken_over(&life, "second", &second);
}

#[test]
fn a_task_in_a_group_of_its_user_is_found_without_the_tree() {
    let Some(scope) = Scope::new() else { return };
    let users = scope.make("users");
    let mut life = begin(&scope.make("daemons"));
    let first = group_of(&life.launch("first", SCRIPT, json!({})));
    let second = group_of(&life.launch("second", SCRIPT, json!({ "cgroup": users })));
    assert_eq!(above(&second), users);
    life.call("Remove", json!({"name": "first", "force": true}));
    life.kill();
    remove(&above(&first));
    life.begin();
    check_taken_over(&life, "second", &second);
    let third = group_of(&life.launch("third", SCRIPT, json!({})));
    life.kill_and_begin();
    check_taken_over(&life, "third", &third);
}

#[test]
fn a_tree_whose_place_is_gone_is_made_elsewhere_and_found_by_the_next_daemon() {
    let Some(scope) = Scope::new() else { return };
    let users = scope.make("users");
    // As a login has one, which goes with it.
    let (old, new) = (scope.make("old"), scope.make("new"));
    let mut life = begin(&old);
    let first = group_of(&life.launch("first", SCRIPT, json!({})));
    let second = group_of(&life.launch("second", SCRIPT, json!({ "cgroup": users })));
    life.group = Some(new.clone());
    life.kill_and_begin();
    life.call("Remove", json!({"name": "first", "force": true}));
    remove(&above(&first));
    std::fs::remove_dir(&old).expect("removed");
    let third = group_of(&life.launch("third", SCRIPT, json!({})));
    assert_eq!(above(&above(&third)), new);
    life.kill_and_begin();
    check_taken_over(&life, "third", &third);
    check_taken_over(&life, "second", &second);
}
