//! The child between clone and exec.
//!
//! It may share the supervisor's memory (the supervisor waits meanwhile), or be a copy of a process
//! whose threads held locks. So: raw system calls on prepared data, and no allocation, no lock, no
//! libc, no formatting, no panic, no destructor. tests/fork_safety.rs has an eye on it.

use super::child_descriptors;
use super::child_namespaces;
use super::child_privileges::{self, RuleFailure};
use super::mounting;
use super::namespaces::Namespaces;
use super::program::{Limit, Program, Step, Target};
use super::raw::{Answer, call};
use super::task_directory;
use nix::libc;
use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// What the child is given. In the shared way it lies on the waiting supervisor's stack.
pub(super) struct Launch<'a> {
    pub(super) program: &'a Program,
    /// cgroup.procs files into which the child writes itself.
    pub(super) joins: &'a [CString],
    /// A pidfd, and which namespaces of that process the child enters, after it has joined groups:
    /// their files may not be seen from inside.
    pub(super) enters: Option<(i32, Namespaces)>,
    /// Descriptors above 2 that become 0, 1 and 2.
    pub(super) streams: [i32; 3],
    /// The descriptor table is the supervisor's own too; the child needs those up to this one.
    pub(super) shared_up_to: Option<i32>,
    /// Where the child reports; absent: in `report`, which the supervisor sees.
    pub(super) status: Option<i32>,
    /// close_range(2) is there.
    pub(super) close_range: bool,
    /// Bit n-1: signal n has to be set to its default.
    pub(super) reset_signals: u64,
    /// The supervisor, where the child is to die with it.
    pub(super) parent: i32,
    pub(super) report: Report,
}

/// How far the child came.
#[derive(Default)]
pub(super) struct Report {
    pub(super) progress: AtomicU32,
    pub(super) place: AtomicU32,
    pub(super) index: AtomicU32,
    pub(super) errno: AtomicI32,
}

/// Values of `progress` and of the first word of a status record. Before: 0.
pub(super) const EXECUTING: u32 = 1;
/// See [`EXECUTING`].
pub(super) const FAILED: u32 = 2;
/// `progress`, place, index, errno, as native words.
pub(super) const RECORD_BYTES: usize = 16;

/// Where the child failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Place {
    /// Getting a descriptor table of its own.
    Unshare = 1,
    /// Joining the group `index`.
    Join = 2,
    /// The step `index`.
    Step = 3,
    /// No candidate exists.
    Lookup = 4,
    /// Executing candidate `index`.
    Exec = 5,
    /// Candidate `index` has no execute bit for the user.
    NotExecutable = 6,
    /// Candidate `index` is a directory.
    IsDirectory = 7,
    /// The user may not search a directory on the way to candidate `index`.
    Unsearchable = 8,
    /// The landlock rule `index`.
    Rule = 9,
    /// Entering the namespaces of another process.
    Enter = 10,
    /// The action `index` of the mounts.
    Mount = 11,
    /// The mount point of the action `index` of the mounts.
    MountPoint = 12,
}

impl Place {
    pub(super) fn of(number: u32) -> Option<Place> {
        use Place::{
            Enter, Exec, IsDirectory, Join, Lookup, Mount, MountPoint, NotExecutable, Rule, Step,
            Unsearchable, Unshare,
        };
        let of_steps = [Unshare, Join, Step, Rule, Enter, Mount, MountPoint];
        let of_exec = [Lookup, Exec, NotExecutable, IsDirectory, Unsearchable];
        let mut all = of_steps.into_iter().chain(of_exec);
        all.find(|place| *place as u32 == number)
    }
}

struct Failure {
    place: Place,
    index: usize,
    errno: i32,
}

/// What the child runs.
///
/// # Safety
/// `launch` must point to a [`Launch`], all of which stays as it is until the exec.
pub(super) unsafe extern "C" fn run(launch: *const ()) -> ! {
    // SAFETY: the caller's.
    let launch = unsafe { &*launch.cast::<Launch<'_>>() };
    let failure = match prepare(launch) {
        Ok(()) => execute(launch),
        Err(failure) => failure,
    };
    tell(launch, FAILED, failure.place as u32, failure.index, failure.errno);
    exit()
}

pub(super) fn exit() -> ! {
    loop {
        let _ = call(libc::SYS_exit_group, [127]);
    }
}

fn tell(launch: &Launch<'_>, progress: u32, place: u32, index: usize, errno: i32) {
    let index = index as u32;
    match launch.status {
        Some(pipe) => {
            let record = [progress, place, index, errno as u32];
            let _ = call(libc::SYS_write, [pipe as usize, record.as_ptr() as usize, RECORD_BYTES]);
        }
        None => {
            launch.report.place.store(place, Ordering::Relaxed);
            launch.report.index.store(index, Ordering::Relaxed);
            launch.report.errno.store(errno, Ordering::Relaxed);
            launch.report.progress.store(progress, Ordering::Release);
        }
    }
}

fn prepare(launch: &Launch<'_>) -> Result<(), Failure> {
    if let Some(last) = launch.shared_up_to {
        // The first step of all: until it has worked, the table is the supervisor's.
        let above = (last as usize).wrapping_add(1);
        let flags = libc::CLOSE_RANGE_UNSHARE as usize;
        call(libc::SYS_close_range, [above, u32::MAX as usize, flags])
            .map_err(|errno| Failure { place: Place::Unshare, index: 0, errno })?;
    }
    for (index, path) in launch.joins.iter().enumerate() {
        write_to(path, b"0").map_err(|errno| Failure { place: Place::Join, index, errno })?;
    }
    if let Some((process, namespaces)) = launch.enters {
        child_namespaces::enter(process, namespaces).map_err(|errno| Failure {
            place: Place::Enter,
            index: 0,
            errno,
        })?;
    }
    let mut ruleset = None;
    for (index, step) in launch.program.steps.iter().enumerate() {
        let failed = |errno| Failure { place: Place::Step, index, errno };
        match step {
            Step::LandlockRules(rules) => {
                let made = child_privileges::make_ruleset(rules);
                ruleset = Some(made.map_err(|failure| match failure {
                    RuleFailure { rule: Some(index), errno } => {
                        Failure { place: Place::Rule, index, errno }
                    }
                    RuleFailure { rule: None, errno } => failed(errno),
                })?);
            }
            Step::LandlockRestrict => {
                let ruleset = ruleset.take().ok_or(libc::EBADF).map_err(failed)?;
                child_privileges::restrict_to(ruleset).map_err(failed)?;
            }
            Step::Mounts(layout) => mounting::child::perform(layout).map_err(|failure| {
                let place = if failure.at_target { Place::MountPoint } else { Place::Mount };
                Failure { place, index: failure.index, errno: failure.errno }
            })?,
            step => perform(launch, step).map_err(failed)?,
        }
    }
    Ok(())
}

fn perform(launch: &Launch<'_>, step: &Step) -> Result<(), i32> {
    match step {
        Step::NewSession => call(libc::SYS_setsid, [])?,
        Step::NewGroup => call(libc::SYS_setpgid, [0, 0])?,
        Step::Descriptors => {
            return child_descriptors::arrange(launch.streams, launch.status, launch.close_range);
        }
        Step::ControllingTerminal => call(libc::SYS_ioctl, [0, libc::TIOCSCTTY as usize, 0])?,
        Step::Foreground => return child_descriptors::take_foreground(),
        Step::Umask(mask) => call(libc::SYS_umask, [*mask as usize])?,
        Step::Scheduler => {
            let priority = 0_i32;
            let pointer = std::ptr::from_ref(&priority) as usize;
            call(libc::SYS_sched_setscheduler, [0, libc::SCHED_OTHER as usize, pointer])?
        }
        Step::Nice(nice) => {
            call(libc::SYS_setpriority, [libc::PRIO_PROCESS as usize, 0, *nice as usize])?
        }
        Step::OomScore(score) => return write_to(c"/proc/self/oom_score_adj", score),
        Step::Affinity(mask) => {
            call(libc::SYS_sched_setaffinity, [0, mask.len(), mask.as_ptr() as usize])?
        }
        Step::TimerSlack(slack) => prctl(libc::PR_SET_TIMERSLACK, *slack)?,
        Step::MemoryPolicy => call(libc::SYS_set_mempolicy, [libc::MPOL_DEFAULT as usize, 0, 0])?,
        Step::Keyring => return join_new_keyring(),
        Step::TaskDirectory(directory) => return task_directory::prepare(directory),
        Step::WorkDirectory(path) => call(libc::SYS_chdir, [path.as_ptr() as usize])?,
        Step::Securebits => match prctl(libc::PR_SET_SECUREBITS, 0) {
            // Locked, or not ours to change: they only ever take rights away.
            Err(libc::EPERM) => 0,
            answer => answer?,
        },
        Step::Ambient => prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize)?,
        Step::Limit(limit) => return set_limit(limit),
        Step::Groups(groups) => {
            call(libc::SYS_setgroups, [groups.len(), groups.as_ptr() as usize])?
        }
        Step::Group(gid) => {
            call(libc::SYS_setresgid, [*gid as usize, *gid as usize, *gid as usize])?
        }
        Step::Signals => return reset_signals(launch.reset_signals),
        Step::User(uid) => {
            call(libc::SYS_setresuid, [*uid as usize, *uid as usize, *uid as usize])?
        }
        Step::DeathSignal(signal) => return die_with_parent(launch, *signal),
        Step::DropFromBoundingSet(set) => return child_privileges::drop_from_bounding_set(*set),
        Step::KeepCapabilities => return child_privileges::keep_over_change_of_user(),
        Step::Capabilities(set) => return child_privileges::set(*set),
        Step::NoNewPrivileges => return child_privileges::set_no_new_privileges(),
        Step::Seccomp(filter) => {
            // The filter may forbid us to say it later.
            tell(launch, EXECUTING, 0, 0, 0);
            return child_privileges::load(filter);
        }
        Step::Unshare(namespace) => return child_namespaces::unshare(*namespace),
        Step::MapIds(maps) => return child_namespaces::map_ids(maps),
        Step::Hostname(name) => return child_namespaces::set_hostname(name),
        Step::Loopback => return child_namespaces::bring_loopback_up(),
        Step::JoinNetwork(path) => return child_namespaces::join_network(path),
        Step::InitSignals => return child_namespaces::set_signals_of_init(),
        // They pass a descriptor on, or report more: see `prepare`.
        Step::LandlockRules(_) | Step::LandlockRestrict | Step::Mounts(_) => {
            return Err(libc::EINVAL);
        }
    };
    Ok(())
}

fn prctl(option: i32, argument: usize) -> Answer {
    call(libc::SYS_prctl, [option as usize, argument, 0, 0, 0])
}

/// Opens, writes at once and closes.
pub(super) fn write_to(path: &CStr, bytes: &[u8]) -> Result<(), i32> {
    let flags = (libc::O_WRONLY | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as usize;
    let fd = call(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0])?;
    let written = call(libc::SYS_write, [fd, bytes.as_ptr() as usize, bytes.len()]);
    let _ = call(libc::SYS_close, [fd]);
    written.map(drop)
}

fn join_new_keyring() -> Result<(), i32> {
    match call(libc::SYS_keyctl, [libc::KEYCTL_JOIN_SESSION_KEYRING as usize, 0]) {
        // No keys in this kernel, forbidden (containers), or the user's quota of keys is used up.
        Ok(_) | Err(libc::ENOSYS | libc::EPERM | libc::EDQUOT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn set_limit(limit: &Limit) -> Result<(), i32> {
    let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    let pointer = std::ptr::from_ref(&value) as usize;
    call(libc::SYS_prlimit64, [0, limit.resource as usize, pointer, 0]).map(drop)
}

/// Handlers and ignored signals go before the mask: one of the supervisor's handlers must not run
/// in the child.
fn reset_signals(mask: u64) -> Result<(), i32> {
    // A struct sigaction of all zeros, on any architecture: SIG_DFL, no flags, empty mask.
    let default = [0_u64; 4];
    for number in 1..=64 {
        let selected = mask >> (number - 1) & 1 == 1;
        if selected && number != libc::SIGKILL && number != libc::SIGSTOP {
            let pointer = default.as_ptr() as usize;
            call(libc::SYS_rt_sigaction, [number as usize, pointer, 0, 8])?;
        }
    }
    let none = 0_u64;
    let pointer = std::ptr::from_ref(&none) as usize;
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, pointer, 0, 8]).map(drop)
}

fn die_with_parent(launch: &Launch<'_>, signal: i32) -> Result<(), i32> {
    prctl(libc::PR_SET_PDEATHSIG, signal as usize)?;
    // It may have died before the request: then nobody is left to be told.
    let has_died = match (call(libc::SYS_getppid, [])?, launch.status) {
        // Outside of our pid namespace it has no number, but it reads the pipe.
        (0, Some(pipe)) => nobody_reads(pipe)?,
        (parent, _) => parent != launch.parent as usize,
    };
    if has_died {
        exit();
    }
    Ok(())
}

/// Whether the other end of a pipe is closed.
fn nobody_reads(pipe: i32) -> Result<bool, i32> {
    let mut look = libc::pollfd { fd: pipe, events: 0, revents: 0 };
    let at_once = [0_u64; 2];
    let (look_at, wait) = (std::ptr::from_mut(&mut look) as usize, at_once.as_ptr() as usize);
    call(libc::SYS_ppoll, [look_at, 1, wait, 0, 0])?;
    Ok(look.revents & libc::POLLERR != 0)
}

/// Tries the candidates. Returns only if none could be executed.
fn execute(launch: &Launch<'_>) -> Failure {
    tell(launch, EXECUTING, 0, 0, 0);
    let program = launch.program;
    if program.target == Target::Init {
        return Failure { place: Place::Exec, index: 0, errno: exec_init(program) };
    }
    let mut last = libc::ENOENT;
    for (index, candidate) in program.candidates.iter().enumerate() {
        last = try_exec(program, candidate);
        if !matches!(last, libc::ENOENT | libc::ENOTDIR | libc::EACCES) {
            return Failure { place: Place::Exec, index, errno: last };
        }
    }
    match program.candidates.len() {
        1 => why_none(program, last),
        _ => why_none(program, libc::ENOENT),
    }
}

fn try_exec(program: &Program, path: &CStr) -> i32 {
    let arguments = program.arguments.pointers();
    if let Some(first) = arguments.first() {
        first.store(path.as_ptr().cast_mut(), Ordering::Relaxed);
    }
    let (argv, envp) = (arguments.as_ptr(), program.environment.pointers().as_ptr());
    match call(libc::SYS_execve, [path.as_ptr() as usize, argv as usize, envp as usize]) {
        Err(errno) => errno,
        Ok(_) => libc::EIO,
    }
}

fn exec_init(program: &Program) -> i32 {
    let (argv, envp) =
        (program.arguments.pointers().as_ptr(), program.environment.pointers().as_ptr());
    let flags = libc::AT_EMPTY_PATH as usize;
    let arguments = [0, c"".as_ptr() as usize, argv as usize, envp as usize, flags];
    match call(libc::SYS_execveat, arguments) {
        Err(errno) => errno,
        Ok(_) => libc::EIO,
    }
}

/// Tells a missing file from one that cannot be executed, as the task's user sees them.
fn why_none(program: &Program, errno: i32) -> Failure {
    let (mut directory, mut unsearchable) = (None, None);
    for (index, candidate) in program.candidates.iter().enumerate() {
        match access(candidate, libc::F_OK) {
            Ok(_) if is_directory(candidate) => directory = directory.or(Some(index)),
            Ok(_) => {
                // It is there, so it is asked once more, for its own reason.
                let errno = try_exec(program, candidate);
                let denied = errno == libc::EACCES && access(candidate, libc::X_OK).is_err();
                let place = if denied { Place::NotExecutable } else { Place::Exec };
                return Failure { place, index, errno };
            }
            Err(libc::EACCES) => unsearchable = unsearchable.or(Some(index)),
            Err(_) => {}
        }
    }
    if let Some(index) = directory {
        return Failure { place: Place::IsDirectory, index, errno: libc::EACCES };
    }
    match unsearchable {
        Some(index) if program.candidates.len() == 1 => {
            Failure { place: Place::Unsearchable, index, errno: libc::EACCES }
        }
        _ => Failure { place: Place::Lookup, index: 0, errno },
    }
}

fn access(path: &CStr, mode: i32) -> Answer {
    let at = libc::AT_FDCWD as usize;
    call(libc::SYS_faccessat, [at, path.as_ptr() as usize, mode as usize])
}

fn is_directory(path: &CStr) -> bool {
    let flags = (libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as usize;
    match call(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0]) {
        Ok(fd) => {
            let _ = call(libc::SYS_close, [fd]);
            true
        }
        Err(_) => false,
    }
}
