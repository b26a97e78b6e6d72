//! The child between clone and exec must not allocate: it may share the memory of the supervisor,
//! or be a copy of a process one of whose threads held the lock of the allocator.
//!
//! The allocator of this test ends whatever process uses it that is not the test itself.
#![allow(unsafe_code)]

use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use ostler::testing::Launcher;
use ostler::{Device, ExitStatus, Isolation, Mount, PathRule, Propagation, Stage, TaskSpec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// The test; 0: the trap is not set.
static PARENT: AtomicU32 = AtomicU32::new(0);
/// The exit code of a child that fell into the trap.
const TRAPPED: i32 = 99;

struct Trap;

fn look() {
    let parent = PARENT.load(Ordering::Relaxed);
    if parent != 0 && std::process::id() != parent {
        // SAFETY: ends the process, nothing more.
        unsafe { libc::_exit(TRAPPED) }
    }
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        look();
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static TRAP: Trap = Trap;

fn shell(script: &str) -> TaskSpec {
    TaskSpec { args: vec!["-c".into(), script.into()], ..TaskSpec::new("/bin/sh") }
}

/// A task with every step that a child can have here.
fn everything() -> TaskSpec {
    let mut spec = TaskSpec {
        task_dir: Some("/tmp".into()),
        work_dir: Some("/".into()),
        oom_score_adj: ostler::Setting::To(500),
        nice: ostler::Setting::To(5),
        env: vec!["PATH=/no/such:/usr/bin:/bin".into()],
        ..shell("exit 7")
    };
    spec.command = "sh".into();
    spec.rlimits.insert("core".into(), "0".into());
    if nix::unistd::geteuid().is_root() {
        spec.user = Some("54321:54321".into());
    }
    spec
}

/// A task with every step that takes rights away.
fn restricted() -> TaskSpec {
    let rule = |path: &str| PathRule { path: path.into(), access: "rx".into() };
    let isolation = Isolation {
        capabilities: nix::unistd::geteuid().is_root().then(|| vec!["KILL".into()]),
        no_new_privs: true,
        seccomp: cfg!(feature = "seccomp").then(|| "default".into()),
        landlock: Some(vec![rule("/"), rule("/etc/passwd")]),
        ..Isolation::default()
    };
    TaskSpec { isolation: Some(Box::new(isolation)), ..everything() }
}

/// Runs it, and one that fails at a rule; without landlock in this kernel both fail.
#[expect(clippy::unwrap_used, reason = "a test")]
fn run_restricted(launcher: &mut Launcher) {
    let mut spec = restricted();
    match launcher.run(&spec) {
        Ok(status) => assert_eq!(status, Some(ExitStatus::Exited(7))),
        Err(error) => {
            assert_eq!(error.stage, Stage::Landlock, "{error}");
            assert!([libc::ENOSYS, libc::EOPNOTSUPP].contains(&error.errno), "{error}");
        }
    }
    if let Some(isolation) = &mut spec.isolation {
        let missing = PathRule { path: "/no/such".into(), access: "r".into() };
        isolation.landlock = Some(vec![missing]);
    }
    let error = launcher.run(&spec).unwrap_err();
    assert_eq!(error.stage, Stage::Landlock, "{error}");
    if let Some(isolation) = &mut spec.isolation {
        isolation.landlock = None;
    }
    assert_eq!(launcher.run(&spec).unwrap(), Some(ExitStatus::Exited(7)));
}

/// Runs a task with a root, mounts and devices of its own, and one whose mount point cannot be.
#[expect(clippy::unwrap_used, reason = "a test")]
fn run_rooted(launcher: &mut Launcher) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: a root, mounts and devices: they need root");
        return;
    }
    let image = tempfile::tempdir().unwrap();
    let mount = |source: &str, target: &str| Mount {
        source: source.into(),
        target: target.into(),
        read_only: true,
        propagation: Propagation::Private,
    };
    let mut mounts = vec![mount("/usr", "/usr"), mount("/tmp", "/tmp")];
    for name in ["/bin", "/lib", "/lib64"].into_iter().filter(|name| Path::new(name).exists()) {
        mounts.push(mount(name, name));
    }
    let device = Device { source: "/dev/zero".into(), target: None, permissions: "rwm".into() };
    let isolation = Isolation {
        root: Some(image.path().to_str().unwrap().into()),
        mounts,
        devices: Some(vec![device]),
        ..Isolation::default()
    };
    let mut spec = TaskSpec { isolation: Some(Box::new(isolation)), ..everything() };
    assert_eq!(launcher.run(&spec).unwrap(), Some(ExitStatus::Exited(7)));
    if let Some(isolation) = &mut spec.isolation {
        isolation.mounts.push(mount("/etc", "/usr/no/such"));
    }
    let error = launcher.run(&spec).unwrap_err();
    assert_eq!(error.stage, Stage::Mount, "{error}");
}

/// Runs tasks in namespaces of their own, and ones whose network cannot be joined; without root
/// that takes user namespaces.
#[expect(clippy::unwrap_used, reason = "a test")]
fn run_in_namespaces(launcher: &mut Launcher) {
    for pid in [false, true] {
        let isolation = Isolation {
            pid,
            ipc: true,
            uts: true,
            hostname: Some("inside".into()),
            net: Some("none".into()),
            ..Isolation::default()
        };
        let mut spec = TaskSpec { isolation: Some(Box::new(isolation)), ..everything() };
        match launcher.run(&spec) {
            Ok(status) => assert_eq!(status, Some(ExitStatus::Exited(7))),
            Err(error) => {
                assert!(!nix::unistd::geteuid().is_root(), "{error}");
                println!("skipped: namespaces: {error}");
                return;
            }
        }
        if let Some(isolation) = &mut spec.isolation {
            isolation.net = Some("/dev/null".into());
        }
        let error = launcher.run(&spec).unwrap_err();
        assert_eq!(error.stage, Stage::Network, "{error}");
    }
}

/// One test, since the trap is set for the whole process: no other thread may be making children.
#[test]
fn a_child_never_allocates() {
    PARENT.store(std::process::id(), Ordering::Relaxed);
    for copied in [false, true] {
        let mut launcher = Launcher::new(copied).unwrap();
        let status = launcher.run(&everything()).unwrap();
        assert_eq!(status, Some(ExitStatus::Exited(7)), "copied: {copied}");
        let line = "test -t 0 && : >/dev/tty && exit 7";
        let status = launcher.run_on_terminal(&shell(line)).unwrap();
        assert_eq!(status, Some(ExitStatus::Exited(7)), "on a terminal");
        run_restricted(&mut launcher);
        run_in_namespaces(&mut launcher);
        run_rooted(&mut launcher);
        // Every kind of end of the child's own.
        for (spec, stage) in [
            (TaskSpec::new("/no/such/command"), Stage::Lookup),
            (TaskSpec::new("/etc"), Stage::Exec),
            (TaskSpec::new("/etc/passwd"), Stage::Exec),
            (TaskSpec { work_dir: Some("/no/such".into()), ..shell("exit 0") }, Stage::Directory),
        ] {
            let error = launcher.run(&spec).unwrap_err();
            assert_eq!(error.stage, stage, "copied: {copied}: {error}");
        }
    }
    the_trap_works();
}

#[expect(clippy::unwrap_used, reason = "a test")]
fn the_trap_works() {
    extern "C" fn allocate(_: *mut c_void) -> libc::c_int {
        drop(std::hint::black_box(Box::new(1)));
        0
    }
    let mut stack = vec![0_u8; 64 << 10];
    for flags in [0, libc::CLONE_VM | libc::CLONE_VFORK] {
        let top = stack.as_mut_ptr_range().end.cast();
        // SAFETY: the child has a stack of its own, and ends before this thread goes on or has
        // a copy of everything.
        let pid =
            unsafe { libc::clone(allocate, top, flags | libc::SIGCHLD, std::ptr::null_mut()) };
        let status = waitpid(Pid::from_raw(pid), None).unwrap();
        assert_eq!(status, WaitStatus::Exited(Pid::from_raw(pid), TRAPPED), "flags {flags:#x}");
    }
}
