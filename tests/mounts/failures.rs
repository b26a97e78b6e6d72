//! Each call that the child makes fails once: what is told is that call's failure, and nothing is
//! left. strace(1) makes them fail.

use crate::machine::in_machine;
use crate::support::{Image, PROGRAM, is_root, text};
use std::path::Path;
use std::process::Command;

/// The calls that make mounts, and how many there are at least.
const CALLS: [(&str, usize); 14] = [
    ("unshare", 1),
    ("mount", 1),
    ("open_tree", 8),
    ("mount_setattr", 8),
    ("openat2", 15),
    ("move_mount", 12),
    ("fsopen", 5),
    ("fsconfig", 10),
    ("fsmount", 5),
    ("mkdirat", 2),
    ("mknodat", 6),
    ("symlinkat", 5),
    ("pivot_root", 1),
    ("umount2", 1),
];

#[test]
fn each_call_of_the_child_may_fail() {
    const TEST: &str = "each_call_of_the_child_may_fail";
    if in_machine() || !is_root(TEST) {
        return;
    }
    if !Path::new("/usr/bin/strace").exists() {
        println!("skipped: {TEST}: no strace");
        return;
    }
    for (call, at_least) in CALLS {
        let mut failures = 0;
        for nth in 1.. {
            // Anew, so that mount points are made each time.
            let image = Image::new();
            let inject = format!("inject={call}:error=ENOMEM:when={nth}");
            let output = Command::new("/usr/bin/strace")
                .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &inject, "--", PROGRAM, "run"])
                .args(image.flags())
                .args(["--private", "pid", "--device", "/dev/zero:/dev/zero2"])
                .args(["--mount", "/tmp:/new/point", "--", "/bin/true"])
                .current_dir("/")
                .output()
                .unwrap();
            let told = text(&output);
            image.assert_nothing_is_left(&format!("{call} {nth}: {told}"));
            if output.status.success() {
                break;
            }
            failures += 1;
            assert_eq!(output.status.code(), Some(125), "{call} {nth}: {told}");
            assert!(told.starts_with("ostler: run: "), "{call} {nth}: {told}");
            assert!(told.contains("memory"), "{call} {nth}: {told}");
            let what = ["mount", "(isolation.", "/dev", "/proc", "/sys"];
            assert!(what.iter().any(|what| told.contains(what)), "{call} {nth}: {told}");
        }
        assert!(failures >= at_least, "{call}: {failures}");
    }
}
