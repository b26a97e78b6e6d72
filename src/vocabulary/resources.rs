//! Limits and isolation as a task asks for them.

/// Limits in the terms of cgroup v2. Absent: not asked for; `Some(None)`: no limit (lifts one).
///
/// ```
/// let limits = ostler::Resources { pids_max: Some(Some(100)), ..Default::default() };
/// assert!(!limits.is_empty());
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Resources {
    /// `cpu.weight`, 1 to 10000.
    pub cpu_weight: Option<Option<u64>>,
    /// `cpu.max` in cores, above 0.
    pub cpu_max: Option<Option<f64>>,
    /// `cpuset.cpus`, a list such as `0-3,8`; empty: no limit.
    pub cpuset: Option<String>,
    /// `memory.low`, bytes.
    pub memory_low: Option<Option<u64>>,
    /// `memory.high`, bytes.
    pub memory_high: Option<Option<u64>>,
    /// `memory.max`, bytes.
    pub memory_max: Option<Option<u64>>,
    /// `memory.swap.max`, bytes.
    pub memory_swap_max: Option<Option<u64>>,
    /// `memory.oom.group`: the OOM killer ends every process of the task, not one of them.
    pub memory_oom_group: Option<bool>,
    /// `pids.max`, 1 to 4,194,304.
    pub pids_max: Option<Option<u64>>,
    /// `io.weight`, 1 to 10000.
    pub io_weight: Option<Option<u64>>,
}

impl Resources {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Resources::default()
    }

    /// Whether nothing is limited: what is asked for is no limit at most.
    pub fn is_unlimited(&self) -> bool {
        let numbers = [
            self.cpu_weight,
            self.memory_low,
            self.memory_high,
            self.memory_max,
            self.memory_swap_max,
            self.pids_max,
            self.io_weight,
        ];
        numbers.iter().all(|limit| limit.flatten().is_none())
            && self.memory_oom_group != Some(true)
            && self.cpu_max.flatten().is_none()
            && self.cpuset.as_deref().is_none_or(str::is_empty)
    }

    /// These limits after a change: what the change does not name stays.
    ///
    /// ```
    /// use ostler::Resources;
    /// let limits = Resources { pids_max: Some(Some(10)), ..Default::default() };
    /// let change = Resources { cpu_max: Some(None), ..Default::default() };
    /// let changed = limits.changed_by(&change);
    /// assert_eq!((changed.pids_max, changed.cpu_max), (Some(Some(10)), Some(None)));
    /// ```
    #[must_use]
    pub fn changed_by(&self, change: &Resources) -> Resources {
        Resources {
            cpu_weight: change.cpu_weight.or(self.cpu_weight),
            cpu_max: change.cpu_max.or(self.cpu_max),
            cpuset: change.cpuset.clone().or_else(|| self.cpuset.clone()),
            memory_low: change.memory_low.or(self.memory_low),
            memory_high: change.memory_high.or(self.memory_high),
            memory_max: change.memory_max.or(self.memory_max),
            memory_swap_max: change.memory_swap_max.or(self.memory_swap_max),
            memory_oom_group: change.memory_oom_group.or(self.memory_oom_group),
            pids_max: change.pids_max.or(self.pids_max),
            io_weight: change.io_weight.or(self.io_weight),
        }
    }
}

/// What a task is kept from.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Isolation {
    /// Directory that becomes `/` of the task (pivot_root(2), Linux 5.12), with a `/dev`, a `/sys`
    /// and, for a task with `pid`, a `/proc` of its own, as OCI runtimes have them. The command,
    /// `task_dir`, `work_dir` and the paths of `landlock` are then inside.
    pub root: Option<String>,
    /// Bind mounts, in this order (Linux 5.12). Without `root` they lie over the host's root, for
    /// this task alone.
    pub mounts: Vec<Mount>,
    /// Devices that may be used besides null, zero, full, random, urandom, tty and terminals of
    /// its own; absent: with `root` these alone, else all.
    pub devices: Option<Vec<Device>>,
    /// Own pid namespace.
    pub pid: bool,
    /// Own ipc namespace.
    pub ipc: bool,
    /// Own uts namespace.
    pub uts: bool,
    /// Host name in the own uts namespace.
    pub hostname: Option<String>,
    /// `host`, `none`, or the path of a network namespace file.
    pub net: Option<String>,
    /// The whole set of capabilities; absent: unchanged.
    pub capabilities: Option<Vec<String>>,
    /// Set no_new_privs.
    pub no_new_privs: bool,
    /// `none`, `default` or the path of an OCI profile.
    pub seccomp: Option<String>,
    /// Paths that stay accessible; absent: no rule.
    pub landlock: Option<Vec<PathRule>>,
}

impl Isolation {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Isolation::default()
    }
}

/// A bind mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Path outside: a directory or a file.
    pub source: String,
    /// Path inside, without `..`. Links are followed inside the root, what is missing is made
    /// there. Without a root it has to exist.
    pub target: String,
    /// With everything that is mounted below the source.
    pub read_only: bool,
    /// How mounts made later pass.
    pub propagation: Propagation,
}

/// How mounts that are made later pass between inside and outside (mount_namespaces(7)).
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// Inwards.
    Slave,
    /// Both ways.
    Shared,
}

/// A device node. It is the host's own, mounted read-only: the device can be written to, the node
/// not be changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Path outside.
    pub source: String,
    /// Path inside; absent: the same.
    pub target: Option<String>,
    /// Of `rwm`: read, write, make nodes. Less than `rw` needs the devices controller of cgroup v1,
    /// `rw` that or `capabilities` without MKNOD.
    pub permissions: String,
}

/// A path of a landlock rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathRule {
    /// The path.
    pub path: String,
    /// Of `rwx`.
    pub access: String,
}
