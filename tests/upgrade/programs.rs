//! Which program goes on: whatever is at the path by now.

use crate::calls::Calls;
use crate::executable::{copy_executable, write_executable};
use crate::fixture::{Node, PROGRAM};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a program that is ours, but for the version that it says it is of.
fn write_other_version(path: &Path) {
    let ours = env!("CARGO_PKG_VERSION");
    let (front, _) = ours.split_at(ours.len() - 1);
    let change = format!("s/{}/{front}9/g", ours.replace('.', "\\."));
    // It goes through a hundred megabytes in less time than we would.
    let sed = Command::new("sed").env("LC_ALL", "C").args(["-e", &change, PROGRAM]).output();
    write_executable(path, &sed.expect("sed").stdout);
}

fn own_copy() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ostler");
    copy_executable(PROGRAM, &path, 0o755);
    (directory, path)
}

#[test]
fn a_newer_program_takes_over_and_an_older_one_again() {
    let (directory, path) = own_copy();
    let node = Node::start_in(directory, &path, &[]);
    let task = node.launch("sleeper", "exec sleep 600", json!({}));
    let before = node.call("Version", json!({}))["version"].take();
    write_other_version(&path);
    let version = node.upgrade();
    assert_ne!(before, version.as_str());
    assert!(version.ends_with('9'), "{version}");
    assert_eq!(node.call("Version", json!({}))["version"], version.as_str());
    assert_eq!(node.inspect("sleeper"), {
        let mut expected = task.clone();
        let seen = node.inspect("sleeper");
        expected["task"] = seen["task"].clone();
        expected
    });
    write_executable(&path, &std::fs::read(PROGRAM).expect("the program"));
    assert_eq!(before, node.upgrade().as_str());
    assert_eq!(node.inspect("sleeper")["pid"], task["pid"]);
}

#[test]
fn a_link_that_leads_elsewhere_by_now_is_followed() {
    let (directory, path) = own_copy();
    let link = directory.path().join("link");
    let new = directory.path().join("ostler-9");
    write_other_version(&new);
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    let node = Node::start_in(directory, &link, &[]);
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink(&new, &link).expect("a link");
    assert!(node.upgrade().ends_with('9'));
    // And again, by way of what it was told.
    std::fs::remove_file(&link).expect("removed");
    std::os::unix::fs::symlink(&path, &link).expect("a link");
    assert!(!node.upgrade().ends_with('9'));
}
