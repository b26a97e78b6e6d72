//! Where controllers may be enabled: in groups that were handed over, and in no others.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ostler");
const ROOT: &str = "/sys/fs/cgroup";

/// A v2 group that is gone after the test; `None` where v2 has no memory controller to hand over.
struct Group(PathBuf);

impl Group {
    fn make(test: &str) -> Option<Group> {
        let enabled = Path::new(ROOT).join("cgroup.subtree_control");
        let enabled = std::fs::read_to_string(enabled).unwrap_or_default();
        let path = Path::new(ROOT).join(format!("{test}-{}", std::process::id()));
        let has_memory = enabled.split_whitespace().any(|name| name == "memory");
        if !has_memory || std::fs::create_dir(&path).is_err() {
            println!("skipped: {test}: v2 has no memory controller here that could be handed over");
            return None;
        }
        Some(Group(path))
    }

    /// Runs a command with a limit by a supervisor that begins inside the group.
    fn run(&self, become_nobody: bool) -> Output {
        let procs = self.0.join("cgroup.procs");
        let run = format!("{PROGRAM} run --memory-max 64M -- true");
        let run = match become_nobody {
            true => format!("exec su -s /bin/sh -c 'exec {run}' nobody"),
            false => format!("exec {run}"),
        };
        let script = format!("echo $$ > {} && {run}", procs.display());
        Command::new("/bin/sh").args(["-c", &script]).output().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_group_of_somebody_else_is_left_as_it_is() {
    let Some(group) = Group::make("a_group_of_somebody_else_is_left_as_it_is") else { return };
    let output = group.run(false);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    let reason = said(&output);
    assert!(reason.contains("resources.memory_max_bytes") && reason.contains("delegated"));
    let enabled = std::fs::read_to_string(group.0.join("cgroup.subtree_control")).unwrap();
    assert_eq!(enabled.trim(), "");
}

#[test]
fn a_group_with_the_mark_of_systemd_is_used() {
    let Some(group) = Group::make("a_group_with_the_mark_of_systemd_is_used") else { return };
    let path = CString::new(group.0.to_str().unwrap()).unwrap();
    let value = b"1";
    // SAFETY: both strings end in NUL, and the value is as long as it is said to be.
    let set = unsafe {
        let name = c"trusted.delegate".as_ptr();
        nix::libc::setxattr(path.as_ptr(), name, value.as_ptr().cast(), value.len(), 0)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    let output = group.run(false);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_group_of_ones_own_is_used_by_nobody() {
    let Some(group) = Group::make("a_group_of_ones_own_is_used_by_nobody") else { return };
    let entries = std::fs::read_dir(&group.0).unwrap();
    let ours = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
    let files =
        entries.map(|e| e.unwrap().path()).filter(|path| ours.iter().any(|f| path.ends_with(f)));
    for path in files.chain([group.0.clone()]) {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let output = group.run(true);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
