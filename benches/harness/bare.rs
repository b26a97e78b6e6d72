//! The floor: the same kernel objects made by a loop that does nothing else.

use super::Outcome;
use super::programs::Program;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CString, c_char};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr;

/// What clone3(2) takes (`struct clone_args`, 88 bytes since Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// One system call of a child: its number, then five arguments.
type Call = [usize; 6];

/// clone3, and in the child the `calls`, then execve: nothing but system calls is between them, so
/// that the child, which runs on the parent's stack, writes nothing to it. What `calls` points to
/// ends with one whose number is [`NO_CALL`]; their answers are not looked at.
///
/// # Safety
/// `args` asks for CLONE_VM and CLONE_VFORK and for no stack; the pointers are those of execve(2)
/// and live until this returns, as does all that the calls point to.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_exec(
    args: &CloneArgs,
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    calls: *const Call,
) -> isize {
    let result: isize;
    // SAFETY: the child uses registers only and never returns; the parent sleeps until its exec.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "3:",
            "mov rax, [r12]",
            "test rax, rax",
            "js 4f",
            "mov rdi, [r12 + 8]",
            "mov rsi, [r12 + 16]",
            "mov rdx, [r12 + 24]",
            "mov r10, [r12 + 32]",
            "mov r8, [r12 + 40]",
            "syscall",
            "add r12, 48",
            "jmp 3b",
            "4:",
            "mov rdi, r13",
            "mov rsi, r14",
            "mov rdx, r15",
            "mov eax, 59",
            "syscall",
            "mov edi, 127",
            "mov eax, 60",
            "syscall",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") calls,
            in("r13") path,
            in("r14") argv,
            in("r15") envp,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// As above.
///
/// # Safety
/// As above.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_and_exec(
    args: &CloneArgs,
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    calls: *const Call,
) -> isize {
    let result: isize;
    // SAFETY: the child uses registers only and never returns; the parent sleeps until its exec.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "3:",
            "ldr x8, [x9]",
            "tbnz x8, #63, 4f",
            "ldp x0, x1, [x9, #8]",
            "ldp x2, x3, [x9, #24]",
            "ldr x4, [x9, #40]",
            "svc #0",
            "add x9, x9, #48",
            "b 3b",
            "4:",
            "mov x0, x10",
            "mov x1, x11",
            "mov x2, x12",
            "mov x8, #221",
            "svc #0",
            "mov x0, #127",
            "mov x8, #93",
            "svc #0",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") ptr::from_ref(args) as isize => result,
            in("x1") size_of::<CloneArgs>(),
            in("x9") calls,
            in("x10") path,
            in("x11") argv,
            in("x12") envp,
        );
    }
    result
}

/// Stands behind the last call.
const NO_CALL: usize = usize::MAX;

/// What a child is given before its exec.
#[derive(Debug)]
struct Gifts {
    calls: Vec<Call>,
    /// What the calls point to, or name.
    _pointed: Option<Box<Pointed>>,
}

#[derive(Debug)]
struct Pointed {
    null: File,
    root: CString,
    limit: libc::rlimit,
    /// A `struct sigaction` of zeros, which is the default, and an empty set of signals.
    zeros: [u64; 4],
}

impl Gifts {
    fn none() -> Gifts {
        Gifts { calls: vec![call(NO_CALL, [])], _pointed: None }
    }

    /// A session and a descriptor table of its own.
    fn apart() -> Gifts {
        let unshare = libc::CLOSE_RANGE_UNSHARE as usize;
        let calls = vec![
            call(libc::SYS_setsid as usize, []),
            call(libc::SYS_close_range as usize, [3, u32::MAX as usize, unshare]),
            call(NO_CALL, []),
        ];
        Gifts { calls, _pointed: None }
    }

    /// All that a task gets by the shared way, by the same calls in the same order
    /// (docs/strace.md): a descriptor table and a session of its own, three streams and nothing
    /// else that is open, umask, session keyring, working directory, limit of descriptors, signals.
    fn of_a_task() -> Outcome<Gifts> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let pointed = Box::new(Pointed {
            null: File::open("/dev/null")?,
            root: c"/".to_owned(),
            limit: libc::rlimit { rlim_cur: soft.min(1024), rlim_max: hard },
            zeros: [0; 4],
        });
        let null = pointed.null.as_raw_fd() as usize;
        let root = pointed.root.as_ptr() as usize;
        let limit = ptr::from_ref(&pointed.limit) as usize;
        let zeros = pointed.zeros.as_ptr() as usize;
        let (all, unshare) = (u32::MAX as usize, libc::CLOSE_RANGE_UNSHARE as usize);
        let calls = vec![
            call(libc::SYS_close_range as usize, [null + 1, all, unshare]),
            call(libc::SYS_setsid as usize, []),
            call(libc::SYS_dup3 as usize, [null, 0, 0]),
            call(libc::SYS_dup3 as usize, [null, 1, 0]),
            call(libc::SYS_dup3 as usize, [null, 2, 0]),
            call(libc::SYS_close_range as usize, [3, all, 0]),
            call(libc::SYS_umask as usize, [0o022]),
            call(libc::SYS_keyctl as usize, [libc::KEYCTL_JOIN_SESSION_KEYRING as usize, 0]),
            call(libc::SYS_chdir as usize, [root]),
            call(libc::SYS_prlimit64 as usize, [0, libc::RLIMIT_NOFILE as usize, limit, 0]),
            call(libc::SYS_rt_sigaction as usize, [libc::SIGPIPE as usize, zeros, 0, 8]),
            call(libc::SYS_rt_sigprocmask as usize, [libc::SIG_SETMASK as usize, zeros, 0, 8]),
            call(NO_CALL, []),
        ];
        Ok(Gifts { calls, _pointed: Some(pointed) })
    }
}

fn call<const N: usize>(number: usize, arguments: [usize; N]) -> Call {
    let mut call = [0; 6];
    let words = std::iter::once(number).chain(arguments);
    call.iter_mut().zip(words).for_each(|(place, word)| *place = word);
    call
}

/// A child that nobody but its maker knows: it sends no SIGCHLD, so that a supervisor in the same
/// process never hears of it.
#[derive(Debug)]
pub(crate) struct Child {
    pid: i32,
    pub(crate) pidfd: OwnedFd,
    is_reaped: bool,
}

/// A program with its arguments as the kernel wants them.
#[derive(Debug)]
pub(crate) struct Command {
    strings: Vec<CString>,
    gifts: Gifts,
}

impl Command {
    pub(crate) fn new(program: &Program) -> Outcome<Command> {
        let words = std::iter::once(&program.path).chain(&program.args);
        let strings = words.map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
        Ok(Command { strings, gifts: Gifts::none() })
    }

    /// Each child gets a session and a descriptor table of its own, as a task does.
    pub(crate) fn apart(self) -> Command {
        Command { gifts: Gifts::apart(), ..self }
    }

    /// Each child gets all that a task gets.
    pub(crate) fn given_all(self) -> Outcome<Command> {
        Ok(Command { gifts: Gifts::of_a_task()?, ..self })
    }

    /// Makes a child that runs it, in this group where one is given.
    pub(crate) fn launch(&self, group: Option<BorrowedFd<'_>>) -> Outcome<Child> {
        let argv: Vec<*const c_char> =
            self.strings.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
        let path = argv.first().copied().ok_or("no program")?;
        let envp = [ptr::null::<c_char>()];
        let mut pidfd: i32 = -1;
        let given = self.gifts.calls.len() > 1;
        // Its first call gives it a table of its own.
        let shared = if given { libc::CLONE_FILES } else { 0 };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | shared;
        let args = CloneArgs {
            flags: flags as u64 | group.map_or(0, |_| CLONE_INTO_CGROUP),
            pidfd: ptr::from_mut(&mut pidfd) as u64,
            cgroup: group.map_or(0, |fd| fd.as_raw_fd() as u64),
            ..CloneArgs::default()
        };
        // SAFETY: VM and VFORK without a stack, and everything pointed to lives in this function.
        let pid = unsafe {
            let calls = self.gifts.calls.as_ptr();
            clone_and_exec(&args, path, argv.as_ptr(), envp.as_ptr(), calls)
        };
        if pid < 0 {
            return Err(Errno::from_raw(-pid as i32).into());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        Ok(Child { pid: pid as i32, pidfd, is_reaped: false })
    }
}

impl Child {
    /// Waits for its end and reaps it.
    pub(crate) fn wait(mut self) -> Outcome<()> {
        self.reap()
    }

    fn reap(&mut self) -> Outcome<()> {
        // SAFETY: an all-zero siginfo is a valid one.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let (fd, flags) = (self.pidfd.as_raw_fd() as u32, libc::WEXITED | libc::__WALL);
        // SAFETY: the struct outlives the call.
        Errno::result(unsafe { libc::waitid(libc::P_PIDFD, fd, &mut info, flags) })?;
        self.is_reaped = true;
        Ok(())
    }

    pub(crate) fn kill(&self) -> Outcome<()> {
        // SAFETY: plain numbers; the child is not reaped yet, so the number is its own.
        Errno::result(unsafe { libc::kill(self.pid, libc::SIGKILL) })?;
        Ok(())
    }
}

impl Drop for Child {
    /// A benchmark that fails leaves no process behind.
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.kill().and_then(|()| self.reap());
        }
    }
}

/// A v2 group in which the groups of bare children are made, as the supervisor does it.
#[derive(Debug)]
pub(crate) struct Groups {
    path: PathBuf,
    directory: OwnedFd,
}

impl Groups {
    /// Absent where the system has no v2 hierarchy or does not let us.
    pub(crate) fn make() -> Option<Groups> {
        let path = own_group()?.join(format!("ostler-bench-{}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        let directory = nix::fcntl::open(&path, DIRECTORY, Mode::empty()).ok()?;
        Some(Groups { path, directory })
    }

    /// Makes a group and opens it for CLONE_INTO_CGROUP.
    pub(crate) fn make_group(&self, name: &str) -> Outcome<OwnedFd> {
        mkdirat(&self.directory, name, Mode::from_bits_truncate(0o755))?;
        Ok(openat(&self.directory, name, DIRECTORY, Mode::empty())?)
    }

    /// Removes it again.
    pub(crate) fn remove_group(&self, name: &str) -> Outcome<()> {
        Ok(unlinkat(&self.directory, name, UnlinkatFlags::RemoveDir)?)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// The directory of this process's own v2 group.
fn own_group() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let is_v2 = |line: &&str| line.contains(" - cgroup2 ");
    let point = mounts.lines().find(is_v2)?.split(' ').nth(4)?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(point).join(own))
}

/// Launches `at_once` children and waits for their ends, `times` times.
pub(crate) fn launch_and_wait(
    command: &Command,
    groups: Option<&Groups>,
    times: usize,
    at_once: usize,
) -> Outcome<()> {
    let names: Vec<String> = (0..at_once).map(|number| format!("child-{number}")).collect();
    let mut children = Vec::with_capacity(at_once);
    for _ in 0..times {
        for name in &names {
            let group = groups.map(|groups| groups.make_group(name)).transpose()?;
            children.push(command.launch(group.as_ref().map(AsFd::as_fd))?);
        }
        for (name, child) in names.iter().zip(children.drain(..)) {
            child.wait()?;
            if let Some(groups) = groups {
                groups.remove_group(name)?;
            }
        }
    }
    Ok(())
}
