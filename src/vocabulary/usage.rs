//! What tasks use: processor, memory, I/O, processes.

use super::id::Pid;
use super::identity::Identity;
use super::time::Wall;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the processes of a task use, or one of them. An absent figure was not measured; 0 is a
/// measured zero.
///
/// Each figure comes from the counters of the task's cgroup where its controller counts there, else
/// from /proc, summed over the processes that live. Totals are those since the start of the run and
/// never fall.
///
/// ```
/// let usage = ostler::Usage::default();
/// assert_eq!(usage.memory_rss_bytes, None);
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time in user mode, microseconds. A group counts all its processes; /proc those
    /// that live and what living ones have reaped.
    pub cpu_user_us: Option<u64>,
    /// Processor time in the kernel, microseconds.
    pub cpu_system_us: Option<u64>,
    /// Over the last sampling interval; 100 is one full core. Absent in the first sample.
    pub cpu_percent: Option<f64>,
    /// Its part in user mode.
    pub cpu_user_percent: Option<f64>,
    /// Its part in the kernel.
    pub cpu_system_percent: Option<f64>,
    /// Periods in which `cpu_max` held the task back.
    pub throttled_periods: Option<u64>,
    /// For how long it was held back, microseconds.
    pub throttled_us: Option<u64>,
    /// Resident anonymous memory. From /proc, pages that processes share after a fork count for
    /// each of them.
    pub memory_rss_bytes: Option<u64>,
    /// Memory in swap.
    pub memory_swap_bytes: Option<u64>,
    /// Page cache of files, tmpfs included; from a group only.
    pub memory_cache_bytes: Option<u64>,
    /// Memory that the kernel has for the task; from a group only.
    pub memory_kernel_bytes: Option<u64>,
    /// All that counts against `memory_max`; from a group only.
    pub memory_usage_bytes: Option<u64>,
    /// The highest usage of the run; from a group only.
    pub memory_peak_bytes: Option<u64>,
    /// Read from storage.
    pub io_read_bytes: Option<u64>,
    /// Written to storage, or on its way there.
    pub io_write_bytes: Option<u64>,
    /// Processes; absent for a single one.
    pub processes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Usage {
    /// Processor time in both modes.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        Some(self.cpu_user_us? + self.cpu_system_us?)
    }
}

/// What a task used at one moment.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct TaskStats {
    /// Name and launch.
    pub identity: Arc<Identity>,
    /// When it was measured.
    pub time: Wall,
    /// All its processes together.
    pub total: Usage,
    /// Each of them, where that was asked for.
    pub by_pid: Option<BTreeMap<Pid, Usage>>,
}

impl TaskStats {
    pub(crate) fn new(
        identity: Arc<Identity>,
        time: Wall,
        total: Usage,
        by_pid: Option<BTreeMap<Pid, Usage>>,
    ) -> TaskStats {
        TaskStats { identity, time, total, by_pid }
    }
}
