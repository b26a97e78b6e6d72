//! What the supervisor's own process has that a task must not inherit by accident.

use super::faults;
use super::namespaces::{self, Right};
use super::raw::{self, call};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Found once, when the spawner is made.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) clone3: bool,
    pub(super) close_range: bool,
    /// Soft and hard limit of descriptors before we raised our own; absent where we did not.
    pub(super) nofile_before: Option<(u64, u64)>,
    pub(super) oom_score_adj: i32,
    pub(super) nice: i32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) can_change_user: bool,
    /// How it may make namespaces.
    pub(super) right_to_namespaces: Right,
    /// A process that changes its user stays open to that user's debugger
    /// (/proc/sys/fs/suid_dumpable): its memory must not be ours.
    pub(super) user_change_is_open: bool,
    /// What a process of our own ignores; the host of a guest may change that at any time.
    ignored_signals: Option<u64>,
    pub(super) unusual: Unusual,
}

/// What differs from the default of the system.
#[derive(Debug, Default)]
pub(super) struct Unusual {
    pub(super) scheduler: bool,
    pub(super) timer_slack: bool,
    pub(super) memory_policy: bool,
    pub(super) securebits: bool,
    pub(super) ambient: bool,
    /// The mask of pid 1, where ours lacks CPUs of it: no call tells a default.
    pub(super) affinity: Option<Box<[u8]>>,
}

/// Nanoseconds; what the first process of the system starts with.
pub(super) const TIMER_SLACK_DEFAULT: usize = 50_000;

impl Host {
    /// With `own_process` the process is ours alone, and its soft limit of descriptors is raised.
    pub(super) fn find(own_process: bool) -> io::Result<Host> {
        // Neither does anything: an empty struct is refused, there is no such descriptor.
        let clone3 = call(libc::SYS_clone3, [0, 0]) == Err(libc::EINVAL);
        let last = u32::MAX as usize;
        let close_range = call(libc::SYS_close_range, [last, last, 0]).is_ok();
        let nofile_before = if own_process { raise_nofile()? } else { None };
        Ok(Host {
            clone3,
            close_range,
            nofile_before,
            oom_score_adj: number_in("/proc/self/oom_score_adj").unwrap_or(0),
            nice: nice(),
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            can_change_user: can_change_user(),
            right_to_namespaces: namespaces::own_right()
                .map_err(|error| io::Error::from_raw_os_error(error.errno))?,
            user_change_is_open: number_in("/proc/sys/fs/suid_dumpable") == Some(1),
            ignored_signals: own_process.then(ignored_signals),
            unusual: Unusual::find(),
        })
    }

    /// Bit n-1: signal n is ignored here. A child would go on ignoring it.
    pub(super) fn ignored_signals(&self) -> u64 {
        self.ignored_signals.unwrap_or_else(ignored_signals)
    }

    /// Whether who makes namespaces has to make a user namespace first.
    pub(super) fn needs_user_namespace(&self) -> bool {
        self.right_to_namespaces == Right::ByUserNamespace
    }

    /// Whether a child may share our memory and descriptors here.
    pub(super) fn can_share(&self) -> bool {
        raw::CAN_SHARE && self.clone3 && self.close_range
    }
}

impl Unusual {
    fn find() -> Unusual {
        let policy = call(libc::SYS_sched_getscheduler, [0]).unwrap_or(0);
        let slack = prctl(libc::PR_GET_TIMERSLACK, [0, 0]).unwrap_or(TIMER_SLACK_DEFAULT);
        let mut memory_policy = libc::MPOL_DEFAULT;
        let pointer = std::ptr::from_mut(&mut memory_policy) as usize;
        let policy_is_known = call(libc::SYS_get_mempolicy, [pointer, 0, 0, 0, 0]).is_ok();
        let is_set = libc::PR_CAP_AMBIENT_IS_SET as usize;
        Unusual {
            scheduler: policy & !(libc::SCHED_RESET_ON_FORK as usize) != libc::SCHED_OTHER as usize,
            timer_slack: slack != TIMER_SLACK_DEFAULT,
            memory_policy: policy_is_known && memory_policy != libc::MPOL_DEFAULT,
            securebits: prctl(libc::PR_GET_SECUREBITS, [0, 0]).unwrap_or(0) != 0,
            ambient: (0..64).any(|cap| prctl(libc::PR_CAP_AMBIENT, [is_set, cap]) == Ok(1)),
            affinity: affinity(1).filter(|first| !affinity(0).is_some_and(|own| has(&own, first))),
        }
    }
}

fn prctl(option: i32, [a, b]: [usize; 2]) -> raw::Answer {
    call(libc::SYS_prctl, [option as usize, a, b, 0, 0])
}

fn number_in(path: &str) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn nice() -> i32 {
    // The kernel answers 40 to 1 for -20 to 19.
    match call(libc::SYS_getpriority, [libc::PRIO_PROCESS as usize, 0]) {
        Ok(answer) => 20 - answer as i32,
        Err(_) => 0,
    }
}

/// The CPUs that a process may run on.
fn affinity(pid: usize) -> Option<Box<[u8]>> {
    // 65,536 CPUs.
    let mut mask = vec![0_u8; 8 << 10];
    let pointer = mask.as_mut_ptr() as usize;
    let length = call(libc::SYS_sched_getaffinity, [pid, mask.len(), pointer]).ok()?;
    mask.truncate(length);
    Some(mask.into_boxed_slice())
}

/// Whether every CPU of `part` is in `whole`.
fn has(whole: &[u8], part: &[u8]) -> bool {
    let whole = whole.iter().copied().chain(std::iter::repeat(0));
    part.iter().zip(whole).all(|(part, whole)| part & !whole == 0)
}

/// Whether CAP_SETUID and CAP_SETGID are in force (capget(2)).
fn can_change_user() -> bool {
    const CAP_SETGID: u32 = 6;
    const CAP_SETUID: u32 = 7;
    // Version 3: header {version, pid}, data of two times {effective, permitted, inheritable}.
    let header = [0x2008_0522_u32, 0];
    let mut data = [0_u32; 6];
    let (header, pointer) = (header.as_ptr() as usize, data.as_mut_ptr() as usize);
    let wanted = 1 << CAP_SETUID | 1 << CAP_SETGID;
    call(libc::SYS_capget, [header, pointer]).is_ok() && data[0] & wanted == wanted
}

/// Raises our own soft limit of descriptors to the hard one; says what they were, if it had to.
fn raise_nofile() -> io::Result<Option<(u64, u64)>> {
    faults::check("getrlimit")?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        faults::check("setrlimit")?;
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok((soft < hard).then_some((soft, hard)))
}

fn ignored_signals() -> u64 {
    let mut ignored = 0;
    for number in 1..=64 {
        // struct sigaction of the kernel begins with the handler on every 64-bit machine.
        let mut action = [0_usize; 4];
        let pointer = action.as_mut_ptr() as usize;
        if call(libc::SYS_rt_sigaction, [number, 0, pointer, 8]).is_ok()
            && action[0] == libc::SIG_IGN
        {
            ignored |= 1 << (number - 1);
        }
    }
    ignored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_those_of_proc() {
        let host = Host::find(false).unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        let hex = |name: &str| u64::from_str_radix(&field(name), 16).unwrap();
        assert_eq!(host.uid.to_string(), field("Uid:"));
        assert_eq!(host.can_change_user, hex("CapEff:") >> 6 & 3 == 3);
        assert_eq!(host.unusual.ambient, hex("CapAmb:") != 0);
        assert_eq!(ignored_signals(), hex("SigIgn:"));
        assert_ne!(ignored_signals() & 1 << (libc::SIGPIPE - 1), 0, "the runtime ignores it");
        assert_eq!(host.nofile_before, None);
    }
}
