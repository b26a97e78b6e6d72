//! What the supervisor does to, and knows of, its own process.

use super::faults;
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Orphans of our children become our children (PR_SET_CHILD_SUBREAPER, Linux 3.4).
pub(crate) fn become_subreaper() -> Result<(), Errno> {
    faults::check("prctl(PR_SET_CHILD_SUBREAPER)")?;
    nix::sys::prctl::set_child_subreaper(true)
}

/// How many descriptors this process may have.
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// The lowest number that no descriptor has; `None` where no descriptor can be had. `any` is an
/// open one.
pub(crate) fn first_free_descriptor(any: BorrowedFd<'_>) -> Option<u64> {
    faults::check("fcntl(F_DUPFD)").ok()?;
    let duplicate = any.try_clone_to_owned().ok()?;
    u64::try_from(duplicate.as_raw_fd()).ok()
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> u64 {
    // Linux 6.2 tells without a list, which takes 10 ms for 10,000 of them.
    if let Ok(directory) = std::fs::metadata("/proc/self/fd")
        && directory.len() > 0
    {
        return directory.len();
    }
    std::fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as u64).saturating_sub(1)
}

/// User and system time of this process in microseconds.
pub(crate) fn cpu_us() -> u64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
        let (user, system) = (usage.user_time(), usage.system_time());
        let micros =
            (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
        u64::try_from(micros).unwrap_or(0)
    })
}

/// Resident bytes and threads of this process; 0 where /proc cannot be read.
pub(crate) fn memory_and_threads() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let number = |field: &str| -> u64 {
        status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.split_whitespace().next())
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    (number("VmRSS:") * 1024, number("Threads:"))
}

/// Gives what the allocator holds free back to the kernel, where the allocator can do that.
#[cfg(feature = "cli")]
pub(crate) fn give_back_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and touches nothing that was handed out.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The id of the running system's boot; empty where there is no /proc.
///
/// # Errors
/// It cannot be read now, which says nothing of it.
pub(crate) fn boot_id() -> io::Result<String> {
    faults::check("open(boot_id)")?;
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// Release of the running kernel.
pub(crate) fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Whether the running kernel is of this version or a later one.
pub(crate) fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = kernel_release();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Random bytes for what must not repeat; falls back on pid and time on ancient kernels.
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0_u8; 8];
    // SAFETY: the buffer is ours and as long as it is said to be.
    let got =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    if got == bytes.len() as isize {
        return u64::from_ne_bytes(bytes);
    }
    super::clock::now().wall.as_micros() ^ (u64::from(std::process::id()) << 40)
}
