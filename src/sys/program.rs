//! What a child does between clone and exec, as data: everything is laid out before the clone, the
//! child only walks over it.

use super::landlock;
use super::mounting;
use super::namespaces::Namespaces;
use crate::vocabulary::CapabilitySet;
use nix::libc::c_char;
use std::ffi::CString;
use std::sync::atomic::AtomicPtr;

/// One thing that the child does. Those of a program are done in order; the first that fails is
/// reported by its place.
#[derive(Debug)]
pub(super) enum Step {
    /// setsid(2).
    NewSession,
    /// A process group of its own in the supervisor's session.
    NewGroup,
    /// The three streams come to 0, 1 and 2, every other descriptor is closed.
    Descriptors,
    /// The terminal on descriptor 0 becomes the controlling one of its session, with its process
    /// group in the foreground (tty_ioctl(4), TIOCSCTTY).
    ControllingTerminal,
    /// Its process group becomes the foreground group of the terminal on descriptor 0.
    Foreground,
    /// umask(2).
    Umask(u32),
    /// SCHED_OTHER.
    Scheduler,
    /// setpriority(2).
    Nice(i32),
    /// The text that goes into /proc/self/oom_score_adj.
    OomScore(Box<[u8]>),
    /// The mask of sched_setaffinity(2).
    Affinity(Box<[u8]>),
    /// Nanoseconds.
    TimerSlack(usize),
    /// set_mempolicy(2) with MPOL_DEFAULT.
    MemoryPolicy,
    /// A session keyring of its own (keyctl(2)): the supervisor's keys are not the task's.
    Keyring,
    /// The task directory is there, and the command in it is executable.
    TaskDirectory(TaskDirectory),
    /// chdir(2), as the supervisor: runc and Nomad's executor do it so, and the change of user has
    /// to be the last call before the exec.
    WorkDirectory(CString),
    /// prctl(2) with PR_SET_SECUREBITS 0, where the kernel lets us.
    Securebits,
    /// The ambient set of capabilities becomes empty.
    Ambient,
    /// prlimit(2).
    Limit(Limit),
    /// setgroups(2).
    Groups(Box<[u32]>),
    /// setresgid(2).
    Group(u32),
    /// Every signal at its default action and unblocked.
    Signals,
    /// setresuid(2). From here on the task's user may stop the child, and the supervisor with it
    /// where that waits in vfork: nothing that takes time may follow.
    User(u32),
    /// This signal when the supervisor dies; a change of user would clear it. Where it has died
    /// already, the child ends.
    DeathSignal(i32),
    /// prctl(2) with PR_CAPBSET_DROP for each of these. It takes CAP_SETPCAP: before the change of
    /// user.
    DropFromBoundingSet(CapabilitySet),
    /// prctl(2) with PR_SET_KEEPCAPS: the change of user leaves what is permitted.
    KeepCapabilities,
    /// The whole of the permitted, inheritable and ambient sets.
    Capabilities(CapabilitySet),
    /// prctl(2) with PR_SET_NO_NEW_PRIVS.
    NoNewPrivileges,
    /// Paths are looked up, as the supervisor; nothing is forbidden yet.
    LandlockRules(Box<[landlock::Rule]>),
    /// The rules are in force.
    LandlockRestrict,
    /// A filter is in force. What follows it has to be allowed by it, loading another one too.
    Seccomp(Filter),
    /// One new namespace. Those of the files and mounts come after this.
    Unshare(Namespaces),
    /// Who is who in the user namespace just made.
    MapIds(IdMaps),
    /// sethostname(2).
    Hostname(Box<[u8]>),
    /// The loopback interface of the network just made comes up.
    Loopback,
    /// The network namespace that this path names is entered.
    JoinNetwork(CString),
    /// A root, mounts and devices, in a mount namespace of its own: paths of the host end here.
    Mounts(mounting::Layout),
    /// SIGCHLD is ignored, and the signal to leave is blocked: see `init`.
    InitSignals,
}

/// What is written into the map files of a user namespace.
#[derive(Debug)]
pub(super) struct IdMaps {
    pub(super) users: Box<[u8]>,
    pub(super) groups: Box<[u8]>,
}

/// A filter of system calls.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) instructions: Box<[Instruction]>,
    /// SECCOMP_FILTER_FLAG_*.
    pub(super) flags: u32,
}

/// `struct sock_filter`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(C)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jump_true: u8,
    pub(super) jump_false: u8,
    pub(super) operand: u32,
}

/// A resource limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Limit {
    /// RLIMIT_*.
    pub(super) resource: u32,
    /// As the task names it.
    pub(super) name: String,
    pub(super) soft: u64,
    pub(super) hard: u64,
}

/// Where a command is made executable.
#[derive(Debug)]
pub(super) struct TaskDirectory {
    pub(super) path: CString,
    /// Where in it the command may be, in the order of the search.
    pub(super) commands: Vec<CString>,
    /// The task's user.
    pub(super) user: u32,
    /// The supervisor's user.
    pub(super) own_user: u32,
}

/// Strings as execve(2) takes them: pointers with a null at the end, and what they point to.
#[derive(Debug)]
pub(super) struct Strings {
    #[expect(dead_code, reason = "what the pointers point to")]
    owned: Vec<CString>,
    /// The first one of the arguments is set by the child, to the path that it tries.
    pointers: Vec<AtomicPtr<c_char>>,
}

impl Strings {
    pub(super) fn new(owned: Vec<CString>) -> Strings {
        let pointers = owned
            .iter()
            .map(|text| AtomicPtr::new(text.as_ptr().cast_mut()))
            .chain(std::iter::once(AtomicPtr::new(std::ptr::null_mut())))
            .collect();
        Strings { owned, pointers }
    }

    pub(super) fn pointers(&self) -> &[AtomicPtr<c_char>] {
        &self.pointers
    }
}

/// What a child becomes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The first candidate that there is.
    Command,
    /// The init, whose program is on descriptor 0.
    Init,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    /// What is executed in the end.
    pub(super) target: Target,
    /// Paths that are tried in turn. Empty for the init alone.
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: Strings,
    pub(super) environment: Strings,
    /// Bit n-1: signal n was found ignored.
    pub(super) ignored_signals: u64,
    /// For the texts of errors.
    pub(super) named: Named,
}

/// What the texts of errors name.
#[derive(Debug)]
pub(super) struct Named {
    /// As the task has it.
    pub(super) command: String,
    /// Where it was looked for, as in `not in PATH=/bin of the task's env`.
    pub(super) searched: String,
    /// As the task has it.
    pub(super) user: Option<String>,
    /// The supervisor's.
    pub(super) own_uid: u32,
    /// As the task has it: where paths are looked up.
    pub(super) root: Option<String>,
    /// The task has a memory limit, or a small stack.
    pub(super) memory_is_limited: bool,
}

impl Program {
    /// Whether the child asks for a signal at our end.
    pub(super) fn dies_with_us(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::DeathSignal(_)))
    }
}

impl Named {
    /// As whom the task runs.
    pub(super) fn user(&self) -> String {
        self.user.clone().unwrap_or_else(|| format!("with uid {}", self.own_uid))
    }
}
