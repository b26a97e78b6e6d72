//! What the supervisor does to, and knows of, its own process.

use super::faults;
use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use std::os::fd::{AsRawFd, BorrowedFd};
#[cfg(feature = "cli")]
use std::path::Path;

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

/// Gives back memory that only the start of a long-lived process has needed: what the allocator
/// holds free, and the pages of our own code, of which those that are used come back from the
/// page cache one by one. Failing costs nothing but memory.
#[cfg(feature = "cli")]
pub(crate) fn give_back_memory_of_start() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; the allocator gives free pages back to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
    let Ok(own) = std::fs::read_link("/proc/self/exe") else { return };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in maps.lines().filter_map(|line| code_of(line, &own)) {
        // SAFETY: this is a whole private mapping of a file that nobody can have written to, since
        // it is executable and not writable, nor relocated: what is dropped is read again.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// Where a mapping begins and ends, if it is code of this program (proc_pid_maps(5)).
#[cfg(feature = "cli")]
fn code_of(line: &str, program: &Path) -> Option<(usize, usize)> {
    let mut fields = line.splitn(6, ' ');
    let (range, permissions) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?.trim_start();
    if permissions != "r-xp" || Path::new(path) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    Some((number(start)?, number(end)?)).filter(|(start, end)| start < end)
}

/// The id of the running system's boot.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
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

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn code_of_the_program_is_found_among_mappings() {
        let own = Path::new("/usr/bin/a b");
        let of = |line| code_of(line, own);
        assert_eq!(of("1000-3000 r-xp 00001000 08:01 42   /usr/bin/a b"), Some((0x1000, 0x3000)));
        for other in [
            "1000-3000 r--p 00001000 08:01 42   /usr/bin/a b",
            "1000-3000 rwxp 00001000 08:01 42   /usr/bin/a b",
            "1000-3000 r-xp 00001000 08:01 42   /usr/bin/a",
            "1000-3000 r-xp 00001000 08:01 42   /usr/bin/a b (deleted)",
            "3000-1000 r-xp 00001000 08:01 42   /usr/bin/a b",
            "7ffc306cc000-7ffc306ce000 r-xp 00000000 00:00 0 [vdso]",
            "1000 r-xp",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_program_goes_on_without_the_memory_of_its_start() {
        let before: Vec<u32> = (0..100_000).collect();
        give_back_memory_of_start();
        assert_eq!(before.iter().map(|&number| u64::from(number)).sum::<u64>(), 4_999_950_000);
    }
}
