//! What a task finds when it tries to get out: this program itself, run as a task.

#![allow(unsafe_code)]

use crate::executable::copy_executable;
use crate::fixture::{Fixture, named};
use crate::support::{isolated, open_directory, writing};
use nix::errno::Errno;
use nix::libc;
use ostler::{Isolation, TaskSpec};
use std::collections::BTreeMap;
use std::path::Path;

/// The pid of somebody outside, for the task.
const OUTSIDE: &str = "OSTLER_TEST_OUTSIDE";

/// Makes a call with numbers; 0 or the errno.
fn errno_of(call: libc::c_long, arguments: [usize; 4]) -> i32 {
    let [a, b, c, d] = arguments;
    // SAFETY: numbers that the kernel refuses, or pointers to what outlives the call.
    match unsafe { libc::syscall(call, a, b, c, d, 0_usize, 0_usize) } {
        -1 => Errno::last_raw(),
        _ => 0,
    }
}

fn opened(path: &str) -> i32 {
    std::fs::File::open(path).err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

/// Not a test but what a task of this file runs: each attempt and its errno.
#[test]
fn probe() {
    let Ok(outside) = std::env::var(OUTSIDE) else { return };
    let outside: usize = outside.parse().unwrap();
    let leave = nix::libc::SIGRTMAX() as usize;
    let queued = |code: i32| {
        // siginfo_t: number, errno, code; the sender is 0.
        let mut info = [0_i32; 32];
        (info[0], info[2]) = (leave as i32, code);
        let pointer = info.as_ptr() as usize;
        errno_of(libc::SYS_rt_sigqueueinfo, [1, leave, pointer, 0])
    };
    let attach = libc::PTRACE_ATTACH as usize;
    let attempts = [
        ("kill outside", errno_of(libc::SYS_kill, [outside, 0, 0, 0])),
        ("ptrace outside", errno_of(libc::SYS_ptrace, [attach, outside, 0, 0])),
        ("pidfd outside", errno_of(libc::SYS_pidfd_open, [outside, 0, 0, 0])),
        ("ptrace init", errno_of(libc::SYS_ptrace, [attach, 1, 0, 0])),
        ("root of init", opened("/proc/1/root/etc/passwd")),
        ("memory of init", opened("/proc/1/mem")),
        ("mounts of init", opened("/proc/1/ns/mnt")),
        ("kill init", errno_of(libc::SYS_kill, [1, libc::SIGKILL as usize, 0, 0])),
        ("leave as user", queued(0)),
        ("leave as queued", queued(-1)),
        ("leave as kernel", queued(0x80)),
        ("leave by kill", errno_of(libc::SYS_kill, [1, leave, 0, 0])),
    ];
    // Whether the init is still there, after all that.
    std::thread::sleep(std::time::Duration::from_millis(200));
    println!();
    for (name, errno) in attempts {
        println!("{name}={errno}");
    }
    println!("init lives={}", errno_of(libc::SYS_kill, [1, 0, 0, 0]));
    println!("effective uid={}", nix::unistd::geteuid());
}

/// What the probe reports as a task of this user, its file having this mode.
pub(crate) fn report(
    fixture: &mut Fixture,
    isolation: Isolation,
    user: Option<&str>,
    outside: u32,
    mode: u32,
) -> BTreeMap<String, i32> {
    let directory = open_directory();
    let program = directory.path().join("probe");
    copy_executable(std::env::current_exe().unwrap(), &program, mode);
    let out = directory.path().join("out");
    let args = ["--exact", "probe::probe", "--nocapture", "--test-threads", "1"];
    let spec = TaskSpec {
        args: args.map(str::to_owned).to_vec(),
        env: vec![format!("{OUTSIDE}={outside}")],
        user: user.map(str::to_owned),
        ..TaskSpec::new(program.display().to_string())
    };
    let task = fixture.launch(named("probe", writing(&out, isolated(isolation, spec))));
    let status = fixture.wait("probe");
    fixture.supervisor.remove(task, false).unwrap();
    let text = std::fs::read_to_string(Path::new(&out)).unwrap();
    assert_eq!(status.exit.unwrap().status.exit_code(), 0, "{text}");
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.filter_map(|(name, errno)| Some((name.to_owned(), errno.parse().ok()?))).collect()
}
