//! The supervisor on real processes, with a view of what it holds and of the calls that it makes.

mod aborts;
#[cfg(feature = "control")]
mod adoptions;
mod execs;
mod failures;
mod groups;
#[cfg(feature = "control")]
mod journals;
mod looks;
#[cfg(feature = "stats")]
mod sampling;
mod stops;
mod turns;

use super::{Options, Supervisor};
use crate::sys::faults;
use crate::vocabulary::{Event, Reply, Request, StateName, TaskId, TaskSpec};
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

    #[track_caller]
    fn ask(&mut self, request: Request) -> Reply {
        let ticket = self.supervisor.submit(request);
        let mut answer = None;
        self.until(|rig| {
            answer = rig.supervisor.next_reply();
            answer.is_some()
        });
        let (answered, reply) = answer.expect("an answer");
        assert_eq!(answered, ticket);
        reply
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

/// Gives this thread a descriptor table of its own, with nothing in it: what is counted there is
/// of this test alone, and nothing of the others is held.
fn leave_the_descriptors_of_others() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).expect("unshare");
    for fd in descriptors().into_iter().filter(|&fd| fd > 2) {
        // That of the listing itself is closed by now.
        let _ = nix::unistd::close(fd);
    }
}

fn descriptors() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/thread-self/fd").expect("a listing");
    entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// The processes that this thread has made.
fn children() -> Vec<String> {
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("a listing");
    children.split_whitespace().map(str::to_owned).collect()
}

/// Groups of tasks that are there.
fn task_groups(supervisor: &Supervisor) -> Vec<String> {
    let Some(leaf) = supervisor.groups.path("t.1") else { return Vec::new() };
    let Some(tree) = std::path::Path::new(&leaf).parent() else { return Vec::new() };
    // One that is empty may have been swept away by a supervisor beside us.
    let entries = match std::fs::read_dir(tree) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        entries => entries.expect("a tree").flatten(),
    };
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().display().to_string())
        .collect()
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
