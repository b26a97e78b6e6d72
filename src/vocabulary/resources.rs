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
    /// `pids.max`.
    pub pids_max: Option<Option<u64>>,
    /// `io.weight`, 1 to 10000.
    pub io_weight: Option<Option<u64>>,
}

impl Resources {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Resources::default()
    }
}

/// What a task is kept from.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Isolation {
    /// Directory that becomes `/` of the task.
    pub root: Option<String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Devices that may be used; absent: all.
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
    /// Path outside.
    pub source: String,
    /// Path inside.
    pub target: String,
    /// Truly recursive.
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

/// A device node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Path outside.
    pub source: String,
    /// Path inside; absent: the same.
    pub target: Option<String>,
    /// Of `rwm`.
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
