//! What the tests of mounts share: a root with the programs of this machine in it, and
//! `ostler run`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ostler");

/// Whether this test can make mounts; says so where it cannot.
pub(crate) fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: {test}: needs root");
    }
    root
}

/// A root without anything but what is mounted in it.
pub(crate) struct Image {
    directory: tempfile::TempDir,
    flags: Vec<String>,
}

impl Image {
    pub(crate) fn new() -> Image {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
        let mut image = Image { directory, flags: Vec::new() };
        fs::create_dir(image.at("")).unwrap();
        let root = image.at("").display().to_string();
        image.flags = ["--root", &root, "--mount", "/usr:/usr:ro"].map(str::to_owned).into();
        for name in ["bin", "sbin", "lib", "lib64"] {
            let host = Path::new("/").join(name);
            match fs::read_link(&host) {
                Ok(target) => symlink(target, image.at(name)).unwrap(),
                Err(_) if host.exists() => {
                    image.flags.extend(["--mount".to_owned(), format!("/{name}:/{name}:ro")]);
                }
                Err(_) => {}
            }
        }
        image
    }

    /// A path of the host inside the root.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join("root").join(name)
    }

    /// A path of the host beside the root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The flags that make it a task's root.
    pub(crate) fn flags(&self) -> Vec<&str> {
        self.flags.iter().map(String::as_str).collect()
    }

    /// `ostler run` in this root.
    pub(crate) fn run(&self, flags: &[&str], command: &[&str]) -> Output {
        run(&[&self.flags(), flags].concat(), command)
    }

    /// The same, and what it prints.
    pub(crate) fn told(&self, flags: &[&str], script: &str) -> String {
        text(&self.run(flags, &["/bin/sh", "-c", script]))
    }

    /// Processes that see what was mounted for a task in this root, this one among them.
    pub(crate) fn seen_by(&self) -> Vec<String> {
        let name = self.directory.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut seen = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let mounts = fs::read_to_string(entry.path().join("mountinfo")).unwrap_or_default();
            if mounts.contains(&name) {
                seen.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        seen
    }

    /// Asserts that nothing is left of its tasks: no process, no mount, no group.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&self, case: &str) {
        assert_eq!(self.seen_by(), [""; 0], "{case}");
    }
}

/// `ostler run` with these flags and this command.
pub(crate) fn run(flags: &[&str], command: &[&str]) -> Output {
    ostler(&[&["run", "--env", "PATH=/usr/bin:/bin"], flags, &["--"], command].concat())
        .output()
        .unwrap()
}

pub(crate) fn ostler(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).stdin(Stdio::null()).current_dir("/");
    for name in ["OSTLER_SOCKET", "OSTLER_LOG", "NOTIFY_SOCKET", "LISTEN_FDS", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    streams.concat()
}

/// Groups of supervisors of this process id, in any hierarchy.
pub(crate) fn groups_of(pid: u32) -> Vec<PathBuf> {
    let start = format!("ostler-{pid}");
    let mut left = Vec::new();
    let mut open = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((directory, depth)) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&start);
            if rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit())) {
                left.push(entry.path());
            }
            if depth < 6 {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    left
}

/// Whether the devices controller of cgroup v1 is there.
pub(crate) fn has_device_controller() -> bool {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().any(|line| line.split(':').nth(1).is_some_and(|list| list == "devices"))
}
