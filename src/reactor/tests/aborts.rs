//! Starts that are taken back while their exec succeeds.

use super::*;
use crate::reactor::{CgroupMode, LaunchWay};
use crate::sys::processes;
use crate::vocabulary::{EventKind, Pid, Stage, StartError, Wall};

/// A copied start of a task with a child of its own, all of it running without our knowing.
fn started_unseen(cgroup: CgroupMode) -> (Rig, TaskId, [Pid; 2]) {
    let options = Options { cgroup, launch_way: LaunchWay::Copied, ..Options::default() };
    let mut rig = Rig::new(options);
    let args = vec!["-c".to_owned(), "sleep 300 & sleep 300".to_owned()];
    let task = rig.supervisor.launch(TaskSpec { args, ..TaskSpec::new("sh") }).expect("launched");
    assert_eq!(rig.state(task), Some(StateName::Pending));
    let main = Pid::new(rig.pid(task)).expect("positive");
    let begun = Instant::now();
    loop {
        match *processes::descendants(main) {
            [child, _] => return (rig, task, [main, child]),
            _ => assert!(begun.elapsed() < PATIENCE, "no child came"),
        }
        std::thread::yield_now();
    }
}

fn lives(pid: Pid) -> bool {
    processes::family(pid).is_some_and(|family| !family.dead)
}

#[test]
fn a_start_that_has_succeeded_is_stopped_as_a_whole() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let (mut rig, task, pids) = started_unseen(cgroup);
        rig.supervisor.stop(task, None, Some(Duration::ZERO)).expect("a task");
        rig.until(|rig| rig.state(task) == Some(StateName::Exited));
        assert_eq!(pids.map(lives), [false; 2]);
        assert!(rig.events.iter().any(|event| event.kind == EventKind::Started));
    }
}

#[test]
fn a_start_that_succeeds_after_its_failure_leaves_nothing() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let (mut rig, task, pids) = started_unseen(cgroup);
        let run = rig.supervisor.runs.get_mut(task).expect("a run");
        run.start.as_mut().expect("a start").failure = Some(StartError {
            stage: Stage::Timeout,
            errno: 0,
            errno_name: String::new(),
            message: String::new(),
            retry: true,
            time: Wall::default(),
        });
        processes::kill(pids[0], crate::vocabulary::Signal::KILL).expect("killed");
        rig.until(|rig| rig.state(task).is_none());
        assert_eq!(pids.map(lives), [false; 2]);
        assert!(!rig.events.iter().any(|event| event.kind == EventKind::Started));
        assert_eq!(rig.supervisor.groups.watched(), 0);
    }
}
