//! The supervisor on real processes, with a view of what it holds and of the calls that it makes.

mod aborts;
mod execs;
mod failures;
mod groups;
mod looks;
#[cfg(feature = "stats")]
mod sampling;
mod turns;

use super::{Options, Supervisor};
use crate::sys::faults;
use crate::vocabulary::{Event, StateName, TaskId, TaskSpec};
use std::time::{Duration, Instant};

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at that no event tells of.
const GLANCE: Duration = Duration::from_millis(5);

struct Rig {
    supervisor: Supervisor,
    events: Vec<Event>,
}

fn sleeper(name: &str) -> TaskSpec {
    let (name, args) = (Some(name.to_owned()), vec!["300".to_owned()]);
    TaskSpec { name, args, ..TaskSpec::new("/bin/sleep") }
}

impl Rig {
    fn new(options: Options) -> Rig {
        let supervisor = Supervisor::new(options).expect("a supervisor");
        Rig { supervisor, events: Vec::new() }
    }

    fn turn(&mut self) {
        self.supervisor.turn(Some(GLANCE), &mut self.events).expect("a turn");
    }

    /// Turns the loop until `done`.
    #[track_caller]
    fn until(&mut self, mut done: impl FnMut(&mut Rig) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "nothing came: {:#?}", self.events);
            self.turn();
        }
    }

    fn state(&self, task: TaskId) -> Option<StateName> {
        self.supervisor.status(task).map(|status| status.state)
    }

    /// The main process of a task that runs.
    fn pid(&self, task: TaskId) -> i32 {
        let pid = self.supervisor.status(task).and_then(|status| status.pid);
        pid.expect("a process").number()
    }
}

/// Waits, without a turn of the loop, until a child has ended and is not reaped.
fn until_dead(pid: i32) {
    let begun = Instant::now();
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.contains(") Z ") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{pid} lives on");
        std::thread::yield_now();
    }
}
