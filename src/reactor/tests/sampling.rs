//! What a measurement costs, and what it says where the kernel refuses something.

use super::*;
use crate::reactor::CgroupMode;
use crate::vocabulary::limits::STATS_FRESH;
use crate::vocabulary::{TaskStats, Usage};
use nix::errno::Errno;

const OPEN: &str = "openat(/proc or cgroup file)";

/// A task with three processes that sleep.
fn sleepers(cgroup: CgroupMode) -> (Rig, TaskId) {
    let mut rig = Rig::new(Options { cgroup, ..Options::default() });
    let args = vec!["-c".into(), "sleep 300 & sleep 300 & wait".into()];
    let task = rig.supervisor.launch(TaskSpec { args, ..TaskSpec::new("/bin/sh") });
    let task = task.expect("launched");
    let mut before = None;
    rig.until(|rig| {
        std::thread::sleep(STATS_FRESH);
        let usage = measure(rig, task).total;
        let cpu = usage.cpu_us();
        // All are there, and none has done anything since the last look.
        let sleeps = usage.processes == Some(3) && before == Some(cpu);
        before = Some(cpu);
        sleeps
    });
    (rig, task)
}

fn measure(rig: &mut Rig, task: TaskId) -> TaskStats {
    rig.supervisor.stats(task, false).expect("it has a process")
}

#[test]
fn what_has_not_run_is_not_read_again() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let (mut rig, task) = sleepers(cgroup);
        let grouped = rig.supervisor.status(task).is_some_and(|status| {
            status.containment == Some(crate::vocabulary::Containment::CgroupV2)
        });
        std::thread::sleep(STATS_FRESH);
        let (opened, first) = (faults::calls(OPEN), measure(&mut rig, task));
        // Without a group, orphans are looked for among all processes.
        let expected = if grouped { 1 } else { looked_for(&mut rig) };
        assert!(faults::calls(OPEN) - opened <= expected, "{cgroup:?}");
        assert_eq!(first.total.cpu_percent, Some(0.0), "{cgroup:?}");
        // A moment later it is not even asked whether it has run.
        let opened = faults::calls(OPEN);
        assert_eq!(measure(&mut rig, task), first);
        assert_eq!(faults::calls(OPEN), opened, "{cgroup:?}");
        rig.supervisor.remove(task, true).expect("a task");
    }
}

/// What a search for orphans may open.
fn looked_for(rig: &mut Rig) -> u64 {
    let _ = rig;
    crate::sys::processes::all().len() as u64 + 100
}
