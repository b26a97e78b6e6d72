//! A trace reads like a story: how many calls the daemon makes, counted by strace.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

struct Traced {
    directory: tempfile::TempDir,
    daemon: Child,
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn ostler(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostler"));
    command.env("OSTLER_SOCKET", socket).stderr(Stdio::null());
    command
}

impl Traced {
    /// A daemon that answers. `None`, and why, where nothing can be traced.
    fn start() -> Option<Traced> {
        let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            println!("skipped: strace is not installed or may not trace (ptrace)");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let daemon = ostler(&directory.path().join("socket"))
            .arg("daemon")
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let traced = Traced { directory, daemon };
        traced.until(|traced| traced.client().arg("ps").status().unwrap().success());
        // The first launch makes what all share.
        traced.launch_and_wait("warm-up");
        Some(traced)
    }

    fn client(&self) -> Command {
        let mut client = ostler(&self.directory.path().join("socket"));
        client.stdout(Stdio::null());
        client
    }

    fn launch_and_wait(&self, name: &str) {
        for arguments in [&["launch", "--name", name, "/bin/true"][..], &["wait", name]] {
            assert!(self.client().args(arguments).status().unwrap().success(), "{arguments:?}");
        }
    }

    fn until(&self, done: impl Fn(&Traced) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the daemon itself calls while `during` runs and for some time after.
    fn calls(&self, during: impl FnOnce(&Traced), after: Duration) -> Vec<String> {
        let path = self.directory.path().join("trace");
        let pid = self.daemon.id().to_string();
        let mut strace = Command::new("strace")
            .args(["-f", "-p", &pid, "-o"])
            .arg(&path)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tracer = format!("TracerPid:\t{}", strace.id());
        let status = format!("/proc/{pid}/status");
        self.until(|_| fs::read_to_string(&status).unwrap().contains(&tracer));
        during(self);
        std::thread::sleep(after);
        let _ = Command::new("kill").arg(strace.id().to_string()).status();
        strace.wait().unwrap();
        let trace = fs::read_to_string(&path).unwrap();
        let own = trace.lines().filter_map(|line| line.strip_prefix(&format!("{pid} ")));
        // The call that it sleeps in is seen when strace comes and goes. A debug build looks at
        // each descriptor (F_GETFD) that it closes.
        own.map(str::trim_start)
            .filter(|line| !line.contains("detached") && !line.contains("resumed"))
            .filter(|line| !line.contains("F_GETFD"))
            .filter(|line| !line.ends_with("<unfinished ...>") || !line.starts_with("epoll_wait"))
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn a_daemon_that_is_idle_for_a_minute_calls_nothing() {
    let Some(traced) = Traced::start() else { return };
    let sleeper = ["launch", "--name", "sleeper", "/bin/sleep", "300"];
    assert!(traced.client().args(sleeper).status().unwrap().success());
    // Nothing is measured once nobody asks any more.
    assert!(traced.client().arg("stats").status().unwrap().success());
    // A look for children whose signal was lost is due once, a second after the last exit.
    std::thread::sleep(Duration::from_millis(1500));
    let calls = traced.calls(|_| {}, Duration::from_secs(60));
    assert!(calls.is_empty(), "{calls:#?}");
    assert!(traced.client().args(["stop", "--grace", "0", "sleeper"]).status().unwrap().success());
}

#[test]
fn a_launch_and_its_exit_take_fewer_than_forty_calls() {
    let Some(traced) = Traced::start() else { return };
    let launch = |traced: &Traced| {
        let arguments = ["launch", "--name", "traced", "/bin/true"];
        assert!(traced.client().args(arguments).status().unwrap().success());
    };
    let calls = traced.calls(launch, Duration::from_millis(1500));
    assert!(calls.iter().any(|call| call.starts_with("clone3")), "{calls:#?}");
    assert!(calls.iter().any(|call| call.starts_with("waitid(P_PIDFD")), "{calls:#?}");
    assert!(calls.len() < 40, "{} calls: {calls:#?}", calls.len());
}

#[test]
fn an_exit_takes_fewer_than_fifteen_calls() {
    let Some(traced) = Traced::start() else { return };
    let sleeper = ["launch", "--name", "sleeper", "/bin/sleep", "300"];
    assert!(traced.client().args(sleeper).status().unwrap().success());
    let inspected =
        traced.client().args(["inspect", "--json", "sleeper"]).stdout(Stdio::piped()).output();
    let status: serde_json::Value = serde_json::from_slice(&inspected.unwrap().stdout).unwrap();
    let pid = status["pid"].as_u64().unwrap().to_string();
    // Nothing of the launch is due any more.
    std::thread::sleep(Duration::from_millis(1500));
    let kill = |_: &Traced| {
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    };
    let calls = traced.calls(kill, Duration::from_millis(1500));
    assert!(calls.iter().any(|call| call.starts_with("waitid(P_PIDFD")), "{calls:#?}");
    assert!(calls.len() < 15, "{} calls: {calls:#?}", calls.len());
}

/// A wake-up, a read and a write each; what comes while another one is moved takes no wake-up.
#[test]
fn a_line_of_output_takes_three_calls() {
    const LINES: usize = 100;
    let Some(traced) = Traced::start() else { return };
    let log = traced.directory.path().join("task.log");
    let go = traced.directory.path().join("go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = format!(
        "read go < {}; i=0; while [ $i -lt {LINES} ]; do echo line; sleep 0.01; i=$((i+1)); done; \
         exec sleep 300",
        go.display()
    );
    let sink = format!("file:{},max_size=1M", log.display());
    let writer =
        ["launch", "--name", "writer", "--stdout", &sink, "--inherit-env", "--", "sh", "-c"];
    assert!(traced.client().args(writer).arg(script).status().unwrap().success());
    let size = || fs::metadata(&log).map_or(0, |log| log.len());
    let write = |traced: &Traced| {
        fs::write(&go, "go\n").unwrap();
        traced.until(|_| size() == (LINES * "line\n".len()) as u64);
    };
    let calls = traced.calls(write, Duration::from_millis(100));
    let of = |name: &str| calls.iter().filter(|call| call.starts_with(name)).count();
    assert!(of("read(") > 0 && of("write(") > 0, "{calls:#?}");
    // Some of what belongs to the launch may still be due.
    assert!(calls.len() <= 3 * LINES + 10, "{} calls: {calls:#?}", calls.len());
    assert!(traced.client().args(["stop", "--grace", "0", "writer"]).status().unwrap().success());
}

/// What a start takes, and for each task: two calls that keep its pidfd open, two that watch it.
#[test]
fn an_upgrade_takes_a_start_and_five_calls_a_task() {
    const TASKS: usize = 40;
    let Some(traced) = Traced::start() else { return };
    let upgrade = |traced: &Traced| {
        assert!(traced.client().arg("upgrade").status().unwrap().success());
    };
    std::thread::sleep(Duration::from_millis(1500));
    let without = traced.calls(upgrade, Duration::from_millis(1500));
    let execs = without.iter().filter(|call| call.starts_with("execve")).count();
    // Root starts once more, by way of a mount of its program that is read-only.
    assert!((1..=2).contains(&execs), "{without:#?}");
    for number in 0..TASKS {
        let sleeper = ["launch", "--name", &format!("s{number}"), "/bin/sleep", "300"];
        assert!(traced.client().args(sleeper).status().unwrap().success());
    }
    std::thread::sleep(Duration::from_millis(1500));
    let with = traced.calls(upgrade, Duration::from_millis(1500));
    let more = with.len().saturating_sub(without.len());
    // The state is written in as many pieces as memory is had, and so is what is logged.
    assert!(more <= 5 * TASKS + 40, "{} calls more: {with:#?}", more);
    let stop = ["stop", "--grace", "0", "s*"];
    assert!(traced.client().args(stop).status().unwrap().success());
}
