//! The same through the program: as root, and as nobody, who may limit nothing.

use crate::executable::copy_executable;
use crate::fixture::{PATIENCE, lives};
use crate::support::{limited, trees_of};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ostler");

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn run_says_that_the_oom_killer_came() {
    if limited("run_says_that_the_oom_killer_came").is_none() {
        return;
    }
    let hog = ["dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"];
    let output = run(&[&["run", "--memory-max", "64M", "--"], &hog[..]].concat());
    assert_eq!(output.status.code(), Some(137), "{}", said(&output));
    assert!(said(&output).contains("OOM killer"), "{}", said(&output));
    let output = run(&[&["run", "--memory-max", "1G", "--pids-max", "5", "--"], &hog[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

/// A daemon, killed with SIGKILL when the test is over.
struct Daemon {
    process: Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(directory: &Path) -> Daemon {
        let socket = directory.join("socket");
        let process = Command::new(PROGRAM)
            .args(["daemon", "--socket"])
            .arg(&socket)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("the daemon listens", || UnixStream::connect(&socket).is_ok());
        Daemon { process, socket }
    }

    /// What a verb that has to succeed prints.
    #[track_caller]
    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("OSTLER_SOCKET", &self.socket)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_daemon_changes_limits_and_cleans_up_after_one_that_was_killed() {
    let test = "a_daemon_changes_limits_and_cleans_up_after_one_that_was_killed";
    if limited(test).is_none() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let launch = ["launch", "--name", "t", "--memory-max", "64M", "--pids-max", "9"];
    daemon.ask(&[&launch[..], &["--", "sleep", "300"]].concat());
    assert!(daemon.ask(&["update", "t", "--memory-max", "128M", "--json"]).contains("134217728"));
    let inspected: String = daemon.ask(&["inspect", "t", "--json"]);
    let number = |field: &str| {
        let (_, rest) = inspected.split_once(&format!("\"{field}\":")).unwrap();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>()
    };
    assert_eq!((&*number("memory_max_bytes"), &*number("pids_max")), ("134217728", "9"));
    let task: i32 = number("pid").parse().unwrap();
    let groups: Vec<PathBuf> = trees_of(daemon.process.id());
    assert!(groups.iter().any(|tree| tree.join("t.1").exists()));
    daemon.kill();

    let end = nix::sys::signal::kill(nix::unistd::Pid::from_raw(task), nix::sys::signal::SIGKILL);
    end.unwrap();
    until("the task has ended", || !lives(task));
    let next = Daemon::start(directory.path());
    next.ask(&["launch", "--name", "u", "--", "true"]);
    let left: Vec<_> = groups.iter().filter(|tree| tree.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    next.ask(&["shutdown"]);
    let pid = next.process.id();
    until("the daemon has left nothing", || trees_of(pid).is_empty());
    next.kill();
}

#[test]
fn nobody_is_told_why_there_is_no_limit() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: nobody_is_told_why_there_is_no_limit: not root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("ostler");
    copy_executable(PROGRAM, &program, 0o755);
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    for (flag, field) in [
        (["--memory-max", "64M"], "resources.memory_max_bytes"),
        (["--pids-max", "9"], "resources.pids_max"),
        (["--cpu-max", "0.5"], "resources.cpu_max"),
    ] {
        let output = Command::new(&program)
            .arg("run")
            .args(flag)
            .args(["--", "true"])
            .uid(65534)
            .gid(65534)
            .current_dir("/")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{}", said(&output));
        assert!(said(&output).contains(field), "{}", said(&output));
        let reason = said(&output);
        assert!(reason.contains("Permission denied") || reason.contains("delegated"), "{reason}");
    }
}
