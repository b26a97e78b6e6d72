//! What a keeper costs.

use crate::fixture::Kept;
use crate::support::wait_for;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The proportional share of memory of a process, in KiB.
fn pss(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it lives");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("its share");
    line.trim().trim_end_matches("kB").trim().parse().expect("a number")
}

/// Whether it waits without a timeout, which is -1 as an argument of epoll_wait(2).
fn sleeps_for_ever(pid: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').any(|word| matches!(word, "0xffffffff" | "0xffffffffffffffff"))
}

#[test]
fn it_is_small_and_sleeps() {
    let mut kept = Kept::start();
    kept.ask(&["many", "12345.o", "4", "250"]);
    kept.kill_service();
    let pid = kept.keeper.pid();
    // The budget of 400 KiB is for the program as it is installed: without optimization its tables
    // are larger.
    let budget = if cfg!(debug_assertions) { 1500 } else { 400 };
    let mut least = u64::MAX;
    wait_for("a keeper that is small", || {
        least = least.min(pss(pid));
        std::thread::sleep(Duration::from_millis(100));
        least <= budget
    });
    println!("{least} KiB with 1,000 descriptors");
    wait_for("a keeper that sleeps for ever", || sleeps_for_ever(pid));
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !traced.is_ok_and(|output| output.status.success()) {
        println!("skipped: strace is not installed or may not trace (ptrace)");
        return;
    }
    let calls = Command::new("timeout")
        .args(["3", "strace", "-f", "-p", &pid.to_string()])
        .stderr(Stdio::piped())
        .output()
        .expect("traced");
    let calls = String::from_utf8(calls.stderr).expect("text");
    let made: Vec<&str> =
        calls.lines().filter(|line| line.contains('(') && !line.contains("epoll_wait")).collect();
    assert_eq!(made, Vec::<&str>::new(), "while nothing happens");
}
