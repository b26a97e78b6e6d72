//! The watch of a group that is to become empty.

use super::*;
use crate::vocabulary::Leftover;

#[test]
fn a_group_is_watched_once_however_often_its_end_is_asked_for() {
    let mut rig = Rig::new(Options::default());
    let args = vec!["-c".to_owned(), "sleep 300 & exit 0".to_owned()];
    let spec = TaskSpec { args, leftover: Leftover::Wait, ..TaskSpec::new("sh") };
    let task = rig.supervisor.launch(spec).expect("launched");
    rig.until(|rig| rig.supervisor.status(task).is_some_and(|status| status.pid.is_none()));
    if rig.supervisor.groups.path("x.1").is_none() {
        println!("skipped: no permission to make cgroups");
        return rig.supervisor.remove(task, true).expect("a task");
    }
    assert_eq!(rig.supervisor.groups.watched(), 1);
    for _ in 0..2 {
        rig.supervisor.stop(task, None, Some(Duration::ZERO)).expect("a task");
        // A second watch would tell the end of this run to the next one.
        assert!(rig.supervisor.groups.watched() <= 1);
    }
    rig.until(|rig| rig.state(task) == Some(StateName::Exited));
    assert_eq!(rig.supervisor.groups.watched(), 0);
}
