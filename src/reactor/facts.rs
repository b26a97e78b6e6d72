//! What the supervisor says of itself and of the system.

use super::{CgroupMode, Facts, Figures, Supervisor, isolation};
use crate::sys::cgroup::{Controller, Hierarchy};
use crate::sys::own_process;

/// Counts the additions to the protocol.
const API: u32 = 1;

impl Supervisor {
    /// What this supervisor and this system can do.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let supervisor = ostler::Supervisor::new(ostler::Options::default())?;
    /// let facts = supervisor.facts();
    /// assert!(["none", "v1", "hybrid", "v2"].contains(&facts.cgroup));
    /// # Ok(())
    /// # }
    /// ```
    pub fn facts(&self) -> Facts {
        // Found out once, and again when the groups of tasks are made or turn out impossible: it
        // costs a hundred system calls, and whoever may connect may ask.
        let known = self.known_facts.get(self.groups.stage());
        known.map_or_else(
            || self.find_facts(),
            |known| known.get_or_init(|| self.find_facts()).clone(),
        )
    }

    fn find_facts(&self) -> Facts {
        let kernel = own_process::kernel_release();
        let mut features = Vec::new();
        if self.options.cgroup != CgroupMode::Never {
            features.extend(self.groups.controllers().into_iter().filter_map(feature));
            if self.groups.can_kill() {
                features.push("cgroup.kill");
            }
        }
        if own_process::is_root() {
            features.push("user");
        }
        if own_process::kernel_is_at_least(5, 4) {
            features.push("pidfd");
        }
        if own_process::kernel_is_at_least(6, 15) || self.has_keeper() {
            features.push("exit_status_of_adopted");
        }
        features.extend(isolation::features());
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            api: API,
            instance: self.instance.clone(),
            boot_id: own_process::boot_id().unwrap_or_default(),
            kernel,
            cgroup: self.hierarchy(),
            features,
        }
    }

    /// [`Facts::cgroup`] without all the others, which cost a hundred system calls.
    pub(crate) fn hierarchy(&self) -> &'static str {
        let hierarchy = match self.options.cgroup {
            CgroupMode::Never => Hierarchy::None,
            CgroupMode::Auto | CgroupMode::Require => self.groups.mounted().hierarchy,
        };
        hierarchy.as_str()
    }

    /// [`Facts::instance`].
    #[cfg(feature = "control")]
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// What it costs. The figures of the process are those of the host's process.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let supervisor = ostler::Supervisor::new(ostler::Options::default())?;
    /// assert_eq!(supervisor.figures().pid, std::process::id());
    /// # Ok(())
    /// # }
    /// ```
    pub fn figures(&self) -> Figures {
        let (rss_bytes, threads) = own_process::memory_and_threads();
        Figures {
            pid: std::process::id(),
            threads,
            tasks: self.engine.len() as u64,
            fds: own_process::descriptors(),
            rss_bytes,
            cpu_us: own_process::cpu_us(),
            turns: self.health.turns,
            wakeups: self.health.wakeups,
            loop_max_us: self.health.longest_turn_us,
            relayed_bytes: self.relay.relayed_bytes(),
        }
    }
}

/// The name of a controller in the protocol, which has none for cpuset.
fn feature(controller: Controller) -> Option<&'static str> {
    match controller {
        Controller::Cpu => Some("cgroup.cpu"),
        Controller::Cpuset | Controller::Devices => None,
        Controller::Memory => Some("cgroup.memory"),
        Controller::Pids => Some("cgroup.pids"),
        Controller::Io => Some("cgroup.io"),
    }
}
