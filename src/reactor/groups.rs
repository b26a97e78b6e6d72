//! The groups of tasks: made for each run, killed, and removed when they are empty.

mod watched;

use super::CgroupMode;
use super::token::{GENERATION_MASK, Key};
use crate::sys::cgroup::{self, Limits, Mounted, NoTree, System, Tree};
use crate::sys::failure::start_error;
use crate::sys::spawn::Placement;
use crate::vocabulary::{ExecId, Identity, Pid, Stage, StartError, TaskId, Wall};
use nix::errno::Errno;
use slab::Slab;
use std::fmt::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// How soon a group that could not be removed is tried again; doubled up to the second.
const TRY_AGAIN: Duration = Duration::from_millis(1);
const TRY_AGAIN_MAX: Duration = Duration::from_millis(100);
/// How often what fails for another reason than processes in the group is tried again.
const TRIES_MAX: u32 = 8;
/// Names that are tried for the group of a command.
const NAMES_MAX: u32 = 64;

/// Of a dot and the number of most runs.
const RUN_BYTES: usize = 12;

/// All groups of this supervisor.
#[derive(Debug)]
pub(super) struct Groups {
    /// Of the supervisor, the same for all that go on with its tasks.
    instance: String,
    mounted: Mounted,
    own_process: bool,
    wanted: bool,
    tree: Result<Option<Tree>, NoTree>,
    /// The first launch has made sure that this process is where it is to be.
    moved: bool,
    pub(super) limits: Limits,
    watched: Slab<Watched>,
    next_generation: u32,
    /// How often the v1 groups were tried that something was still in.
    tries_of_left: u32,
}

/// A group that is to become empty.
#[derive(Debug)]
struct Watched {
    generation: u32,
    leaf: String,
    /// `None` where no descriptor could be had: then time tells.
    events: Option<OwnedFd>,
    /// Who waits for it.
    owner: Option<Holder>,
    /// What is in it is still to be killed.
    kill: bool,
    tries: u32,
}

/// Who waits for a group to become empty.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// The run of a task.
    Run(TaskId),
    /// A command in a task.
    Exec(ExecId),
}

/// Where a command in a task is put.
#[derive(Debug, Default)]
pub(super) struct Place {
    pub(super) placement: Option<Placement>,
    /// The name of its group, where that is its own.
    pub(super) leaf: Option<String>,
}

/// What became of a group whose main process is gone.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Finish {
    /// It is removed; whether the OOM killer ended a process in it, where somebody counts.
    Gone(Option<bool>),
    /// Something is left in it.
    Watch(Key),
}

impl Groups {
    pub(super) fn new(
        mode: CgroupMode,
        own_process: bool,
        mounted: Mounted,
        instance: &str,
    ) -> Groups {
        let tree = match mode {
            CgroupMode::Never => Err(NoTree("not wanted".to_owned())),
            CgroupMode::Auto | CgroupMode::Require => Ok(None),
        };
        Groups {
            instance: instance.to_owned(),
            mounted,
            own_process,
            wanted: mode != CgroupMode::Never,
            tree,
            moved: false,
            limits: Limits::default(),
            watched: Slab::new(),
            next_generation: 0,
            tries_of_left: 0,
        }
    }

    pub(super) fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// Whether a task can have a group, as far as is known before the first launch.
    pub(super) fn can_kill(&self) -> bool {
        match &self.tree {
            Ok(tree) => tree.is_some() || Tree::may_be_made(&self.mounted),
            Err(_) => false,
        }
    }

    /// How far the making of the tree is: untried, made, impossible.
    pub(super) fn stage(&self) -> usize {
        match &self.tree {
            Ok(None) => 0,
            Ok(Some(_)) => 1,
            Err(_) => 2,
        }
    }

    /// The tree, made when it is first wanted.
    pub(super) fn tree(&mut self) -> Result<&Tree, &NoTree> {
        if matches!(self.tree, Ok(None)) {
            cgroup::sweep_v1(&self.mounted);
            self.tree = Tree::make(&self.mounted).map(Some);
            if let Err(NoTree(reason)) = &self.tree {
                log::info!("tasks get no cgroup: {reason}");
            }
        }
        match &self.tree {
            Ok(Some(tree)) => Ok(tree),
            Err(reason) => Err(reason),
            // The line above has made it one of the others.
            Ok(None) => Err(&UNTRIED),
        }
    }

    /// Makes the tree and moves out of its way, as far as that can be done.
    pub(super) fn prepare(&mut self) {
        self.move_in();
        let _ = self.tree();
    }

    /// Where limits can be put.
    pub(super) fn system(&self) -> System<'_> {
        system(&self.mounted, &self.tree)
    }

    pub(super) fn limits_and_system(&mut self) -> (&mut Limits, System<'_>) {
        (&mut self.limits, system(&self.mounted, &self.tree))
    }

    /// Goes on with the tree of an earlier supervisor, where it is still there. `is_needed`: tasks
    /// may live in groups elsewhere.
    pub(super) fn reuse(&mut self, path: &Path, is_needed: bool) {
        cgroup::sweep_v1(&self.mounted);
        match Tree::reuse(&self.mounted, path) {
            Ok(tree) => {
                self.limits.reuse(&tree);
                self.tree = Ok(Some(tree));
            }
            // Then nothing lives in it.
            Err(Errno::ENOENT) => {
                if is_needed {
                    // The reason why there is none has been logged.
                    let _ = self.tree();
                }
            }
            Err(errno) => log::warn!(
                "the groups of tasks in {} are out of reach: {}",
                path.display(),
                errno.desc()
            ),
        }
    }

    /// Goes on with the tree of the program before this one, in which this process may be; `home`:
    /// where it was before.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(&mut self, path: &Path, home: Option<&Path>) {
        let inside = cgroup::is_in_tree(&self.mounted, path);
        if inside && let Some(home) = home {
            self.mounted.own = Some(home.to_owned());
        }
        self.reuse(path, true);
        if let Ok(Some(tree)) = &mut self.tree {
            tree.go_on(inside);
        }
        self.moved = inside;
    }

    /// The groups of runs in the tree.
    pub(super) fn leaves(&self) -> Vec<String> {
        match &self.tree {
            Ok(Some(tree)) => tree.groups_in("."),
            _ => Vec::new(),
        }
    }

    /// Where groups are made, once there is such a place.
    pub(super) fn tree_path(&self) -> Option<&Path> {
        match &self.tree {
            Ok(Some(tree)) => Some(tree.path()),
            _ => None,
        }
    }

    /// Whether this process leaves its own group for one in its tree.
    pub(super) fn is_movable(&self) -> bool {
        self.own_process
    }

    /// Whether tasks are to have groups at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether tasks have groups, or an error of one of them is that one's own.
    pub(super) fn has_tree(&self) -> bool {
        matches!(self.tree, Ok(Some(_)))
    }

    /// The name of a run's group: in the tree, or where the task wants it. What stands there may
    /// be another supervisor's as well: that name says whose it is.
    pub(super) fn leaf(&self, identity: &Identity, run: u64) -> String {
        let mut leaf = String::with_capacity(identity.name.len() + RUN_BYTES);
        leaf.push_str(&identity.name);
        // Cannot fail: a string takes all that it is given.
        let _ = write!(leaf, ".{run}");
        let Some(cgroup) = identity.cgroup() else { return leaf };
        match self.mounted.inside(cgroup) {
            Some(group) => {
                group.join(format!("ostler-{}.{leaf}", self.instance)).display().to_string()
            }
            None => leaf,
        }
    }

    /// Makes the group of one run.
    pub(super) fn make(&mut self, leaf: &str) -> Result<Placement, StartError> {
        self.move_in();
        let made = self.make_in_tree(leaf);
        if made.is_err()
            && let Ok(Some(tree)) = &self.tree
            && !tree.path().exists()
        {
            // A supervisor beside us took it for that of one that is gone, which it was once.
            log::warn!("{} was removed: tasks get a new one", tree.path().display());
            self.forget_tree();
            self.moved = false;
            self.move_in();
            return self.make_in_tree(leaf);
        }
        made
    }

    fn make_in_tree(&mut self, leaf: &str) -> Result<Placement, StartError> {
        let tree = self.tree().map_err(|NoTree(reason)| StartError {
            stage: Stage::Cgroup,
            errno: 0,
            errno_name: String::new(),
            message: format!("make a cgroup: {reason}"),
            retry: false,
            time: Wall::default(),
        })?;
        match tree.make_group(leaf) {
            Ok(directory) => Ok(Placement::new(directory, tree.path().join(leaf))),
            Err(errno) => {
                let path = tree.path().join(leaf);
                Err(start_error(Stage::Cgroup, errno, format!("make cgroup {}", path.display())))
            }
        }
    }

    /// Where a command that is run in a living run is put: into a group of its own inside that of
    /// the run, or else into that itself, and into the v1 groups of the run. `number` makes its
    /// name, and is raised while that is taken.
    pub(super) fn place_exec(
        &self,
        leaf: &str,
        number: &mut u64,
        contained: bool,
    ) -> Result<Place, StartError> {
        let others = self.limits.groups(leaf);
        let tree = match &self.tree {
            Ok(Some(tree)) if contained => tree,
            _ => {
                let placement = Placement::and_into(None, others, true);
                return Ok(Place { placement, leaf: None });
            }
        };
        for _ in 0..NAMES_MAX {
            *number += 1;
            let own = format!("{leaf}/exec.{number}");
            let made = match tree.make_group(&own) {
                // Left by an earlier supervisor: what was in it was killed at the adoption.
                Err(Errno::EEXIST) => tree.remove_group(&own).and_then(|()| tree.make_group(&own)),
                made => made,
            };
            match made {
                Ok(directory) => {
                    let placement = Placement::in_living(directory, tree.path().join(&own), others);
                    return Ok(Place { placement: Some(placement), leaf: Some(own) });
                }
                // It is not empty yet, or the task's own.
                Err(Errno::EBUSY | Errno::EEXIST) => {}
                Err(_) => break,
            }
        }
        // The task may have forbidden it (cgroup.max.depth).
        let path = tree.path().join(leaf);
        match tree.open_group(leaf) {
            Ok(directory) => {
                let placement = Placement::in_living(directory, path, others);
                Ok(Place { placement: Some(placement), leaf: None })
            }
            Err(errno) => {
                let tried = format!("open cgroup {}", path.display());
                Err(start_error(Stage::Cgroup, errno, tried))
            }
        }
    }

    /// The next launch makes a tree, in which nothing is.
    fn forget_tree(&mut self) {
        self.tree = Ok(None);
        self.limits.forget_tree();
    }

    /// Moves a process of our own out of the way of its tasks' groups, before the first launch.
    fn move_in(&mut self) {
        if self.moved {
            return;
        }
        self.moved = true;
        if let Ok(Some(tree)) = &self.tree
            && tree.is_reused()
            && self.leaves().is_empty()
        {
            // Any supervisor beside us may remove it.
            self.forget_tree();
        }
        if !self.own_process || self.tree().is_err() {
            return;
        }
        if let Ok(Some(tree)) = &mut self.tree
            && let Err(reason) = tree.move_in()
        {
            if tree.is_reused() {
                // Tasks live in it.
                log::warn!("the supervisor stays outside of its tree: {}", reason.0);
                return;
            }
            log::warn!("tasks get no cgroup: {}", reason.0);
            self.tree = Err(reason);
        }
    }

    /// Removes what there is of a run that no v2 group holds, which has ended. The answer: whether
    /// the OOM killer ended a process of it.
    pub(super) fn release(&mut self, leaf: &str) -> Option<bool> {
        let oom_killed = self.oom_killed(leaf);
        self.remove_limits(leaf);
        oom_killed
    }

    pub(super) fn kill(&self, leaf: &str) -> Result<(), Errno> {
        match &self.tree {
            Ok(Some(tree)) => tree.kill_group(leaf),
            _ => Err(Errno::ENOENT),
        }
    }

    /// Kills the commands that an earlier supervisor ran in a task: who asked for them is gone.
    pub(super) fn kill_commands(&self, leaf: &str) {
        let Ok(Some(tree)) = &self.tree else { return };
        if !tree.may_have_groups_in(leaf) {
            return;
        }
        for group in tree.groups_in(leaf).iter().filter(|name| name.starts_with("exec.")) {
            let group = format!("{leaf}/{group}");
            // Mostly all of it has died with that supervisor.
            if tree.remove_group_recursively(&group).is_ok() {
                continue;
            }
            if let Err(errno) = tree.kill_group(&group) {
                log::warn!("cannot kill cgroup {group}: {}", errno.desc());
            }
        }
    }

    pub(super) fn processes(&self, leaf: &str) -> Vec<Pid> {
        match &self.tree {
            Ok(Some(tree)) => tree.processes(leaf),
            _ => Vec::new(),
        }
    }

    /// The path of a run's group.
    pub(super) fn path(&self, leaf: &str) -> Option<String> {
        match &self.tree {
            Ok(Some(tree)) => Some(tree.path().join(leaf).display().to_string()),
            _ => None,
        }
    }

    /// Removes a group whose main process is gone; what is left in it is killed or watched.
    pub(super) fn finish(&mut self, leaf: String, owner: Option<Holder>, kill: bool) -> Finish {
        let oom_killed = self.oom_killed(&leaf);
        let Ok(Some(tree)) = &self.tree else {
            self.remove_limits(&leaf);
            return Finish::Gone(oom_killed);
        };
        if tree.remove_group(&leaf).is_ok() {
            self.remove_limits(&leaf);
            return Finish::Gone(oom_killed);
        }
        let events = tree.open_events(&leaf).ok();
        self.next_generation = self.next_generation.wrapping_add(1) & GENERATION_MASK;
        let generation = self.next_generation;
        let watched = Watched { generation, leaf, events, owner, kill, tries: 0 };
        Finish::Watch(Key { index: self.watched.insert(watched) as u32, generation })
    }

    /// What is left in a watched group is to be killed.
    pub(super) fn kill_watched(&mut self, key: Key) {
        if let Some(watched) = self.get_mut(key) {
            watched.kill = true;
        }
    }

    /// How many groups are watched.
    #[cfg(test)]
    pub(super) fn watched(&self) -> usize {
        self.watched.len()
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut Watched> {
        self.watched.get_mut(key.index as usize).filter(|w| w.generation == key.generation)
    }
}

static UNTRIED: NoTree = NoTree(String::new());

fn system<'a>(mounted: &'a Mounted, tree: &'a Result<Option<Tree>, NoTree>) -> System<'a> {
    let tree = match tree {
        Ok(Some(tree)) => Ok(tree),
        Ok(None) => Err(&UNTRIED),
        Err(reason) => Err(reason),
    };
    System { mounted, tree }
}
