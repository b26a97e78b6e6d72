//! Limits of tasks: refused where the system cannot enforce them, put in place before the first
//! process of a run is there, and changed while it lives.

use super::groups::Groups;
use super::run::Main;
use super::{CgroupMode, Supervisor};
use crate::engine::{Input, Updated};
use crate::sys::cgroup::{
    self, Controller, Failed, Limits, NoGroup, NoTree, NotUpdated, Plan, Refused, unnoted_groups,
};
use crate::sys::failure::start_error;
use crate::sys::spawn::Placement;
use crate::vocabulary::{
    Containment, InvalidField, Pid, RequestError, Resources, Stage, StartError, TaskId, TaskSpec,
    Ticket, Wall,
};
use nix::errno::Errno;

/// A run that lives.
#[derive(Copy, Clone, Debug)]
pub(super) struct Living<'a> {
    /// The name of its group.
    pub(super) leaf: &'a str,
    /// A v2 group holds all its processes.
    pub(super) contained: bool,
    pub(super) main: Option<Pid>,
}

impl Groups {
    /// What enforces these limits in a new run.
    fn plan(&mut self, resources: &Resources, run: Option<&str>) -> Result<Plan, Refused> {
        self.prepare();
        let (limits, system) = self.limits_and_system();
        limits.plan(system, resources, run)
    }

    /// Puts the limits of a new run in place. After an error nothing of them is left.
    pub(super) fn limit(
        &mut self,
        leaf: &str,
        resources: &Resources,
        placement: Option<Placement>,
    ) -> Result<Option<Placement>, StartError> {
        let plan = self.plan(resources, None).map_err(|refused| StartError {
            stage: Stage::Limits,
            errno: 0,
            errno_name: String::new(),
            message: format!("enforce {}: {}", refused.field, refused.reason),
            retry: false,
            time: Wall::default(),
        })?;
        let (limits, system) = self.limits_and_system();
        let groups = limits
            .make(system, leaf, &plan)
            .map_err(|failed| start_error(Stage::Limits, failed.errno, failed.tried))?;
        Ok(Placement::and_into(placement, groups, plan.slows()))
    }

    /// Whether the devices of a task can be restricted by a group of the devices controller.
    pub(super) fn can_restrict_devices(&self, spec: &TaskSpec) -> bool {
        // A group that the task names is one of v2: nothing else of it has that name.
        spec.cgroup.is_none() && self.is_wanted() && cgroup::can_restrict_devices(self.mounted())
    }

    /// Lets a new run use these devices alone, where groups can keep to that. After an error
    /// nothing of its groups is left but that of v2.
    pub(super) fn restrict_devices(
        &mut self,
        leaf: &str,
        rules: &[String],
        placement: Option<Placement>,
    ) -> Result<Option<Placement>, StartError> {
        let (limits, system) = self.limits_and_system();
        let group = limits.restrict_devices(system, leaf, rules).map_err(|failed| {
            limits.remove(leaf);
            let tried = format!("keep to {}: {}", failed.field, failed.tried);
            start_error(Stage::Cgroup, failed.errno, tried)
        })?;
        Ok(match group {
            Some(group) => Placement::and_into(placement, vec![group], true),
            None => placement,
        })
    }

    /// Changes the limits of a run that lives, all or none.
    fn update(&mut self, living: Living<'_>, resources: &Resources) -> Result<(), NotUpdated> {
        let leaf = living.leaf;
        let plan = self.plan(resources, Some(leaf)).map_err(NotUpdated::Refused)?;
        let (limits, system) = self.limits_and_system();
        let processes = || system.tree.ok().filter(|_| living.contained).map(|t| t.processes(leaf));
        limits.update(system, leaf, &plan, living.main, processes)
    }

    /// Whether the OOM killer ended a process of a run; `None` where nobody counts.
    pub(super) fn oom_killed(&self, leaf: &str) -> Option<bool> {
        self.limits.oom_killed(self.system(), leaf)
    }

    /// Takes over what limits a run of which no process was noted.
    pub(super) fn adopt_unnoted_limits(&mut self, leaf: &str) {
        // One in a group of its user's choice is named by a path.
        if !leaf.contains('/') {
            let groups = unnoted_groups(self.mounted(), leaf);
            self.limits.adopt(leaf, &groups);
        }
    }

    /// Removes what the limits of a run needed besides its v2 group, once that is gone.
    pub(super) fn remove_limits(&mut self, leaf: &str) {
        for (path, errno) in self.limits.remove(leaf) {
            log::warn!("cannot remove cgroup {}: {}", path.display(), errno.desc());
        }
    }

    /// Why no task can have a group.
    fn why_no_tree(&mut self) -> Option<String> {
        self.prepare();
        self.system().tree.err().map(|NoTree(reason)| reason.clone())
    }

    /// The controllers with which limits can be enforced.
    pub(super) fn controllers(&self) -> Vec<Controller> {
        Limits::available(self.system(), self.is_movable())
    }
}

impl Supervisor {
    /// Why a launch with these limits is refused; `cgroup`: the task wants its group there.
    pub(super) fn refuse_limits(
        &mut self,
        resources: &Resources,
        cgroup: Option<&str>,
    ) -> Option<RequestError> {
        if resources.is_unlimited() {
            return None;
        }
        if cgroup.is_some() {
            return Some(RequestError::Unsupported {
                feature: "resources".to_owned(),
                reason: "a task with a cgroup has the limits of that group: set them there"
                    .to_owned(),
            });
        }
        if self.options.cgroup == CgroupMode::Never {
            return Some(RequestError::Unsupported {
                feature: "resources".to_owned(),
                reason: "cgroups are switched off in this supervisor".to_owned(),
            });
        }
        self.groups.plan(resources, None).err().map(unsupported)
    }

    /// Why a launch into this group is refused.
    pub(super) fn refuse_cgroup(&mut self, cgroup: &str) -> Option<RequestError> {
        let reason = match self.options.cgroup {
            CgroupMode::Never => Some("cgroups are switched off in this supervisor".to_owned()),
            CgroupMode::Auto | CgroupMode::Require => self.groups.why_no_tree(),
        };
        if let Some(reason) = reason {
            return Some(RequestError::Unsupported { feature: "cgroup".to_owned(), reason });
        }
        let field = "cgroup".to_owned();
        Some(match self.groups.mounted().check_group(cgroup).err()? {
            NoGroup::NotThere(reason) => RequestError::InvalidTask(InvalidField { field, reason }),
            NoGroup::NotOurs(reason) => RequestError::NotPermitted { field, reason },
        })
    }

    /// Changes the limits of a task: in its run, if it has one.
    pub(super) fn update_limits(&mut self, task: TaskId, change: Box<Resources>, ticket: Ticket) {
        let result = self.try_update(task, &change);
        self.inputs.push_back((task, Input::Updated(Updated { ticket, change, result })));
    }

    fn try_update(&mut self, task: TaskId, change: &Resources) -> Result<(), RequestError> {
        let Some(identity) = self.engine.identity(task).cloned() else {
            return Err(RequestError::NoSuchTask { name: task.to_string() });
        };
        let resources = match identity.resources() {
            Some(resources) => resources.changed_by(change),
            None => change.clone(),
        };
        if let Some(error) = self.refuse_limits(&resources, identity.cgroup()) {
            return Err(error);
        }
        if identity.cgroup().is_some() {
            return Ok(());
        }
        let Some(run) = self.runs.get(task) else { return Ok(()) };
        let leaf = self.groups.leaf(&identity, run.number);
        let living = Living {
            leaf: &leaf,
            contained: run.containment == Containment::CgroupV2,
            main: (run.main == Main::Alive).then_some(run.pid),
        };
        let oom = self.watch_oom(task, Some(&resources), &leaf).map_err(|error| {
            let field = "resources.memory_oom_group".to_owned();
            RequestError::NotPermitted { field, reason: error.message }
        })?;
        self.groups.update(living, &resources).map_err(|error| match error {
            NotUpdated::Refused(refused) => unsupported(refused),
            NotUpdated::Failed(failed) => not_permitted(&failed),
        })?;
        if let Some(run) = self.runs.get_mut(task) {
            run.oom = oom;
        }
        // It may have other groups now.
        self.note_process(task);
        Ok(())
    }
}

fn unsupported(refused: Refused) -> RequestError {
    RequestError::Unsupported { feature: refused.field.to_owned(), reason: refused.reason }
}

fn not_permitted(failed: &Failed) -> RequestError {
    let hint = match failed.errno {
        Errno::EBUSY if failed.field.contains("memory") => {
            " (more than that is in use and cannot be reclaimed)"
        }
        Errno::EINVAL => " (outside of what the groups above allow)",
        _ => "",
    };
    RequestError::NotPermitted {
        field: failed.field.to_owned(),
        reason: format!("{}: {}{hint}", failed.tried, failed.errno.desc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Options;
    use crate::sys::cgroup::COUNTED;
    use crate::sys::faults;
    use crate::vocabulary::{Isolation, TaskSpec};

    fn limited() -> TaskSpec {
        let resources = Resources {
            pids_max: Some(Some(10)),
            cpu_weight: Some(Some(50)),
            memory_max: Some(Some(64 << 20)),
            ..Resources::default()
        };
        let resources = Some(Box::new(resources));
        TaskSpec { resources, args: vec!["300".into()], ..TaskSpec::new("sleep") }
    }

    /// The groups of the task's runs, wherever this process's supervisors have some.
    fn groups(supervisor: &Supervisor) -> Vec<std::path::PathBuf> {
        let mounted = supervisor.groups.mounted();
        let owns = mounted.v1.iter().map(|(_, own)| own).chain(&mounted.own);
        let inside = |path: &std::path::Path, start: &str| -> Vec<std::path::PathBuf> {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
                .map(|entry| entry.path())
                .collect()
        };
        let tree = format!("ostler-{}", std::process::id());
        let trees = owns.flat_map(|own| inside(own, &tree));
        trees.flat_map(|tree| inside(&tree, "t.")).collect()
    }

    #[test]
    fn a_launch_that_fails_leaves_no_group() {
        each_call_of_a_launch_fails(&limited());
    }

    #[test]
    fn a_launch_with_devices_of_its_own_that_fails_leaves_no_group() {
        let devices = Some(Vec::new());
        let isolation = Some(Box::new(Isolation { devices, ..Isolation::default() }));
        let without_limits = TaskSpec { resources: None, isolation, ..limited() };
        each_call_of_a_launch_fails(&without_limits);
        each_call_of_a_launch_fails(&TaskSpec { resources: limited().resources, ..without_limits });
    }

    fn each_call_of_a_launch_fails(spec: &TaskSpec) {
        let _alone = COUNTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut supervisor = Supervisor::new(Options::default()).unwrap();
        if supervisor.refuse_limits(limited().resources.as_deref().unwrap(), None).is_some() {
            println!("skipped: no permission to limit anything");
            return;
        }
        for nth in 1.. {
            let injected = faults::fail_nth(nth, Errno::EIO);
            let spec = TaskSpec { name: Some("t".into()), ..spec.clone() };
            let launched = supervisor.launch(spec);
            let hit = injected.hit();
            drop(injected);
            match launched {
                Ok(task) => {
                    supervisor.remove(task, true).unwrap();
                    let mut events = Vec::new();
                    while supervisor.status(task).is_some() {
                        supervisor.turn(None, &mut events).unwrap();
                    }
                }
                Err(_) => assert!(hit.is_some()),
            }
            assert_eq!(groups(&supervisor), Vec::<std::path::PathBuf>::new(), "{hit:?}");
            if hit.is_none() {
                assert!(nth > 10, "{nth} calls");
                return;
            }
        }
    }
}
