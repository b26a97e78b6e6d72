//! The tests of adopted processes once more, in a virtual machine with a kernel that has neither
//! inodes of pidfds nor exit statuses of others' children (Debian 12, Linux 6.1); there also those
//! that set the clock.

use std::path::Path;
use std::process::Command;

/// Set where the tests run inside the virtual machine.
pub(crate) const IN_VM: &str = "OSTLER_IN_VM";

#[test]
fn the_same_holds_with_an_older_kernel() {
    if std::env::var_os(IN_VM).is_some() {
        return;
    }
    let has_qemu = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|part| part.join("qemu-system-x86_64").exists())
    });
    if !has_qemu && std::env::var_os("OSTLER_TEST_VM").is_none() {
        println!(
            "skipped: the_same_holds_with_an_older_kernel: no qemu-system-x86_64 \
             (OSTLER_TEST_VM=1 installs it)"
        );
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cgroup2-vm");
    let tests = std::env::current_exe().unwrap();
    let output = Command::new(script)
        .args(["--kernel", "bookworm", "--mem", "2048M", "--timeout", "570", "--file"])
        .arg(&tests)
        .args(["--file", env!("CARGO_BIN_EXE_ostler"), "--", "env"])
        .arg(format!("{IN_VM}=1"))
        .arg(&tests)
        .args(["--test-threads", "1", "--nocapture", "clock::", "ends::", "tasks::"])
        .output()
        .unwrap();
    let (told, warned) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}{warned}");
    // 125: a kernel could not be had.
    let cached = Path::new(&std::env::var("HOME").unwrap_or_default()).join(".cache/cgroup2-vm");
    if output.status.code() == Some(125) && !cached.join("vmlinuz-bookworm").exists() {
        println!("skipped: the_same_holds_with_an_older_kernel: the kernel could not be had");
        return;
    }
    assert!(output.status.success(), "{:?}", output.status);
    assert!(told.contains("test result: ok"));
}
