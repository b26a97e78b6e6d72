//! Tests of a binary once more, in a virtual machine with cgroup v2 alone (`tests/cgroup2-vm`).

use std::path::Path;
use std::process::Command;

/// Set where the tests run inside of the machine.
const IN_MACHINE: &str = "OSTLER_IN_VM";

pub(crate) fn in_machine() -> bool {
    std::env::var_os(IN_MACHINE).is_some()
}

pub(crate) enum Kernel {
    Recent,
    /// Linux 6.1, of Debian 12.
    Older,
}

/// Runs all tests of this binary for the test NAME. None may be skipped there.
pub(crate) fn all_tests(name: &str, kernel: Kernel) {
    if let Some(told) = run(name, &kernel, &[]) {
        assert!(!told.contains("skipped"), "in the machine everything can be tested");
    }
}

/// Runs the tests whose names contain one of FILTERS for the test NAME.
pub(crate) fn some_tests(name: &str, kernel: Kernel, filters: &[&str]) {
    run(name, &kernel, filters);
}

/// What was told. `None` where there is no machine, or within it.
fn run(name: &str, kernel: &Kernel, filters: &[&str]) -> Option<String> {
    if in_machine() {
        return None;
    }
    let has_qemu = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|part| part.join("qemu-system-x86_64").exists())
    });
    if !has_qemu && std::env::var_os("OSTLER_TEST_VM").is_none() {
        println!("skipped: {name}: no qemu-system-x86_64 (OSTLER_TEST_VM=1 installs it)");
        return None;
    }
    let (arguments, image): (&[&str], _) = match kernel {
        Kernel::Recent => (&[], "busybox"),
        Kernel::Older => (&["--kernel", "bookworm"], "vmlinuz-bookworm"),
    };
    let tests = std::env::current_exe().unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cgroup2-vm"))
        .args(arguments)
        .args(["--mem", "2048M", "--timeout", "900", "--file"])
        .arg(&tests)
        .args(["--file", env!("CARGO_BIN_EXE_ostler"), "--", "env"])
        .arg(format!("{IN_MACHINE}=1"))
        .arg(&tests)
        .args(["--test-threads", "1", "--nocapture"])
        .args(filters)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{told}{}", String::from_utf8_lossy(&output.stderr));
    // 125: a kernel could not be had.
    let cached = Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache/cgroup2-vm");
    if output.status.code() == Some(125) && !cached.join(image).exists() {
        println!("skipped: {name}: the machine could not be set up");
        return None;
    }
    assert!(output.status.success(), "{:?}", output.status);
    assert!(told.contains("test result: ok"));
    Some(told)
}
