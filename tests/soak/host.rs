//! The daemon, on a small disk of its own, with or without a keeper.

use crate::tasks::Tasks;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ostler::control::{CallError, Client};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Host {
    directory: TempDir,
    is_kept: bool,
    /// The state is on a disk of its own, which can be filled.
    pub(crate) has_disk: bool,
    /// The daemon, or its keeper.
    child: Child,
    /// The daemon.
    pub(crate) pid: i32,
    pub(crate) tasks: Tasks,
}

impl Host {
    pub(crate) fn new(is_kept: bool) -> Host {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        std::fs::create_dir(&state).expect("a directory");
        let flags = MsFlags::MS_NOSUID;
        let disk =
            mount(Some("ostler-soak"), &state, Some("tmpfs"), flags, Some("size=1m,mode=0700"));
        if disk.is_err() {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(&state, mode).expect("changed");
            println!("skipped: full disks: no permission to mount one");
        }
        let tasks = Tasks::new(directory.path());
        tasks.write_file(&[]);
        let child = begin(&directory, is_kept);
        let has_disk = disk.is_ok();
        let mut host = Host { directory, is_kept, has_disk, child, pid: 0, tasks };
        host.await_daemon();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// A file of the state directory.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path("state").join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for another daemon than the one before.
    pub(crate) fn await_daemon(&mut self) {
        let (before, begun) = (self.pid, Instant::now());
        while self.pid == before {
            assert!(begun.elapsed() < PATIENCE, "no daemon came: {}", self.last_log());
            let ended = self.child.try_wait().expect("a child");
            assert_eq!(ended, None, "{}", self.last_log());
            let figures = self.try_call("DaemonStats", json!({}));
            match figures.ok().and_then(|figures| figures["pid"].as_i64()) {
                Some(pid) => self.pid = pid as i32,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    pub(crate) fn client(&self) -> std::io::Result<Client> {
        let client = Client::connect(self.socket())?;
        client.socket().set_read_timeout(Some(PATIENCE))?;
        Ok(client)
    }

    fn try_call(&self, method: &str, parameters: Value) -> Result<Value, CallError> {
        self.client()?.call(&format!("org.ostler.{method}"), parameters)
    }

    /// The reply, or the name of a refusal, of which a user may see these.
    #[track_caller]
    pub(crate) fn call(&self, method: &str, parameters: Value) -> Result<Value, String> {
        const EXPECTED: [&str; 11] = [
            "NoSuchTask",
            "TaskExists",
            "LaunchFailed",
            "NotRunning",
            "TimedOut",
            "NotKept",
            "InvalidTask",
            "ShuttingDown",
            "Unsupported",
            "NotPermitted",
            // The disk is full.
            "UpgradeFailed",
        ];
        match self.try_call(method, parameters.clone()) {
            Ok(reply) => Ok(reply),
            Err(CallError::Remote { error, parameters: why }) => {
                let name = error.trim_start_matches("org.ostler.");
                assert!(EXPECTED.contains(&name), "{method} {parameters}: {error} {why}");
                Err(name.to_owned())
            }
            Err(error) => panic!("{method} {parameters}: {error}; {}", self.last_log()),
        }
    }

    /// Whether tasks have groups here: without, what leaves its session outlives a daemon's death.
    pub(crate) fn is_contained(&self) -> bool {
        let name = self.tasks.name(0);
        let task = json!({"name": name, "command": "/bin/sleep", "args": ["600"]});
        let launched = self.call("Launch", json!({ "task": task })).expect("launched");
        self.call("Remove", json!({"name": name, "force": true})).expect("removed");
        launched["status"]["containment"] == "cgroup_v2"
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("a daemon");
    }

    /// SIGKILL, and the next one; `pause`: how long there is none.
    pub(crate) fn kill(&mut self, pause: Duration) {
        self.signal(Signal::SIGKILL);
        if !self.is_kept {
            self.child.wait().expect("a child");
            std::thread::sleep(pause);
            self.child = begin(&self.directory, false);
        }
        self.await_daemon();
    }

    /// One that is killed as it takes over.
    pub(crate) fn kill_twice(&mut self, life: Duration) {
        self.signal(Signal::SIGKILL);
        if self.is_kept {
            let next = self.next_kept();
            std::thread::sleep(life);
            // It may be a start of the one before, which has ended by itself.
            let _ = kill(Pid::from_raw(next), Signal::SIGKILL);
            self.pid = next;
        } else {
            self.child.wait().expect("a child");
            self.child = begin(&self.directory, false);
            std::thread::sleep(life);
            self.child.kill().expect("killed");
            self.child.wait().expect("a child");
            self.child = begin(&self.directory, false);
        }
        self.await_daemon();
    }

    /// The daemon that the keeper starts next, as soon as it is there.
    fn next_kept(&self) -> i32 {
        let begun = Instant::now();
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        loop {
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            let pids = text.split_whitespace().filter_map(|pid| pid.parse().ok());
            // The others are tasks that it has got from daemons.
            let found = pids.filter(|&pid: &i32| pid != self.pid).find(|pid| {
                let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                words.starts_with(env!("CARGO_BIN_EXE_ostler").as_bytes())
            });
            if let Some(pid) = found {
                return pid;
            }
            assert!(begun.elapsed() < PATIENCE, "no daemon came: {}", self.last_log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// An orderly end that keeps the tasks; a keeper would end as well.
    pub(crate) fn end_and_begin(&mut self) {
        if self.is_kept {
            return;
        }
        if self.call("Shutdown", json!({"stop_tasks": false})).is_ok() {
            let status = self.child.wait().expect("a child");
            assert!(status.success(), "{status}: {}", self.last_log());
            self.child = begin(&self.directory, false);
            self.await_daemon();
        }
    }

    /// What the descriptors of the daemon lead to, and those of its keeper.
    pub(crate) fn descriptors(&self) -> [Vec<String>; 2] {
        [self.pid, self.child.id() as i32].map(|pid| {
            let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
            let targets = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
            let mut targets: Vec<_> = targets.map(|path| path.display().to_string()).collect();
            targets.sort();
            targets
        })
    }

    /// Children of the daemon that it has not reaped.
    pub(crate) fn children(&self) -> Vec<String> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn last_log(&self) -> String {
        let log = self.log();
        let from = log.len().saturating_sub(4000);
        log.get(from..).unwrap_or(&log).to_owned()
    }

    pub(crate) fn end(mut self) {
        let log = self.log();
        let strange = log.lines().filter(|line| line.contains("panicked"));
        assert_eq!(strange.count(), 0, "{log}");
        self.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0})).expect("it ends");
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.try_call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
            let begun = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE / 6 {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if self.has_disk {
            let _ = umount2(&self.path("state"), MntFlags::MNT_DETACH);
        }
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.last_log().as_bytes());
            let copy = concat!(env!("CARGO_TARGET_TMPDIR"), "/soak.log");
            let copied = std::fs::copy(self.path("log"), copy);
            eprintln!("\nthe whole log: {copy} {copied:?}");
        }
    }
}

fn begin(directory: &TempDir, is_kept: bool) -> Child {
    let program = env!("CARGO_BIN_EXE_ostler");
    let mut command = Command::new("env");
    command.args(["--default-signal", program]);
    if is_kept {
        command.args(["keeper", "--restart-max-delay", "200ms", "--", program]);
    }
    command.arg("daemon").arg("--socket").arg(directory.path().join("sock"));
    command.arg("--state").arg(directory.path().join("state"));
    command.arg("--tasks").arg(directory.path().join("tasks.toml"));
    for name in
        ["NOTIFY_SOCKET", "OSTLER_SOCKET", "LISTEN_FDS", "LISTEN_PID", "FDSTORE", "OSTLER_LOG"]
    {
        command.env_remove(name);
    }
    let log = directory.path().join("log");
    let log = File::options().create(true).append(true).open(log).expect("a log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("started")
}
