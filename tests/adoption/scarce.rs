//! What the system has no room for: processes, inodes, a disk that can be written.

use crate::calls::{Calls, wait_for};
use crate::executable::copy_executable;
use crate::fixture::Life;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use ostler::control::CallError;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A small disk at a directory, which is made.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, options: &str) -> Option<Disk> {
        std::fs::create_dir(&path).expect("a directory");
        mount(Some("ostler-test"), &path, Some("tmpfs"), MsFlags::empty(), Some(options))
            .inspect_err(|errno| println!("skipped: no disk: mount: {}", errno.desc()))
            .ok()?;
        Some(Disk(path))
    }

    /// Nothing can be written from now on; or again.
    fn set_read_only(&self, is_read_only: bool) {
        let mut flags = MsFlags::MS_REMOUNT;
        flags.set(MsFlags::MS_RDONLY, is_read_only);
        let none: Option<&str> = None;
        mount(none, &self.0, none, flags, none).expect("mounted again");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// What a daemon says that cannot begin.
#[track_caller]
fn refused(life: &Life, socket: &Path) -> String {
    let mut command = life.command_on(socket.to_str().expect("text"));
    let output = command.stderr(Stdio::piped()).output().expect("it starts");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

/// Why a launch is refused.
fn launch_error(life: &Life) -> Option<Value> {
    let task = json!({"command": "/bin/sleep", "args": ["600"]});
    match life.client().call("org.ostler.Launch", json!({ "task": task })) {
        Ok(_) => None,
        Err(CallError::Remote { error, mut parameters }) => {
            assert_eq!(error, "org.ostler.LaunchFailed", "{parameters}");
            Some(parameters["error"].take())
        }
        Err(other) => panic!("{other}: {}", life.log()),
    }
}

#[test]
fn a_state_directory_that_cannot_be_written_is_refused() {
    let mut life = Life::unborn(&[]);
    let Some(disk) = Disk::new(life.path("state"), "size=1m,mode=0700") else { return };
    disk.set_read_only(true);
    let text = refused(&life, Path::new("none"));
    assert!(text.contains("state/lock\": Read-only file system"), "{text}");
    disk.set_read_only(false);
    life.begin();
    let kept = life.launch("kept", "exec sleep 600", json!({}));
    life.kill();
    disk.set_read_only(true);
    let text = refused(&life, Path::new("none"));
    assert!(text.contains("Read-only file system"), "{text}");
    disk.set_read_only(false);
    life.begin();
    assert_eq!(life.inspect("kept")["pid"], kept["pid"]);
    life.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
    life.end();
}

#[test]
fn a_directory_without_room_for_a_socket_is_named() {
    let life = Life::unborn(&[]);
    let run = life.path("run");
    let Some(_disk) = Disk::new(run.clone(), "nr_inodes=2,mode=0700") else { return };
    std::fs::write(run.join("full"), "").expect("the last one");
    let text = refused(&life, &run.join("sock"));
    assert!(text.contains("run/sock") && text.contains("No space left on device"), "{text}");
}

#[test]
fn a_full_disk_takes_no_line_of_the_daemon_that_begins_on_it() {
    let mut life = Life::unborn(&[]);
    let Some(_disk) = Disk::new(life.path("state"), "size=256k,mode=0700") else { return };
    life.begin();
    let kept = life.launch("kept", "exec sleep 600", json!({}));
    let ended = life.launch("ended", "exec sleep 600", json!({}));
    life.kill();
    let fill = || {
        let mut ballast = std::fs::File::create(life.state("ballast")).expect("a file");
        while std::io::Write::write_all(&mut ballast, &[0; 512]).is_ok() {}
    };
    fill();
    life.begin();
    assert!(life.log().contains("the state cannot be kept"), "{}", life.log());
    assert!(!life.state("journal.new").exists(), "it would take what little room there is");
    assert_eq!(life.inspect("kept")["pid"], kept["pid"]);
    // What is told is true, and kept as soon as there is room.
    let pid = ended["pid"].as_i64().expect("a process") as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL)
        .expect("killed");
    let over = life.wait("ended");
    life.check_code(&over, 137);
    std::fs::remove_file(life.state("ballast")).expect("removed");
    wait_for("a launch", || launch_error(&life).is_none());
    life.kill_and_begin();
    assert_eq!(life.inspect("kept")["pid"], kept["pid"]);
    assert_eq!(life.inspect("ended")["exit"], over["exit"]);
    life.call("Shutdown", json!({"stop_tasks": true, "grace_ms": 0}));
    life.end();
}

#[test]
fn a_user_who_may_have_no_more_processes_is_told_so() {
    const USER: u32 = 47_113;
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a_user_who_may_have_no_more_processes_is_told_so: not root");
        return;
    }
    let mut life = Life::unborn(&[]);
    let directory = life.directory.path();
    std::os::unix::fs::chown(directory, Some(USER), Some(USER)).expect("given");
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("changed");
    // The program may lie where this user may not go.
    let program = life.path("ostler");
    copy_executable(env!("CARGO_BIN_EXE_ostler"), &program, 0o755);
    let daemon = life.command();
    let mut limited = std::process::Command::new("setpriv");
    let user = USER.to_string();
    limited.args(["--reuid", &user, "--regid", &user, "--clear-groups", "prlimit", "--nproc=6"]);
    limited.arg(program).args(daemon.get_args());
    life.begin_as(limited);
    let mut error = None;
    for _ in 0..10 {
        error = launch_error(&life);
        if error.is_some() {
            break;
        }
    }
    let error = error.expect("no more than six");
    assert_eq!(
        (&error["errno_name"], &error["retry"]),
        (&json!("EAGAIN"), &json!(true)),
        "{error}"
    );
    let tasks = life.call("List", json!({}))["tasks"].take();
    let name = tasks[0]["name"].as_str().expect("a task").to_owned();
    assert!(tasks.as_array().is_some_and(|all| all.iter().all(|one| one["state"] == "running")));
    life.call("Remove", json!({"name": name, "force": true}));
    assert_eq!(launch_error(&life), None, "there is room again");
}
