//! What the groups of a run have counted, and which processes are in them.

use super::Tree;
use super::controllers::Controller;
use super::limits::{Limits, System};
use crate::sys::process_list::ProcessList;
use crate::sys::process_usage::{micros, number, number_behind};
use crate::sys::reader::{At, Reader};
use crate::vocabulary::Usage;
use nix::errno::Errno;
use nix::sys::stat::fstatat;
use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

impl Limits {
    /// The v2 controllers that count in the groups of runs in the tree.
    fn counts(&self, reader: &mut Reader, tree: &Tree, run: &str) -> Vec<Controller> {
        if !run.starts_with('/') {
            return self.tree_counts.clone();
        }
        let listed = tree.read(reader, format_args!("{run}/cgroup.controllers"));
        let listed = listed.and_then(|list| std::str::from_utf8(list).ok()).unwrap_or_default();
        let named = |name: &str| Controller::ALL.into_iter().find(|known| known.as_str() == name);
        listed.split_whitespace().filter_map(named).collect()
    }

    /// Reads what the groups of a run have counted but for the time of the v2 one: what nobody
    /// counts stays absent.
    pub(crate) fn read_usage(
        &self,
        reader: &mut Reader,
        system: System<'_>,
        run: &str,
        usage: &mut Usage,
    ) {
        if let Ok(tree) = system.tree {
            for controller in self.counts(reader, tree, run) {
                match controller {
                    Controller::Memory => read_memory(reader, tree, run, usage),
                    Controller::Io => read_io(reader, tree, run, usage),
                    Controller::Pids => {
                        usage.threads = tree.number(reader, format_args!("{run}/pids.current"));
                    }
                    Controller::Cpu | Controller::Cpuset | Controller::Devices => {}
                }
            }
        }
        for (controller, group) in self.v1_groups(system, run) {
            match controller {
                Controller::Cpu => read_v1_cpu(reader, &group, usage),
                Controller::Memory => read_v1_memory(reader, &group, usage),
                Controller::Pids => usage.threads = v1_number(reader, &group, "pids.current"),
                // blkio does not see what is written through the page cache: /proc tells.
                Controller::Io | Controller::Cpuset | Controller::Devices => {}
            }
        }
    }
}

impl Tree {
    /// Reads the processor time of a group and of those inside it, which v2 counts always
    /// (Linux 4.15), and how it was throttled where that is counted.
    pub(crate) fn read_cpu(
        &self,
        reader: &mut Reader,
        name: &str,
        usage: &mut Usage,
    ) -> Option<()> {
        let stat = self.read(reader, format_args!("{name}/cpu.stat"))?;
        usage.cpu_user_us = number_behind(stat, b"user_usec ");
        usage.cpu_system_us = number_behind(stat, b"system_usec ");
        usage.throttled_periods = number_behind(stat, b"nr_throttled ");
        usage.throttled_us = number_behind(stat, b"throttled_usec ");
        Some(())
    }

    /// Has the kernel add up the processor time of all groups of the tree, 0.5 us for each that has
    /// run. It keeps those in a list and walks that for each group that is read: with 10,000 in it
    /// one read takes 500 us, and 8 us once it is empty (Linux 6.18).
    pub(crate) fn add_up(&self, reader: &mut Reader) {
        // Whatever fails is told by the reads that follow.
        let _ = self.read(reader, format_args!("cpu.stat"));
    }

    /// The names of the groups inside a group, mostly none, each before those inside it.
    pub(crate) fn inner_groups(&self, name: &str) -> Vec<String> {
        // A directory of cgroupfs has two links and one for each group inside.
        let links = fstatat(&self.directory, name, nix::fcntl::AtFlags::empty());
        if links.is_ok_and(|found| found.st_nlink <= 2) {
            return Vec::new();
        }
        self.groups_inside(name)
    }

    /// Opens the list of a group's own processes.
    pub(crate) fn open_processes(
        &self,
        reader: &mut Reader,
        name: &str,
    ) -> Result<ProcessList, Errno> {
        let at = At::Directory(self.directory.as_fd());
        let file = reader.open(at, format_args!("{name}/cgroup.procs"))?;
        Ok(ProcessList::new(file))
    }

    fn read<'r>(&self, reader: &'r mut Reader, path: fmt::Arguments<'_>) -> Option<&'r [u8]> {
        reader.read(At::Directory(self.directory.as_fd()), path).ok()
    }

    fn number(&self, reader: &mut Reader, path: fmt::Arguments<'_>) -> Option<u64> {
        self.read(reader, path).and_then(number)
    }
}

fn read_memory(reader: &mut Reader, tree: &Tree, run: &str, usage: &mut Usage) {
    if let Some(stat) = tree.read(reader, format_args!("{run}/memory.stat")) {
        usage.memory_rss_bytes = number_behind(stat, b"anon ");
        usage.memory_cache_bytes = number_behind(stat, b"file ");
        // Linux 5.18.
        usage.memory_kernel_bytes = number_behind(stat, b"kernel ");
    }
    usage.memory_usage_bytes = tree.number(reader, format_args!("{run}/memory.current"));
    usage.memory_swap_bytes = tree.number(reader, format_args!("{run}/memory.swap.current"));
    // Linux 5.19.
    usage.memory_peak_bytes = tree.number(reader, format_args!("{run}/memory.peak"));
}

fn read_io(reader: &mut Reader, tree: &Tree, run: &str, usage: &mut Usage) {
    let Some(stat) = tree.read(reader, format_args!("{run}/io.stat")) else { return };
    usage.io_read_bytes = Some(sum_of(stat, b"rbytes="));
    usage.io_write_bytes = Some(sum_of(stat, b"wbytes="));
}

/// The numbers of all words that begin so: io.stat has a line for each device.
pub(in crate::sys) fn sum_of(stat: &[u8], name: &[u8]) -> u64 {
    stat.split(u8::is_ascii_whitespace)
        .filter_map(|word| number(word.strip_prefix(name)?))
        .fold(0, u64::saturating_add)
}

fn read_v1_cpu(reader: &mut Reader, group: &Path, usage: &mut Usage) {
    if let Some(stat) = v1_read(reader, group, "cpu.stat") {
        usage.throttled_periods = number_behind(stat, b"nr_throttled ");
        usage.throttled_us = number_behind(stat, b"throttled_time ").map(|nanos| nanos / 1000);
    }
    // There where cpuacct is mounted together with it. v2 is finer.
    if usage.cpu_user_us.is_none()
        && let Some(stat) = v1_read(reader, group, "cpuacct.stat")
    {
        usage.cpu_user_us = number_behind(stat, b"user ").map(micros);
        usage.cpu_system_us = number_behind(stat, b"system ").map(micros);
    }
}

fn read_v1_memory(reader: &mut Reader, group: &Path, usage: &mut Usage) {
    if let Some(stat) = v1_read(reader, group, "memory.stat") {
        usage.memory_rss_bytes = number_behind(stat, b"total_rss ");
        usage.memory_cache_bytes = number_behind(stat, b"total_cache ");
        // Absent without accounting of swap.
        usage.memory_swap_bytes = number_behind(stat, b"total_swap ");
    }
    usage.memory_usage_bytes = v1_number(reader, group, "memory.usage_in_bytes");
    usage.memory_peak_bytes = v1_number(reader, group, "memory.max_usage_in_bytes");
    usage.memory_kernel_bytes = v1_number(reader, group, "memory.kmem.usage_in_bytes");
}

fn v1_read<'r>(reader: &'r mut Reader, group: &Path, file: &str) -> Option<&'r [u8]> {
    reader.read(At::Root, format_args!("{}/{file}", group.display())).ok()
}

fn v1_number(reader: &mut Reader, group: &Path, file: &str) -> Option<u64> {
    v1_read(reader, group, file).and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_all_devices_count() {
        let stat = b"8:0 rbytes=10 wbytes=1 rios=5 wios=1\n8:16 rbytes=5 wbytes=2 dbytes=0\n";
        assert_eq!((sum_of(stat, b"rbytes="), sum_of(stat, b"wbytes=")), (15, 3));
        assert_eq!(sum_of(b"", b"rbytes="), 0);
    }
}
