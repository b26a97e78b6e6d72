//! What one process uses, from /proc and from its clock.

use super::faults;
use super::processes::Family;
use super::reader::{At, Reader};
use crate::vocabulary::Pid;
use nix::errno::Errno;
use nix::sys::sysinfo::sysinfo;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use std::sync::OnceLock;

/// What /proc/PID/stat says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProcessStat {
    pub(crate) family: Family,
    /// Microseconds in user mode, in steps of a clock tick (10 ms).
    pub(crate) user_us: u64,
    /// The same in the kernel.
    pub(crate) system_us: u64,
    /// Of the processes that it has reaped, and of those that they had reaped.
    pub(crate) reaped_user_us: u64,
    /// The same in the kernel.
    pub(crate) reaped_system_us: u64,
    pub(crate) threads: u64,
    /// When it began, in ticks since the boot: with its number it names the process.
    pub(crate) began: u64,
}

/// Resident anonymous memory and swap.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProcessMemory {
    pub(crate) rss_bytes: u64,
    pub(crate) swap_bytes: u64,
    pub(crate) threads: u64,
}

/// Bytes that moved between a process and storage.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProcessIo {
    pub(crate) read_bytes: u64,
    pub(crate) write_bytes: u64,
}

impl Reader {
    /// Times, threads and family of a process.
    ///
    /// # Errors
    /// ENOENT or ESRCH where it is not there any more.
    pub(crate) fn process_stat(&mut self, pid: Pid) -> Result<ProcessStat, Errno> {
        parse_stat(self.read(At::Root, format_args!("/proc/{pid}/stat"))?).ok_or(Errno::EPROTO)
    }

    /// Memory and threads of a process. A process that has ended and was not reaped has none.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn process_memory(&mut self, pid: Pid) -> Result<ProcessMemory, Errno> {
        Ok(parse_status(self.read(At::Root, format_args!("/proc/{pid}/status"))?))
    }

    /// The same where the threads are known and nothing is in swap, for less than half of the time.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn process_resident(
        &mut self,
        pid: Pid,
        threads: u64,
    ) -> Result<ProcessMemory, Errno> {
        let statm = self.read(At::Root, format_args!("/proc/{pid}/statm"))?;
        let rss_bytes = parse_statm(statm).ok_or(Errno::EPROTO)?;
        Ok(ProcessMemory { rss_bytes, swap_bytes: 0, threads })
    }

    /// Bytes that a process, and those that it has reaped, have moved.
    ///
    /// # Errors
    /// EACCES where it is another user's and we are not allowed to trace it.
    pub(crate) fn process_io(&mut self, pid: Pid) -> Result<ProcessIo, Errno> {
        parse_io(self.read(At::Root, format_args!("/proc/{pid}/io"))?).ok_or(Errno::EPROTO)
    }
}

/// Processor time of a process, all its threads and no other process, in nanoseconds. It costs a
/// twentieth of /proc/PID/stat, and moves whenever the process runs.
pub(crate) fn cpu_clock(pid: Pid) -> Option<u64> {
    faults::check("clock_gettime(process)").ok()?;
    // As clock_getcpuclockid(3) makes it, without its check: the scheduler's clock (2) of a
    // process. A number whose bits do not fit beside it would name another one.
    let shifted = (!pid.number()).checked_mul(8)?;
    let clock = ClockId::from_raw(shifted | 2);
    let time = clock_gettime(clock).ok()?;
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).ok()?)
}

/// The command name in the second field may hold anything, so the fields are counted behind the
/// last parenthesis (proc_pid_stat(5)).
pub(super) fn parse_stat(stat: &[u8]) -> Option<ProcessStat> {
    let family = super::processes::parse_stat(stat)?;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    // Field 14 follows eleven others behind the name.
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut number = || fields.next()?.parse::<u64>().ok();
    let [user, system, reaped_user, reaped_system] = [number()?, number()?, number()?, number()?];
    let threads = fields.nth(2)?.parse().ok()?;
    let began = fields.nth(1)?.parse().ok()?;
    Some(ProcessStat {
        family,
        user_us: micros(user),
        system_us: micros(system),
        reaped_user_us: micros(reaped_user),
        reaped_system_us: micros(reaped_system),
        threads,
        began,
    })
}

/// Whether something may be in swap.
pub(crate) fn swap_is_on() -> bool {
    faults::check("sysinfo").and_then(|()| sysinfo()).map_or(true, |info| info.swap_total() > 0)
}

/// Whether the kernel counts what processes read and write (CONFIG_TASK_IO_ACCOUNTING).
pub(crate) fn io_is_told() -> bool {
    static TOLD: OnceLock<bool> = OnceLock::new();
    *TOLD.get_or_init(|| std::fs::exists("/proc/self/io").unwrap_or(true))
}

/// Clock ticks of /proc in microseconds.
pub(crate) fn micros(ticks: u64) -> u64 {
    static PER_SECOND: OnceLock<u64> = OnceLock::new();
    let per_second = *PER_SECOND.get_or_init(|| configured(SysconfVar::CLK_TCK).unwrap_or(100));
    ticks.saturating_mul(1_000_000) / per_second
}

pub(super) fn parse_status(status: &[u8]) -> ProcessMemory {
    let kilobytes = |name: &[u8]| number_behind(status, name).unwrap_or(0).saturating_mul(1024);
    ProcessMemory {
        rss_bytes: kilobytes(b"RssAnon:"),
        swap_bytes: kilobytes(b"VmSwap:"),
        threads: number_behind(status, b"Threads:").unwrap_or(0),
    }
}

/// Anonymous memory: what is resident but for pages of files and shared memory.
pub(super) fn parse_statm(statm: &[u8]) -> Option<u64> {
    let mut fields = std::str::from_utf8(statm).ok()?.split_ascii_whitespace().skip(1);
    let mut pages = || fields.next()?.parse::<u64>().ok();
    let (resident, shared) = (pages()?, pages()?);
    Some(resident.saturating_sub(shared).saturating_mul(page_bytes()))
}

fn page_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| configured(SysconfVar::PAGE_SIZE).unwrap_or(4096))
}

fn configured(variable: SysconfVar) -> Option<u64> {
    let found = sysconf(variable).ok().flatten();
    found.and_then(|value| u64::try_from(value).ok()).filter(|&value| value > 0)
}

pub(super) fn parse_io(io: &[u8]) -> Option<ProcessIo> {
    let read_bytes = number_behind(io, b"read_bytes:")?;
    Some(ProcessIo { read_bytes, write_bytes: number_behind(io, b"write_bytes:")? })
}

/// The number behind a name at the beginning of a line.
pub(crate) fn number_behind(text: &[u8], name: &[u8]) -> Option<u64> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    number(rest.trim_ascii_start())
}

/// The decimal number at the beginning of a text.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    std::str::from_utf8(text.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_command_is_called() {
        let stat = b"7 (a) R \xff 3) S 5 6 7 34816 7 4194304 1 2 3 4 100 200 300 400 20 0 9 0 555 \
                     1 2 3";
        let found = parse_stat(stat).unwrap();
        assert_eq!((found.family.parent, found.family.group, found.family.session), (5, 6, 7));
        assert_eq!((found.user_us, found.system_us), (1_000_000, 2_000_000));
        assert_eq!((found.reaped_user_us, found.reaped_system_us), (3_000_000, 4_000_000));
        assert_eq!((found.threads, found.began), (9, 555));
        for torn in [&b""[..], b"7 (x", b"7 (x) S 5 6 7 34816 7 4194304 1 2 3 4 100 200 300 400"] {
            assert_eq!(parse_stat(torn), None);
        }
    }

    #[test]
    fn a_status_without_memory_is_that_of_a_dead_process() {
        let status = b"Name:\tRssAnon: 5\nRssAnon:\t     128 kB\nVmSwap:\t 4 kB\nThreads:\t3\n";
        let memory = ProcessMemory { rss_bytes: 131_072, swap_bytes: 4096, threads: 3 };
        assert_eq!(parse_status(status), memory);
        assert_eq!(parse_status(b"Name:\tx\nThreads:\t1\n").rss_bytes, 0);
    }

    #[test]
    fn what_is_resident_and_not_shared_is_anonymous() {
        assert_eq!(parse_statm(b"1000 50 20 1 0 30 0\n"), Some(30 * page_bytes()));
        assert_eq!(parse_statm(b"0 0 0 0 0 0 0\n"), Some(0));
        assert_eq!(parse_statm(b"1000 50\n"), None);
    }

    #[test]
    fn bytes_of_storage_are_not_those_of_system_calls() {
        let io = b"rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\n\
                   cancelled_write_bytes: 3\n";
        assert_eq!(parse_io(io), Some(ProcessIo { read_bytes: 4096, write_bytes: 8192 }));
        assert_eq!(parse_io(b"rchar: 1\n"), None);
    }

    #[test]
    fn our_own_figures_are_those_that_the_system_tells() {
        let own = Pid::new(std::process::id() as i32).unwrap();
        let mut reader = Reader::default();
        let stat = reader.process_stat(own).unwrap();
        assert_eq!(stat.family.parent, nix::unistd::getppid().as_raw());
        let memory = reader.process_memory(own).unwrap();
        assert!(memory.rss_bytes > 0 && memory.threads >= 1);
        let resident = reader.process_resident(own, memory.threads).unwrap();
        assert!(resident.rss_bytes.abs_diff(memory.rss_bytes) < 16 << 20, "{resident:?}");
        let before = cpu_clock(own).unwrap();
        let begun = std::time::Instant::now();
        while cpu_clock(own) <= Some(before) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "it stands still");
        }
        let micros = super::super::own_process::cpu_us();
        let clock = cpu_clock(own).unwrap() / 1000;
        assert!(clock.abs_diff(micros) < 500_000, "{clock} is not {micros}");
        assert_eq!(cpu_clock(Pid::new(i32::MAX).unwrap()), None);
    }
}
