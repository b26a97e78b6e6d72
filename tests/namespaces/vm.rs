//! All tests of this binary once more, on another kernel: one of Debian, with cgroup v2 alone.

use crate::support::IN_VM;
use std::path::Path;
use std::process::Command;

#[test]
fn the_same_holds_on_another_kernel() {
    in_machine(&[]);
}

/// Debian 12 has Linux 6.1.
#[test]
fn the_same_holds_on_another_kernel_with_an_older_kernel() {
    in_machine(&["--kernel", "bookworm"]);
}

fn in_machine(kernel: &[&str]) {
    if std::env::var_os(IN_VM).is_some() {
        return;
    }
    let has_qemu = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|part| part.join("qemu-system-x86_64").exists())
    });
    if !has_qemu && std::env::var_os("OSTLER_TEST_VM").is_none() {
        println!(
            "skipped: the_same_holds_on_another_kernel: no qemu-system-x86_64 (OSTLER_TEST_VM=1 \
             installs it)"
        );
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cgroup2-vm");
    let tests = std::env::current_exe().unwrap();
    let output = Command::new(script)
        .args(kernel)
        .args(["--mem", "2048M", "--timeout", "900", "--file"])
        .arg(&tests)
        .args(["--file", env!("CARGO_BIN_EXE_ostler"), "--", "env"])
        .arg(format!("{IN_VM}=1"))
        .arg(&tests)
        .args(["--test-threads", "1", "--nocapture"])
        .output()
        .unwrap();
    let (told, warned) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}{warned}");
    // 125: a kernel could not be had.
    let cached = Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache/cgroup2-vm");
    if output.status.code() == Some(125) && !cached.join("busybox").exists() {
        println!("skipped: the_same_holds_on_another_kernel: the machine could not be set up");
        return;
    }
    assert!(output.status.success(), "{:?}", output.status);
    assert!(told.contains("test result: ok"));
    assert!(!told.contains("skipped"), "in the machine everything can be tested");
}
