//! Limits of runs: written into their v2 groups, and into groups of v1 hierarchies that are made
//! for this alone.

use super::controllers::{Controller, read, write};
use super::settings::{self, MEMORY_AND_SWAP, Refused, Setting, Version};
use super::v1::Branch;
use super::{Mounted, NoTree, Tree};
use crate::vocabulary::{Ordered, Pid, Resources};
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// Rounds of moving the processes of a run that goes on making new ones.
const ROUNDS_MAX: usize = 100;

/// Where limits can be put.
#[derive(Copy, Clone, Debug)]
pub(crate) struct System<'a> {
    pub(crate) mounted: &'a Mounted,
    pub(crate) tree: Result<&'a Tree, &'a NoTree>,
}

/// The limits of every run that has some.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Made when first needed, and never taken out.
    pub(super) branches: Vec<Branch>,
    /// By the name of its group, in which branches a run has one.
    pub(super) runs: Ordered<String, Vec<usize>>,
    /// Groups that were in use when they were to be removed.
    left: Vec<PathBuf>,
    /// Something was added to them.
    left_is_new: bool,
    /// The controllers that count in every group of the tree.
    pub(super) tree_counts: Vec<Controller>,
}

/// What enforces a limit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Seat {
    V2,
    /// In this branch.
    V1(usize),
}

/// What is to be written for one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan(Vec<(Seat, Setting)>);

/// A limit that could not be put in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failed {
    /// Its path in the task.
    pub(crate) field: &'static str,
    /// What was tried.
    pub(crate) tried: String,
    pub(crate) errno: Errno,
}

/// Why the limits of a run stay as they were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotUpdated {
    Refused(Refused),
    Failed(Failed),
}

impl Plan {
    /// The group holds back whoever is in it, so that nobody may wait for a newborn there.
    pub(crate) fn slows(&self) -> bool {
        // With memory.oom.group not even a child that we wait for is spared, and so are we not.
        let slow = [settings::CPU_MAX, settings::MEMORY_HIGH, settings::MEMORY_OOM_GROUP];
        self.0.iter().any(|(_, setting)| slow.contains(&setting.field))
    }
}

impl Limits {
    /// What has to be written for a run with these limits. `run`: it exists already, so that
    /// limits may have to be lifted. Nothing of a run is made; controllers are enabled.
    pub(crate) fn plan(
        &mut self,
        system: System<'_>,
        resources: &Resources,
        run: Option<&str>,
    ) -> Result<Plan, Refused> {
        let mut plan = Vec::new();
        for limit in settings::named(resources) {
            let (field, controller, lifts) = limit;
            let seat = match (lifts, run) {
                (true, None) => None,
                (true, Some(run)) => self.seat_in_use(system, controller, run),
                (false, run) => {
                    let used = run.and_then(|run| self.seat_in_use(system, controller, run));
                    let seat = used.map_or_else(|| self.seat(system, controller), Ok);
                    Some(seat.map_err(|reason| Refused { field, reason })?)
                }
            };
            let Some(seat) = seat else { continue };
            let (Some(directory), version) = (self.directory(system, seat), seat.version()) else {
                continue;
            };
            let all_cpus = match controller {
                Controller::Cpuset => cpus_of(directory, version),
                _ => String::new(),
            };
            if let Some(list) = resources.cpuset.as_deref().filter(|_| field == settings::CPUSET) {
                check_cpus(list, &all_cpus)?;
            }
            let has = |file: &str| directory.join(file).exists();
            let files = settings::of_field(limit, version, resources, has, &all_cpus)?;
            plan.extend(files.into_iter().map(|setting| (seat, setting)));
        }
        Ok(Plan(plan))
    }

    fn seat(&mut self, system: System<'_>, controller: Controller) -> Result<Seat, String> {
        let not_v2 = match (system.tree, &system.mounted.root) {
            (Ok(tree), Some(root)) => match tree.enable(controller, root) {
                Ok(()) => {
                    if !self.tree_counts.contains(&controller) {
                        self.tree_counts.push(controller);
                    }
                    return Ok(Seat::V2);
                }
                Err(reason) => reason,
            },
            (Err(NoTree(reason)), _) => reason.clone(),
            (Ok(_), None) => "no cgroup v2 hierarchy is mounted".to_owned(),
        };
        match self.branch(system, controller) {
            None => Err(not_v2),
            Some(branch) => branch.map(Seat::V1).map_err(|NoTree(reason)| reason),
        }
    }

    /// Our branch of a controller's v1 hierarchy, made when it is first needed; `None`: there is
    /// no such hierarchy.
    pub(super) fn branch(
        &mut self,
        system: System<'_>,
        controller: Controller,
    ) -> Option<Result<usize, NoTree>> {
        let (_, own) = system.mounted.v1.iter().find(|(found, _)| *found == controller)?;
        if let Some(index) = self.branches.iter().position(|branch| branch.is_ours(own)) {
            return Some(Ok(index));
        }
        Some(Branch::make(own).map(|branch| {
            self.branches.push(branch);
            self.branches.len() - 1
        }))
    }

    /// Where a limit of a run may be in force.
    fn seat_in_use(&self, system: System<'_>, controller: Controller, run: &str) -> Option<Seat> {
        if let Ok(tree) = system.tree
            && tree.is_enabled(controller)
        {
            return Some(Seat::V2);
        }
        let (_, own) = system.mounted.v1.iter().find(|(found, _)| *found == controller)?;
        let is_there =
            |index: &&usize| self.branches.get(**index).is_some_and(|branch| branch.is_of(own));
        self.runs.get(run)?.iter().find(is_there).map(|&index| Seat::V1(index))
    }

    fn directory<'a>(&'a self, system: System<'a>, seat: Seat) -> Option<&'a Path> {
        match seat {
            Seat::V2 => system.tree.ok().map(Tree::path),
            Seat::V1(index) => self.branches.get(index).map(Branch::path),
        }
    }

    /// Puts the limits of a new run in place. The answer: the v1 groups that it has to join. After
    /// an error nothing of them is left.
    pub(crate) fn make(
        &mut self,
        system: System<'_>,
        run: &str,
        plan: &Plan,
    ) -> Result<Vec<PathBuf>, Failed> {
        let needed = self.lacks(run, plan);
        let made = self.add_groups(run, &needed).and_then(|()| self.write(system, run, plan));
        match made {
            Ok(()) => Ok(self.groups(run)),
            Err(failed) => {
                self.remove(run);
                Err(failed)
            }
        }
    }

    /// The branches in which a plan needs a group that the run does not have, each with a limit
    /// that needs it.
    fn lacks(&self, run: &str, plan: &Plan) -> Vec<(usize, Controller, &'static str)> {
        let has = self.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        let mut lacks: Vec<(usize, Controller, &'static str)> = Vec::new();
        for (seat, setting) in &plan.0 {
            if let Seat::V1(index) = seat
                && !has.contains(index)
                && !lacks.iter().any(|(known, ..)| known == index)
            {
                lacks.push((*index, setting.controller, setting.field));
            }
        }
        lacks
    }

    /// The errors may leave some of them.
    pub(super) fn add_groups(
        &mut self,
        run: &str,
        needed: &[(usize, Controller, &'static str)],
    ) -> Result<(), Failed> {
        for &(index, _, field) in needed {
            let Some(branch) = self.branches.get(index) else { continue };
            branch.make_group(run).map_err(|errno| {
                let tried = format!("make cgroup {}", branch.path().join(run).display());
                Failed { field, tried, errno }
            })?;
            self.add_to_run(run, index);
        }
        Ok(())
    }

    /// Writes all of it, or puts back what was there.
    fn write(&self, system: System<'_>, run: &str, plan: &Plan) -> Result<(), Failed> {
        let mut before: Vec<(PathBuf, String)> = Vec::new();
        for (seat, setting) in self.in_order(system, run, plan) {
            let Some(directory) = self.directory(system, *seat) else { continue };
            let file = directory.join(run).join(setting.file);
            let written = read(&file).and_then(|old| {
                write(&file, line_of(&setting.value))?;
                before.push((file.clone(), old));
                Ok(())
            });
            if let Err(errno) = written {
                for (file, old) in before.iter().rev() {
                    let first = old.lines().next().unwrap_or_default();
                    // It was accepted once, and there is nobody else to tell.
                    let _ = write(file, line_of(first));
                }
                let tried = format!("set {} to {:?}", file.display(), setting.value);
                return Err(Failed { field: setting.field, tried, errno });
            }
        }
        Ok(())
    }

    /// v1 keeps the limit of memory at or below that of memory and swap at any moment: where that
    /// is raised, it goes first.
    fn in_order<'p>(
        &self,
        system: System<'_>,
        run: &str,
        plan: &'p Plan,
    ) -> Vec<&'p (Seat, Setting)> {
        let mut order: Vec<_> = plan.0.iter().collect();
        let position = |field| order.iter().position(|(_, setting)| setting.field == field);
        if let Some((memory, swap)) =
            position(settings::MEMORY_MAX).zip(position(settings::MEMORY_SWAP_MAX))
            && let Some((seat, setting)) = order.get(swap).copied()
            && setting.file == MEMORY_AND_SWAP
            && let Some(directory) = self.directory(system, *seat)
        {
            let now = read(&directory.join(run).join(MEMORY_AND_SWAP)).unwrap_or_default();
            if bytes(&setting.value) > bytes(&now) {
                order.swap(memory, swap);
            }
        }
        order
    }

    /// Changes the limits of a run that lives; all or none. `processes` names all that it has,
    /// `None` where that is not known; `main` may not be among them yet.
    pub(crate) fn update(
        &mut self,
        system: System<'_>,
        run: &str,
        plan: &Plan,
        main: Option<Pid>,
        processes: impl Fn() -> Option<Vec<Pid>>,
    ) -> Result<(), NotUpdated> {
        let added = self.lacks(run, plan);
        for &(_, controller, field) in &added {
            let refuse = |reason: &str| {
                Err(NotUpdated::Refused(Refused { field, reason: reason.to_owned() }))
            };
            if controller == Controller::Memory {
                return refuse(
                    "cgroup v1 counts only what is used from now on, and this run was started \
                     without a limit of memory: restart the task with one",
                );
            }
            if processes().is_none() {
                return refuse("which processes the task has is not known without a cgroup v2");
            }
        }
        let done = self
            .add_groups(run, &added)
            .and_then(|()| self.write(system, run, plan))
            .and_then(|()| self.move_in(run, &added, main, processes));
        done.map_err(|failed| {
            for (index, ..) in added {
                self.take_back(run, index);
            }
            NotUpdated::Failed(failed)
        })
    }

    /// Moves the processes of a run into its new groups, until none is outside: a child is born
    /// where its parent is.
    fn move_in(
        &self,
        run: &str,
        added: &[(usize, Controller, &'static str)],
        main: Option<Pid>,
        processes: impl Fn() -> Option<Vec<Pid>>,
    ) -> Result<(), Failed> {
        for &(index, _, field) in added {
            let Some(branch) = self.branches.get(index) else { continue };
            let tried =
                || format!("move the task into cgroup {}", branch.path().join(run).display());
            let failed = |errno| Failed { field, tried: tried(), errno };
            let mut outside: Vec<Pid> = main.into_iter().collect();
            let mut rounds = 0;
            loop {
                for pid in outside {
                    match branch.put(run, pid) {
                        // It has ended meanwhile.
                        Ok(()) | Err(Errno::ESRCH) => {}
                        Err(errno) => return Err(failed(errno)),
                    }
                }
                let inside = branch.processes(run).map_err(failed)?;
                outside = processes().unwrap_or_default();
                outside.retain(|pid| !inside.contains(pid));
                if outside.is_empty() {
                    break;
                }
                rounds += 1;
                if rounds == ROUNDS_MAX {
                    return Err(failed(Errno::EBUSY));
                }
            }
        }
        Ok(())
    }

    /// The run has a group in the hierarchy of this branch.
    pub(super) fn add_to_run(&mut self, run: &str, index: usize) {
        match self.runs.get_mut(run) {
            Some(groups) => groups.push(index),
            None => drop(self.runs.insert(run.to_owned(), vec![index])),
        }
    }

    /// Undoes what an update has added.
    fn take_back(&mut self, run: &str, index: usize) {
        let Some(groups) = self.runs.get_mut(run) else { return };
        groups.retain(|known| *known != index);
        if groups.is_empty() {
            self.runs.remove(run);
        }
        if let Some(branch) = self.branches.get(index) {
            branch.empty(run);
            if branch.remove_group(run) == Err(Errno::EBUSY) {
                self.left.push(branch.path().join(run));
            }
        }
    }

    /// Whether the OOM killer ended a process of the run; `None` where nobody counts.
    pub(crate) fn oom_killed(&self, system: System<'_>, run: &str) -> Option<bool> {
        if let Ok(tree) = system.tree
            && (self.tree_counts.contains(&Controller::Memory) || run.starts_with('/'))
        {
            let events = read(&tree.path().join(run).join("memory.events")).ok()?;
            return counter(&events, "oom_kill").map(|kills| kills > 0);
        }
        let mut groups = self.groups(run).into_iter();
        groups.find_map(|group| {
            let control = read(&group.join("memory.oom_control")).ok()?;
            counter(&control, "oom_kill").map(|kills| kills > 0)
        })
    }

    /// The v1 groups of a run.
    pub(crate) fn groups(&self, run: &str) -> Vec<PathBuf> {
        let indices = self.runs.get(run).map(Vec::as_slice).unwrap_or_default();
        let path = |index: &usize| Some(self.branches.get(*index)?.path().join(run));
        indices.iter().filter_map(path).collect()
    }

    /// The group of a run in a branch.
    pub(super) fn group(&self, run: &str, branch: usize) -> Option<PathBuf> {
        Some(self.branches.get(branch)?.path().join(run))
    }

    /// The v1 groups of a run, each with what counts in it.
    #[cfg(feature = "stats")]
    pub(super) fn v1_groups(&self, system: System<'_>, run: &str) -> Vec<(Controller, PathBuf)> {
        let mut found = Vec::new();
        for &index in self.runs.get(run).map(Vec::as_slice).unwrap_or_default() {
            let Some(branch) = self.branches.get(index) else { continue };
            let here = system.mounted.v1.iter().filter(|(_, own)| branch.is_of(own));
            found.extend(here.map(|(controller, _)| (*controller, branch.path().join(run))));
        }
        found
    }

    /// Removes the v1 groups of a run in which nothing lives any more, and says which could not be.
    pub(crate) fn remove(&mut self, run: &str) -> Vec<(PathBuf, Errno)> {
        self.remove_left();
        let mut failed = Vec::new();
        for index in self.runs.remove(run).unwrap_or_default() {
            let Some(branch) = self.branches.get(index) else { continue };
            if let Err(errno) = branch.remove_group(run) {
                let path = branch.path().join(run);
                if errno == Errno::EBUSY {
                    self.left_is_new = true;
                    self.left.push(path.clone());
                }
                failed.push((path, errno));
            }
        }
        failed
    }

    /// Tries once more to remove the v1 groups that something was still in. False: none is left.
    pub(crate) fn remove_left(&mut self) -> bool {
        self.left.retain(|group| matches!(super::v1::remove(group), Err(Errno::EBUSY)));
        !self.left.is_empty()
    }

    /// Whether there are more of them than when this was last asked.
    pub(crate) fn take_new_left(&mut self) -> bool {
        std::mem::take(&mut self.left_is_new)
    }

    /// The controllers with which limits can probably be enforced, without making anything but for
    /// a moment.
    pub(crate) fn available(system: System<'_>, may_move: bool) -> Vec<Controller> {
        let can = |controller: &Controller| {
            let v2 = system.tree.is_ok_and(|tree| tree.is_enabled(*controller))
                || Tree::may_enable(system.mounted, *controller, may_move);
            let v1 = |(found, own): &(Controller, PathBuf)| {
                found == controller && super::v1::may_hold(own, *controller)
            };
            v2 || system.mounted.v1.iter().any(v1)
        };
        Controller::ALL.into_iter().filter(can).collect()
    }
}

impl Seat {
    fn version(self) -> Version {
        match self {
            Seat::V2 => Version::V2,
            Seat::V1(_) => Version::V1,
        }
    }
}

/// What a group without a list of its own may use.
fn cpus_of(directory: &Path, version: Version) -> String {
    let files = match version {
        Version::V2 => ["cpuset.cpus.effective", "cpuset.cpus"],
        Version::V1 => ["cpuset.effective_cpus", "cpuset.cpus"],
    };
    let lists = files.iter().filter_map(|file| read(&directory.join(file)).ok());
    lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
}

/// v2 takes a list of CPUs that are not there, and lets the group use all.
fn check_cpus(list: &str, all: &str) -> Result<(), Refused> {
    let there = settings::cpus(all);
    match settings::cpus(list).into_iter().find(|cpu| !there.contains(cpu)) {
        None => Ok(()),
        Some(cpu) => Err(Refused {
            field: settings::CPUSET,
            reason: format!("CPU {cpu} is not among {all}, which the supervisor may use"),
        }),
    }
}

/// An empty value has to be a line, since nothing happens when nothing is written.
fn line_of(value: &str) -> &str {
    if value.is_empty() { "\n" } else { value }
}

/// A limit in bytes, -1 is none.
fn bytes(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

/// The number behind a name at the beginning of a line.
fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests;
