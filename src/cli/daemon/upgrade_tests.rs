//! An upgrade that fails: whichever call it is, this program goes on as if nothing had been.

use super::Daemon;
use super::settings::Settings;
use crate::cli::arguments::{Arguments, Verb};
use crate::cli::upgrade as next_program;
use crate::sys::faults::fail_nth_but;
use crate::vocabulary::{StateName, TaskSpec};
use clap::Parser;
use nix::errno::Errno;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Those of the loop, which have tests of their own, and what a descriptor that is open cannot be
/// refused; and those of figures, which come at any moment and would move all that comes after.
const SPARED: &[&str] = &[
    "read(signalfd)",
    "waitid",
    "read",
    "ioctl",
    "poll",
    "clock_gettime(process)",
    "sysinfo",
    "openat(/proc or cgroup file)",
    "read(/proc or cgroup file)",
    "getdents64(/proc/PID/task)",
    "getdents64(/proc)",
    "read(/proc/PID/stat)",
    "read(/proc/PID/task/TID/children)",
];

/// Says that it can take over, and cannot be executed any more then.
const PROGRAM: &str = "#!/bin/sh\nchmod a-x \"$0\"\necho '{\"version\":\"9\"}'\n";

fn daemon(socket: &Path) -> Daemon {
    // Figures are wanted so that the loop wakes up from time to time, and conditions are looked at.
    let words = ["ostler", "daemon", "--stats-interval", "100ms", "--cgroup", "never", "--socket"];
    let words = words.map(Into::into);
    let words = words.into_iter().chain([socket.as_os_str().to_owned()]);
    let arguments = Arguments::try_parse_from(words).expect("arguments");
    let Verb::Daemon(daemon) = arguments.verb else { panic!("another verb") };
    let socket = arguments.socket;
    let arguments = super::DaemonArguments { socket, ..daemon };
    let settings = Settings::of(arguments, false).expect("settings");
    Daemon::start(settings).expect("a daemon")
}

/// Everything that a failure may leave behind: descriptors, children, blocked signals.
fn traces() -> (usize, String, String) {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("a listing").count();
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("a listing");
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("a status");
    let blocked = status.lines().find(|line| line.starts_with("SigBlk")).expect("a mask");
    (descriptors, children, blocked.to_owned())
}

fn until(daemon: &mut Daemon, what: &str, mut done: impl FnMut(&mut Daemon) -> bool) {
    let begun = Instant::now();
    let mut events = Vec::new();
    while !done(daemon) {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        assert!(!daemon.step(&mut events).expect("a step"), "it has ended");
    }
}

fn fail_each_in_turn(program: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let mut daemon = daemon(&directory.path().join("sock"));
    let args = vec!["600".into()];
    let sleeper = TaskSpec { name: Some("s".into()), args, ..TaskSpec::new("/bin/sleep") };
    let sleeper = daemon.supervisor.launch(sleeper).expect("launched");
    let pid = daemon.supervisor.status(sleeper).and_then(|status| status.pid);
    let mut events = Vec::new();
    daemon.turn(Some(Duration::ZERO), &mut events).expect("a turn");
    let before = traces();
    let mut hits = Vec::new();
    for nth in 1.. {
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(program, executable).expect("executable");
        let injected = fail_nth_but(nth, Errno::ENOMEM, SPARED);
        next_program::begin(&mut daemon);
        until(&mut daemon, "it has failed", |daemon| daemon.upgrade.is_idle());
        let hit = injected.hit();
        drop(injected);
        let what = format!("nothing is left after {hit:?}, number {nth}");
        until(&mut daemon, &what, |_| traces() == before);
        let again = TaskSpec { name: Some(format!("t{nth}")), ..TaskSpec::new("/bin/true") };
        let task = daemon.supervisor.launch(again).expect("starts are not held any more");
        until(&mut daemon, "its end", |daemon| {
            let state = daemon.supervisor.status(task).map(|status| status.state);
            state == Some(StateName::Exited)
        });
        assert_eq!(daemon.supervisor.status(sleeper).and_then(|status| status.pid), pid);
        let Some(call) = hit else { break };
        hits.push(call);
    }
    for call in ["memfd_create", "pipe2", "fork", "fcntl(F_SETFD)", "rt_sigprocmask", "execveat"] {
        assert!(hits.contains(&call), "{call} was not failed: {hits:?}");
    }
    daemon.supervisor.remove(sleeper, true).expect("stopped");
    until(&mut daemon, "its end", |daemon| daemon.supervisor.status(sleeper).is_none());
}

#[test]
fn whichever_call_fails_this_program_goes_on() {
    const VARIABLE: &str = "UPGRADE_TEST_PROGRAM";
    // In a process of its own, whose children and signals are nobody else's.
    if let Some(program) = std::env::var_os(VARIABLE) {
        return fail_each_in_turn(Path::new(&program));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("program");
    std::fs::write(&program, PROGRAM).expect("written");
    let name = "cli::daemon::upgrade_tests::whichever_call_fails_this_program_goes_on";
    // A thread of the test harness would take SIGCHLD if it could (env of coreutils 8.31).
    let script = "OSTLER_PROGRAM=\"$$:$0\" exec env --block-signal=CHLD \"$@\"";
    let output = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(&program)
        .arg(std::env::current_exe().expect("a program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, &program)
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}
