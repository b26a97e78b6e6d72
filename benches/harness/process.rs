//! What this process costs, and what it may have.

use super::Outcome;
use nix::libc;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use std::os::fd::{AsFd, AsRawFd};

/// Proportional set size in bytes: memory shared with other processes counts in parts.
pub(crate) fn pss_bytes() -> Outcome<f64> {
    pss_bytes_of(std::process::id())
}

/// The same of another process.
pub(crate) fn pss_bytes_of(pid: u32) -> Outcome<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(field(&text, "Pss:").ok_or("no Pss in smaps_rollup")? * 1024.0)
}

/// Bytes that the allocator has handed out and not got back; not a number where the allocator
/// cannot tell.
pub(crate) fn heap_bytes() -> f64 {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: reads the allocator's counters into a struct of plain numbers.
        let info = unsafe { libc::mallinfo2() };
        (info.uordblks + info.hblkhd) as f64
    }
    #[cfg(not(target_env = "gnu"))]
    f64::NAN
}

/// Times that this process went to sleep of its own.
pub(crate) fn voluntary_switches() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    Ok(field(&text, "voluntary_ctxt_switches:").ok_or("no voluntary_ctxt_switches in status")?)
}

/// Threads of this process.
pub(crate) fn threads() -> Outcome<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    Ok(field(&text, "Threads:").ok_or("no Threads in status")?)
}

fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system seconds of this process.
pub(crate) fn cpu_seconds() -> Outcome<f64> {
    seconds_of(UsageWho::RUSAGE_SELF)
}

/// The same of this process and of its children that were reaped.
pub(crate) fn cpu_seconds_with_children() -> Outcome<f64> {
    Ok(cpu_seconds()? + seconds_of(UsageWho::RUSAGE_CHILDREN)?)
}

fn seconds_of(who: UsageWho) -> Outcome<f64> {
    let usage = getrusage(who)?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = user.tv_usec() + system.tv_usec();
    Ok((user.tv_sec() + system.tv_sec()) as f64 + micros as f64 / 1e6)
}

/// Raises the limit of descriptors as far as it goes, and says how far that is.
pub(crate) fn raise_descriptor_limit() -> Outcome<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Moves at most `bytes` from one descriptor to the other, one of them a pipe; 0: end of file.
pub(crate) fn splice(from: &impl AsFd, to: &impl AsFd, bytes: usize) -> Outcome<usize> {
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let none = std::ptr::null_mut;
    // SAFETY: both descriptors are borrowed for the call, and null offsets are allowed.
    let moved = unsafe { libc::splice(from, none(), to, none(), bytes, 0) };
    Ok(nix::errno::Errno::result(moved)? as usize)
}
