//! What a look at what is left of sessions costs.

use super::*;
use crate::reactor::CgroupMode;

#[test]
fn one_look_serves_all_that_end_together() {
    const TASKS: usize = 30;
    let options = Options { cgroup: CgroupMode::Never, ..Options::default() };
    let mut rig = Rig::new(options);
    let tasks: Vec<TaskId> = (0..TASKS)
        .map(|number| rig.supervisor.launch(sleeper(&format!("t{number}"))).expect("launched"))
        .collect();
    rig.until(|rig| tasks.iter().all(|&task| rig.state(task) == Some(StateName::Running)));
    let pids: Vec<i32> = tasks.iter().map(|&task| rig.pid(task)).collect();
    for &task in &tasks {
        rig.supervisor.stop(task, None, Some(Duration::ZERO)).expect("a task");
    }
    pids.into_iter().for_each(until_dead);
    let before = faults::calls("getdents64(/proc)");
    rig.until(|rig| tasks.iter().all(|&task| rig.state(task) == Some(StateName::Exited)));
    let looks = faults::calls("getdents64(/proc)") - before;
    assert_eq!(looks, 1, "{TASKS} tasks have ended at once");
}
