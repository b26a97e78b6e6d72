//! One task measured, in steps of which each takes a fraction of a millisecond.
//!
//! A group tells the processor time of all that ever was in it. What no controller of a group
//! counts is read from /proc, for each process; so is everything where there is no group.

use super::World;
use super::strays::Strays;
use crate::reactor::run::{Main, Run};
use crate::sys::clock;
use crate::sys::process_list::ProcessList;
use crate::sys::process_usage::{
    ProcessIo, ProcessMemory, ProcessStat, cpu_clock, io_is_told, swap_is_on,
};
use crate::sys::reader::Reader;
use crate::vocabulary::{Containment, Now, Pid, TaskId, Usage};
use nix::errno::Errno;
use std::collections::{BTreeMap, HashSet};

/// A task that is being measured.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) task: TaskId,
    /// Each process is to be told.
    pub(super) by_pid: bool,
    pub(super) run: u64,
    /// When its processor time was read.
    pub(super) at: Now,
    /// What groups have counted.
    usage: Usage,
    swap_is_on: bool,
    /// No group names the processes.
    by_descent: bool,
    /// Groups whose processes are still to be listed.
    groups: Vec<String>,
    /// Lists that are being read.
    lists: Vec<ProcessList>,
    /// Processes that are still to be looked at.
    found: Vec<Pid>,
    /// All that were found, where one may be found twice.
    seen: HashSet<Pid>,
    sum: Sum,
    /// Something could not be read: sums would be too small.
    incomplete: bool,
    pub(super) by: BTreeMap<Pid, Single>,
    /// Processes and their clocks before they were looked at, where no group has one for all.
    pub(super) clocks: Vec<(Pid, u64)>,
}

/// One process of a task.
#[derive(Clone, Debug)]
pub(super) struct Single {
    /// When it began: its number may be another's next time.
    pub(super) began: u64,
    pub(super) usage: Usage,
}

/// What was read of processes so far.
#[derive(Debug, Default)]
struct Sum {
    processes: u64,
    threads: u64,
    user_us: u64,
    system_us: u64,
    rss_bytes: u64,
    swap_bytes: u64,
    read_bytes: u64,
    write_bytes: u64,
    /// The kernel does not tell us of one of them.
    io_unknown: bool,
}

/// What an earlier measurement of the same run has found.
#[derive(Copy, Clone, Debug)]
pub(super) struct Earlier<'a> {
    pub(super) total: &'a Usage,
    pub(super) clocks: &'a [(Pid, u64)],
    /// It holds as long as no process of the task has run since.
    pub(super) is_usable: bool,
}

impl Gathering {
    /// Begins; `Err` with the time where no process of the task has run since the earlier
    /// measurement, so that there is nothing new to be read.
    pub(super) fn begin(
        world: &World<'_>,
        reader: &mut Reader,
        strays: &Strays,
        run: &Run,
        by_pid: bool,
        earlier: Option<Earlier<'_>>,
    ) -> Result<Gathering, Now> {
        let mut new = Gathering {
            task: run.task,
            by_pid,
            run: run.number,
            at: clock::now(),
            usage: Usage::default(),
            swap_is_on: true,
            by_descent: run.containment != Containment::CgroupV2,
            groups: Vec::new(),
            lists: Vec::new(),
            found: Vec::new(),
            seen: HashSet::new(),
            sum: Sum::default(),
            incomplete: false,
            by: BTreeMap::new(),
            clocks: Vec::new(),
        };
        let leaf = world.leaf(run);
        let system = world.groups.system();
        if !new.by_descent
            && let Ok(tree) = system.tree
        {
            tree.read_cpu(reader, &leaf, &mut new.usage);
        }
        if earlier.is_some_and(|earlier| earlier.is_usable && new.has_not_run(&earlier)) {
            return Err(new.at);
        }
        world.groups.limits.read_usage(reader, system, &leaf, &mut new.usage);
        // Asked where it spares something: where the threads are known without the memory.
        new.swap_is_on = !(new.by_descent || by_pid) || swap_is_on();
        if new.by_descent {
            new.incomplete = strays.are_incomplete();
            new.add((run.main == Main::Alive).then_some(run.pid));
            new.add(strays.of_leader(run.pid));
            new.add_children_of_init(reader, run);
            // An orphan in a session of its own is known from when its parent lived.
            new.add(earlier.iter().flat_map(|earlier| earlier.clocks).map(|(pid, _)| *pid));
        } else if let Ok(tree) = system.tree {
            new.groups = tree.inner_groups(&leaf);
            new.groups.push(leaf);
        }
        Ok(new)
    }

    fn has_not_run(&self, earlier: &Earlier<'_>) -> bool {
        if self.by_descent {
            let mut clocks = earlier.clocks.iter();
            return !earlier.clocks.is_empty()
                && clocks.all(|&(pid, before)| cpu_clock(pid) == Some(before));
        }
        self.usage.cpu_us().is_some() && self.usage.cpu_us() == earlier.total.cpu_us()
    }

    /// Orphans of a pid namespace become those of its init, whatever their session.
    fn add_children_of_init(&mut self, reader: &mut Reader, run: &Run) {
        let Some(init) = &run.init else { return };
        match ProcessList::of_children(reader, init.pid, 1) {
            Ok(lists) => self.lists.extend(lists),
            Err(Errno::ENOENT | Errno::ESRCH) => {}
            Err(_) => self.incomplete = true,
        }
    }

    fn add(&mut self, pids: impl IntoIterator<Item = Pid>) {
        for pid in pids {
            if self.seen.insert(pid) {
                self.found.push(pid);
            }
        }
    }

    /// Reads a little more; whether that was all.
    pub(super) fn step(&mut self, world: &World<'_>, reader: &mut Reader) -> bool {
        let read = if let Some(list) = self.lists.last_mut() {
            let mut piece = Vec::new();
            let read = list.read(reader, &mut piece);
            if read != Ok(true) {
                self.lists.pop();
            }
            self.add(piece);
            read.map(drop)
        } else if let Some(pid) = self.found.pop() {
            self.look(reader, pid)
        } else if let Some(group) = self.groups.pop() {
            self.list(world, reader, &group)
        } else {
            return true;
        };
        match read {
            // What has ended meanwhile is not a part of the task any more.
            Ok(()) | Err(Errno::ENOENT | Errno::ESRCH | Errno::ENODEV) => {}
            Err(_) => self.incomplete = true,
        }
        false
    }

    fn list(&mut self, world: &World<'_>, reader: &mut Reader, group: &str) -> Result<(), Errno> {
        let Ok(tree) = world.groups.system().tree else { return Err(Errno::ENODEV) };
        self.lists.push(tree.open_processes(reader, group)?);
        Ok(())
    }

    fn look(&mut self, reader: &mut Reader, pid: Pid) -> Result<(), Errno> {
        let clock = if self.by_descent { cpu_clock(pid) } else { None };
        let stat = match self.by_descent || self.by_pid {
            true => Some(reader.process_stat(pid)?),
            false => None,
        };
        let wants_memory = self.usage.memory_rss_bytes.is_none()
            || self.usage.memory_swap_bytes.is_none()
            || self.usage.threads.is_none()
            || self.by_pid;
        let memory = match stat {
            _ if !wants_memory => None,
            Some(stat) if !self.swap_is_on => Some(reader.process_resident(pid, stat.threads)?),
            _ => Some(reader.process_memory(pid)?),
        };
        let wants_io = self.usage.io_read_bytes.is_none() || self.by_pid;
        let io = match wants_io && io_is_told() {
            true => match reader.process_io(pid) {
                // It is told to those who may trace the process alone.
                Err(Errno::EACCES | Errno::EPERM) => None,
                io => Some(io?),
            },
            false => None,
        };
        if let Some(stat) = stat.filter(|_| self.by_descent) {
            self.clocks.extend(clock.map(|clock| (pid, clock)));
            self.sum.user_us += stat.user_us + stat.reaped_user_us;
            self.sum.system_us += stat.system_us + stat.reaped_system_us;
        }
        if stat.is_some_and(|stat| stat.family.dead) {
            return Ok(());
        }
        self.sum.add(memory, io, wants_io);
        if let Some(stat) = stat.filter(|_| self.by_pid) {
            self.by.insert(pid, Single { began: stat.began, usage: usage_of(stat, memory, io) });
        }
        if let Some(stat) = stat.filter(|_| self.by_descent) {
            self.lists.extend(ProcessList::of_children(reader, pid, stat.threads)?);
        }
        Ok(())
    }

    /// Whether all could be read.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// What all was read comes to, without percentages.
    pub(super) fn total(&mut self) -> Usage {
        let mut total = std::mem::take(&mut self.usage);
        if self.incomplete {
            return total;
        }
        let sum = &self.sum;
        if self.by_descent && total.cpu_user_us.is_none() {
            total.cpu_user_us = Some(sum.user_us);
            total.cpu_system_us = Some(sum.system_us);
        }
        total.memory_rss_bytes.get_or_insert(sum.rss_bytes);
        total.memory_swap_bytes.get_or_insert(sum.swap_bytes);
        total.threads.get_or_insert(sum.threads);
        if !sum.io_unknown {
            total.io_read_bytes.get_or_insert(sum.read_bytes);
            total.io_write_bytes.get_or_insert(sum.write_bytes);
        }
        total.processes = Some(sum.processes);
        total
    }
}

impl Sum {
    fn add(&mut self, memory: Option<ProcessMemory>, io: Option<ProcessIo>, wants_io: bool) {
        self.processes += 1;
        if let Some(memory) = memory {
            self.rss_bytes += memory.rss_bytes;
            self.swap_bytes += memory.swap_bytes;
            self.threads += memory.threads;
        }
        match io {
            Some(io) => {
                self.read_bytes += io.read_bytes;
                self.write_bytes += io.write_bytes;
            }
            None => self.io_unknown |= wants_io,
        }
    }
}

fn usage_of(stat: ProcessStat, memory: Option<ProcessMemory>, io: Option<ProcessIo>) -> Usage {
    Usage {
        cpu_user_us: Some(stat.user_us),
        cpu_system_us: Some(stat.system_us),
        memory_rss_bytes: memory.map(|memory| memory.rss_bytes),
        memory_swap_bytes: memory.map(|memory| memory.swap_bytes),
        io_read_bytes: io.map(|io| io.read_bytes),
        io_write_bytes: io.map(|io| io.write_bytes),
        threads: Some(stat.threads),
        ..Usage::default()
    }
}
