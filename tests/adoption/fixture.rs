//! Daemons one after the other in one state directory.

use crate::calls::{Calls, shut_down, wait_for};
use ostler::control::Client;
use serde_json::{Value, json};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A state directory, and the daemon that uses it now.
pub(crate) struct Life {
    pub(crate) directory: TempDir,
    flags: Vec<String>,
    /// The cgroup that daemons begin in, where that is not ours.
    pub(crate) group: Option<PathBuf>,
    /// Under a keeper, that.
    daemon: Option<Child>,
    lives: u32,
    kept: bool,
    /// The daemon that a keeper has started last.
    kept_daemon: i32,
}

impl Life {
    pub(crate) fn new() -> Life {
        Life::with(&[])
    }

    pub(crate) fn with(flags: &[&str]) -> Life {
        let mut life = Life::unborn(flags);
        life.begin();
        life
    }

    /// Without a daemon so far.
    pub(crate) fn unborn(flags: &[&str]) -> Life {
        let directory = tempfile::tempdir().expect("a directory");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Life { directory, flags, group: None, daemon: None, lives: 0, kept: false, kept_daemon: 0 }
    }

    /// Under a keeper.
    pub(crate) fn kept() -> Life {
        let mut life = Life::unborn(&[]);
        life.kept = true;
        life.begin();
        life
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text_path(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// A file of the state directory.
    pub(crate) fn state(&self, name: &str) -> PathBuf {
        self.path("state").join(name)
    }

    pub(crate) fn command(&self) -> Command {
        self.command_on(&self.text_path("sock"))
    }

    /// A daemon with another socket, or none.
    pub(crate) fn command_on(&self, socket: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_ostler");
        let mut command = match &self.group {
            None => Command::new(program),
            Some(group) => {
                let mut shell = Command::new("/bin/sh");
                let line = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", group.display());
                shell.args(["-c", &line, "sh", program]);
                shell
            }
        };
        if self.kept {
            // These kill it again and again.
            command.args(["keeper", "--restart-max-delay", "250ms", "--", program]);
        }
        command.arg("daemon").arg("--socket").arg(socket);
        command.arg("--state").arg(self.path("state")).args(&self.flags);
        for name in
            ["NOTIFY_SOCKET", "OSTLER_SOCKET", "LISTEN_FDS", "LISTEN_PID", "FDSTORE", "OSTLER_LOG"]
        {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts a daemon, and waits until it answers.
    pub(crate) fn begin(&mut self) {
        if self.kept && self.daemon.is_some() {
            return self.await_kept();
        }
        self.begin_as(self.command());
        if self.kept {
            self.await_kept();
        }
    }

    /// Waits for a daemon that is not the one before.
    fn await_kept(&mut self) {
        let before = self.kept_daemon;
        wait_for("the keeper has started a daemon", || {
            let mut client = self.client();
            // One that is killed meanwhile answers nothing.
            let figures = client.call("org.ostler.DaemonStats", json!({}));
            let pid = figures.ok().and_then(|figures| figures["pid"].as_i64());
            self.kept_daemon = pid.map_or(before, |pid| pid as i32);
            self.kept_daemon != before
        });
    }

    /// Starts a daemon that is killed soon after, whatever it is doing then.
    pub(crate) fn begin_in_vain(&mut self, life: Duration) {
        let mut daemon = self.command().stderr(Stdio::null()).spawn().expect("the daemon starts");
        std::thread::sleep(life);
        daemon.kill().expect("killed");
        daemon.wait().expect("reaped");
    }

    /// One that may have so many descriptors.
    pub(crate) fn begin_with_descriptors(&mut self, number: u32) {
        let daemon = self.command();
        let mut limited = Command::new("/bin/sh");
        let line = format!("ulimit -n {number}; exec \"$@\"");
        limited.args(["-c", &line, "sh"]).arg(daemon.get_program()).args(daemon.get_args());
        self.begin_as(limited);
    }

    pub(crate) fn begin_as(&mut self, mut command: Command) {
        self.lives += 1;
        let log = std::fs::File::create(self.log_path()).expect("a log");
        self.daemon = Some(command.stderr(log).spawn().expect("the daemon starts"));
        wait_for("the daemon listens", || {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().expect("a child"));
            assert_eq!(ended, None, "{}", self.log());
            UnixStream::connect(self.path("sock")).is_ok()
        });
        // It listens before it has taken over what is there.
        self.call("Version", json!({}));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if self.kept {
            let pid = nix::unistd::Pid::from_raw(self.kept_daemon);
            nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("killed");
        } else if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("killed");
            daemon.wait().expect("reaped");
        }
    }

    /// Kills whatever there is: keeper and daemon.
    fn give_up(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.kept_daemon != 0 {
            let pid = nix::unistd::Pid::from_raw(self.kept_daemon);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        }
    }

    pub(crate) fn kill_and_begin(&mut self) {
        self.kill();
        self.begin();
    }

    /// Waits for the end of a daemon that was told to end.
    pub(crate) fn end(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let mut status = None;
        wait_for("the end of the daemon", || {
            status = daemon.try_wait().expect("a child");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", self.log());
    }

    /// Names of the tasks that run, sorted.
    pub(crate) fn running(&self) -> Vec<String> {
        let tasks = self.call("List", json!({}))["tasks"].take();
        let tasks = tasks.as_array().expect("a list").iter();
        let running = tasks.filter(|task| task["state"] == "running");
        let mut names: Vec<String> =
            running.map(|task| task["name"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    fn log_path(&self) -> PathBuf {
        self.path(&format!("log.{}", self.lives))
    }

    /// An adopted task has ended with this code; or nobody knows, where the kernel may not tell.
    #[track_caller]
    pub(crate) fn check_code(&self, status: &Value, code: i64) {
        let features = self.call("Version", json!({}))["features"].take();
        let can_tell = json!("exit_status_of_adopted");
        let can_tell = features.as_array().is_some_and(|all| all.contains(&can_tell));
        if can_tell || status["exit"]["status_known"] == true {
            assert_eq!(status["exit"]["exit_code"], code, "{status:#}");
        } else {
            assert_eq!(status["exit"]["exit_code"], -1, "{status:#}");
        }
    }

    /// Every event after one.
    #[track_caller]
    pub(crate) fn events_after(&self, after: u64) -> Vec<Value> {
        let mut client = self.client();
        let mut replies =
            client.stream("org.ostler.Events", json!({ "after": after })).expect("sent");
        let mut first = replies.next().expect("a reply").expect("events");
        serde_json::from_value(first["events"].take()).expect("events")
    }
}

impl Calls for Life {
    fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// Of the last daemon.
    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Life {
    /// Stops what is there, by a new daemon if it has to be.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for life in 1..=self.lives {
                let log = std::fs::read_to_string(self.path(&format!("log.{life}")));
                eprintln!("life {life}: {}", log.unwrap_or_default());
            }
        }
        if self.lives == 0 || (self.daemon.is_none() && std::thread::panicking()) {
            return self.kill();
        }
        if self.daemon.is_none() {
            self.daemon = self.command().stderr(Stdio::null()).spawn().ok();
        }
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if let Ok(mut client) = Client::connect(self.path("sock")) {
                shut_down(&mut client);
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        while self.daemon.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None))) {
            if begun.elapsed() > Duration::from_secs(20) {
                self.give_up();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The lines of a file, however many there are so far.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Whether the running kernel is of this version or a later one.
pub(crate) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}
