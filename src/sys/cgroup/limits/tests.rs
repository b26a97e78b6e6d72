//! Limits put in place and changed, with every call failed in turn. One test for all that makes v1
//! groups, since it counts those of this process.

use super::super::{Tree, mounted, sweep_v1};
use super::*;
use crate::sys::faults;
use std::process::{Child, Command};
use std::sync::PoisonError;

/// What the tests need: somewhere to put limits, and a process to be limited.
struct World {
    mounted: Mounted,
    tree: Tree,
    child: Child,
}

impl World {
    /// `None`: nothing can be limited here.
    fn new() -> Option<World> {
        let mounted = mounted();
        let tree = Tree::make(&mounted).ok()?;
        drop(tree.make_group("t.1").ok()?);
        let child = Command::new("sleep").arg("300").spawn().unwrap();
        let world = World { mounted, tree, child };
        let mut limits = Limits::default();
        let possible = limits.plan(world.system(), &all(10), None).is_ok();
        drop(limits);
        possible.then_some(world)
    }

    fn system(&self) -> System<'_> {
        System { mounted: &self.mounted, tree: Ok(&self.tree) }
    }

    fn pid(&self) -> Pid {
        Pid::new(self.child.id() as i32).unwrap()
    }

    /// Where the process is, in every hierarchy.
    fn place(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).unwrap()
    }

    /// Every v1 group of this process's supervisors.
    fn left(&self) -> Vec<PathBuf> {
        let start = format!("ostler-{}", std::process::id());
        let ours = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&start);
        let directories = self.mounted.v1.iter().flat_map(|(_, own)| std::fs::read_dir(own));
        directories.flatten().map(|entry| entry.unwrap().path()).filter(ours).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = self.tree.remove_group("t.1");
    }
}

fn all(pids: u64) -> Resources {
    Resources {
        pids_max: Some(Some(pids)),
        cpuset: Some("0".into()),
        memory_max: Some(Some(pids << 24)),
        cpu_max: Some(Some(0.5)),
        ..Resources::default()
    }
}

/// What is written in all groups of the run.
fn written(limits: &Limits, system: System<'_>, plan: &Plan) -> Vec<String> {
    let file = |(seat, setting): &(Seat, Setting)| {
        let directory = limits.directory(system, *seat).unwrap().join("t.1");
        std::fs::read_to_string(directory.join(setting.file)).unwrap()
    };
    plan.0.iter().map(file).collect()
}

#[test]
fn nothing_is_left_and_nothing_half_done_whatever_fails() {
    let _alone = super::super::COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(world) = World::new() else {
        println!("skipped: no permission to limit anything");
        return;
    };
    no_branch_is_left(&world);
    no_group_is_left(&world);
    what_was_in_force_stays(&world);
    what_is_new_is_taken_back(&world);
    stale_groups_are_swept(&world);
    assert_eq!(world.left(), Vec::<PathBuf>::new());
}

fn no_branch_is_left(world: &World) {
    for nth in 1.. {
        let mut limits = Limits::default();
        let injected = faults::fail_nth(nth, Errno::EIO);
        let planned = limits.plan(world.system(), &all(10), None);
        let hit = injected.hit();
        drop((injected, limits));
        assert_eq!(world.left(), Vec::<PathBuf>::new(), "{hit:?}");
        if hit.is_none() {
            assert!(planned.is_ok());
            return;
        }
    }
}

fn no_group_is_left(world: &World) {
    let mut limits = Limits::default();
    let plan = limits.plan(world.system(), &all(10), None).unwrap();
    for nth in 1.. {
        let injected = faults::fail_nth(nth, Errno::EIO);
        let made = limits.make(world.system(), "t.1", &plan);
        let hit = injected.hit();
        drop(injected);
        match hit {
            Some(call) => {
                assert_eq!(made.unwrap_err().errno, Errno::EIO, "{call}");
                assert!(limits.runs.is_empty());
                assert!(limits.branches.iter().all(|b| !b.path().join("t.1").exists()), "{call}");
            }
            None => {
                let groups = made.unwrap();
                assert!(groups.iter().all(|group| group.exists()));
                assert_eq!(limits.oom_killed(world.system(), "t.1"), Some(false));
                assert_eq!(limits.remove("t.1"), []);
                assert!(groups.iter().all(|group| !group.exists()));
                return;
            }
        }
    }
}

fn what_was_in_force_stays(world: &World) {
    let mut limits = Limits::default();
    let plan = limits.plan(world.system(), &all(10), None).unwrap();
    limits.make(world.system(), "t.1", &plan).unwrap();
    let before = written(&limits, world.system(), &plan);
    let change = limits.plan(world.system(), &all(20), Some("t.1")).unwrap();
    for nth in 1.. {
        let injected = faults::fail_nth(nth, Errno::EIO);
        let updated = limits.update(world.system(), "t.1", &change, None, || Some(Vec::new()));
        let hit = injected.hit();
        drop(injected);
        let now = written(&limits, world.system(), &plan);
        if hit.is_none() {
            assert_eq!(updated, Ok(()));
            assert_ne!(now, before);
            break;
        }
        assert!(matches!(updated, Err(NotUpdated::Failed(_))), "{updated:?}");
        assert_eq!(now, before, "{hit:?}");
    }
    assert_eq!(limits.remove("t.1"), []);
}

fn what_is_new_is_taken_back(world: &World) {
    let before = world.place();
    let processes = || Some(vec![world.pid()]);
    let wanted = Resources { memory_max: None, ..all(10) };
    for nth in 1.. {
        let mut limits = Limits::default();
        let plan = limits.plan(world.system(), &wanted, Some("t.1")).unwrap();
        let injected = faults::fail_nth(nth, Errno::EIO);
        let updated = limits.update(world.system(), "t.1", &plan, Some(world.pid()), processes);
        let hit = injected.hit();
        drop(injected);
        if hit.is_none() {
            assert_eq!(updated, Ok(()));
            let inside = limits.groups("t.1");
            assert!(inside.is_empty() || world.place() != before);
            for index in limits.runs.get("t.1").cloned().unwrap_or_default() {
                limits.take_back("t.1", index);
            }
            assert_eq!(world.place(), before);
            return;
        }
        assert!(matches!(updated, Err(NotUpdated::Failed(_))), "{hit:?}: {updated:?}");
        assert_eq!(world.place(), before, "{hit:?}");
        assert!(limits.branches.iter().all(|b| !b.path().join("t.1").exists()), "{hit:?}");
    }
}

fn stale_groups_are_swept(world: &World) {
    let Some((_, own)) = world.mounted.v1.iter().find(|(c, _)| *c == Controller::Pids) else {
        return;
    };
    // No process has an id above PID_MAX_LIMIT.
    let mark = super::super::stale::namespace_mark();
    let stale = own.join(format!("ostler-4194305{mark}-3"));
    let busy = own.join(format!("ostler-4194307{mark}"));
    std::fs::create_dir_all(stale.join("t.1")).unwrap();
    std::fs::create_dir_all(busy.join("t.1")).unwrap();
    let pid = world.pid().to_string();
    std::fs::write(busy.join("t.1/cgroup.procs"), &pid).unwrap();
    sweep_v1(&world.mounted);
    assert!(!stale.exists());
    assert!(busy.join("t.1").exists());
    std::fs::write(own.join("cgroup.procs"), &pid).unwrap();
    sweep_v1(&world.mounted);
    assert!(!busy.exists());
}
