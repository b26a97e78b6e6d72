//! A daemon that is upgraded, and its clients.

use crate::calls::{Calls, PATIENCE, shut_down, wait_for};
use ostler::control::Client;
use serde_json::json;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ostler");

/// A daemon with a directory of its own. Its tasks are stopped with it.
pub(crate) struct Node {
    pub(crate) directory: TempDir,
    daemon: Child,
}

/// What a daemon is given.
pub(crate) fn command(program: &Path, directory: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("daemon").arg("--socket").arg(directory.join("sock")).args(flags);
    for name in ["NOTIFY_SOCKET", "OSTLER_SOCKET", "LISTEN_FDS", "LISTEN_PID", "OSTLER_LOG"] {
        command.env_remove(name);
    }
    let log = std::fs::File::create(directory.join("log")).expect("a log");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

impl Node {
    pub(crate) fn start(flags: &[&str]) -> Node {
        Node::start_in(tempfile::tempdir().expect("a directory"), Path::new(PROGRAM), flags)
    }

    pub(crate) fn start_in(directory: TempDir, program: &Path, flags: &[&str]) -> Node {
        let command = command(program, directory.path(), flags);
        Node::run(directory, command)
    }

    pub(crate) fn run(directory: TempDir, mut command: Command) -> Node {
        let daemon = command.spawn().expect("the daemon starts");
        let mut node = Node { directory, daemon };
        wait_for("the daemon listens", || {
            let ended = node.daemon.try_wait().expect("a child");
            assert_eq!(ended, None, "{}", node.log());
            UnixStream::connect(node.path("sock")).is_ok()
        });
        node.call("Version", json!({}));
        node
    }

    /// The daemon has been killed: starts the next one.
    pub(crate) fn restart(&mut self, flags: &[&str]) {
        self.follow_with(command(Path::new(PROGRAM), self.directory.path(), flags));
    }

    /// The same by this command.
    pub(crate) fn follow_with(&mut self, mut command: Command) {
        self.daemon.wait().expect("reaped");
        self.daemon = command.spawn().expect("the daemon starts");
        wait_for("the daemon serves", || {
            assert!(!self.has_ended(), "{}", self.log());
            self.serves()
        });
    }

    /// Whether calls are answered. To be connected is not enough: a child of a daemon that was
    /// killed may have its socket until its exec.
    pub(crate) fn serves(&self) -> bool {
        let client = Client::connect(self.socket()).ok();
        client.is_some_and(|mut client| client.call("org.ostler.Version", json!({})).is_ok())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.daemon.try_wait().expect("a child").is_some()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text_path(&self, name: &str) -> String {
        self.path(name).to_str().expect("text").to_owned()
    }

    /// Of the daemon, whoever has started it.
    pub(crate) fn pid(&self) -> u32 {
        self.call("DaemonStats", json!({}))["pid"].as_u64().expect("a pid") as u32
    }

    /// Of the child that the test has started: the daemon, or its keeper.
    pub(crate) fn child(&self) -> u32 {
        self.daemon.id()
    }

    /// Upgrades to what is on disk; its version.
    #[track_caller]
    pub(crate) fn upgrade(&self) -> String {
        let before = self.pid();
        let reply = self.call("Upgrade", json!({}));
        assert_eq!(self.pid(), before, "the same process");
        reply["version"].as_str().expect("a version").to_owned()
    }

    /// Why an upgrade fails; the daemon goes on.
    #[track_caller]
    pub(crate) fn failed_upgrade(&self) -> String {
        let (error, mut parameters) = self.refusal("Upgrade", json!({}));
        assert_eq!(error, "org.ostler.UpgradeFailed", "{parameters}");
        serde_json::from_value(parameters["reason"].take()).expect("a reason")
    }

    /// Waits until no more is open than `before`: the daemon has let go of clients that have left.
    #[track_caller]
    pub(crate) fn await_no_more_open_than(&self, before: &[String]) {
        let begun = Instant::now();
        loop {
            let now = self.open_files();
            if now.len() <= before.len() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "before: {before:?}\nnow: {now:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the daemon has open, sorted: kinds and paths.
    pub(crate) fn open_files(&self) -> Vec<String> {
        let directory = format!("/proc/{}/fd", self.pid());
        let fds = std::fs::read_dir(directory).expect("it lives").flatten();
        let targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        let kind = |target: PathBuf| {
            let text = target.to_string_lossy().into_owned();
            text.split_once(":[").map_or(text.clone(), |(kind, _)| kind.to_owned())
        };
        let mut all: Vec<String> = targets.map(kind).collect();
        all.sort();
        all
    }
}

impl Calls for Node {
    fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        let begun = Instant::now();
        if let Ok(mut client) = Client::connect(self.path("sock")) {
            shut_down(&mut client);
        }
        while matches!(self.daemon.try_wait(), Ok(None)) {
            if begun.elapsed() > Duration::from_secs(20) {
                let _ = self.daemon.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
