//! When a daemon is started again, and when the keeper ends with it.

use crate::fixture::Kept;
use crate::support::{Running, is_alive, ostler, signal, wait_for};
use std::time::{Duration, Instant};

#[test]
fn a_daemon_that_dies_is_started_again_and_later_each_time() {
    let mut kept = Kept::start();
    kept.ask(&["send", "READY=1"]);
    let first = kept.pid;
    signal(first, "KILL");
    let line = kept.said("ostler: keeper: the daemon was ended by SIGKILL");
    assert!(line.ends_with("started again in 100ms, 0 descriptors kept"), "{line}");
    kept.await_service();
    assert_ne!(kept.pid, first);
    kept.ask(&["store", "a", "x", "FDPOLL=0"]);
    let begun = Instant::now();
    // A failure of its own is no reason to stay down.
    let commands = kept.directory.path().join("commands");
    std::fs::write(commands, "end|1\n").unwrap();
    let line = kept.said("the daemon has exited with 1");
    assert!(line.ends_with("started again in 200ms, 1 descriptors kept"), "{line}");
    kept.await_service();
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn the_longest_pause_is_what_the_flag_says() {
    for flag in [&["--restart-max-delay", "150ms"][..], &["--restart-max-delay=150ms"]] {
        let mut arguments = vec!["keeper"];
        arguments.extend(flag);
        arguments.extend(["--", "sh", "-c", "kill -9 $$"]);
        let mut keeper = Running::start(&mut ostler(&arguments));
        for wait in ["100ms", "150ms", "150ms"] {
            let line = keeper.expect("started again");
            assert!(line.contains(&format!("started again in {wait},")), "{line}");
        }
    }
    for wrong in ["99ms", "soon", ""] {
        let output = ostler(&["keeper", "--restart-max-delay", wrong, "true"]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("--restart-max-delay"), "{told}");
    }
}

#[test]
fn a_daemon_that_was_meant_to_end_ends_the_keeper() {
    for (name, words) in [("0", &["end", "0"]), ("0", &["kill", "SIGINT"])] {
        let mut kept = Kept::start();
        let commands = kept.directory.path().join("commands");
        std::fs::write(commands, words.join("|") + "\n").unwrap();
        let code = kept.keeper.exit_code();
        assert_eq!(code, Some(0), "{name}: {:?}", kept.keeper.seen);
    }
    // Its own code, once it was told to end or has said that it does.
    let mut kept = Kept::start();
    kept.ask(&["send", "STOPPING=1"]);
    std::fs::write(kept.directory.path().join("commands"), "end|9\n").unwrap();
    assert_eq!(kept.keeper.exit_code(), Some(9));
}

#[test]
fn signals_reach_the_daemon() {
    let mut kept = Kept::start();
    for name in ["HUP", "USR1", "USR2"] {
        kept.keeper.signal(name);
        kept.said(&format!("signal SIG{name}"));
    }
    let pid = kept.pid.to_string();
    kept.keeper.signal("TERM");
    assert_eq!(kept.keeper.exit_code(), Some(0));
    assert!(!is_alive(&pid));
}

#[test]
fn while_no_daemon_lives_a_signal_ends_the_keeper_at_once() {
    let mut kept = Kept::start();
    // Up to a wait of some seconds.
    for _ in 0..5 {
        kept.kill_service();
    }
    signal(kept.pid, "KILL");
    kept.said("started again in 3.2s");
    kept.keeper.signal("TERM");
    let begun = Instant::now();
    assert_eq!(kept.keeper.exit_code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn what_can_never_run_is_not_tried_again() {
    for (command, code, why) in [
        (&["/no/such/daemon"][..], 127, "execute \"/no/such/daemon\": No such file or directory"),
        (&["/etc/passwd"], 126, "execute \"/etc/passwd\": Permission denied"),
        (&["sh", "-c", "exit 2"], 2, ""),
    ] {
        let mut arguments = vec!["keeper"];
        arguments.extend(command);
        let mut keeper = Running::start(&mut ostler(&arguments));
        assert_eq!(keeper.exit_code(), Some(code), "{:?}", keeper.seen);
        let told = keeper.seen.join("\n");
        assert!(told.contains(why), "{told}");
        assert!(!told.contains("started again"), "{told}");
    }
}

#[test]
fn nothing_of_a_keeper_that_is_killed_takes_the_daemon_along() {
    let mut kept = Kept::start();
    kept.keeper.signal("KILL");
    kept.keeper.end();
    assert!(is_alive(&kept.pid.to_string()));
    signal(kept.pid, "KILL");
    let pid = kept.pid.to_string();
    wait_for("its end", || !is_alive(&pid));
}

#[test]
fn the_words_of_the_command_are_left_alone() {
    let mut keeper = Running::start(&mut ostler(&["keeper", "echo", "--help", "--", "-x"]));
    keeper.expect("--help -- -x");
    assert_eq!(keeper.exit_code(), Some(0));
    let help = ostler(&["keeper", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("Usage: ostler keeper"));
    for wrong in [&["keeper"][..], &["keeper", "--"], &["keeper", "--wrong", "x"]] {
        assert_eq!(ostler(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}
