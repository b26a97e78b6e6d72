//! The journal: whichever of its calls fail, and however, what was told is known to the next
//! supervisor once they work again, and nothing is started that it would not know of.

use super::*;
use crate::reactor::CgroupMode;
use crate::vocabulary::{Answer, ExitStatus, IfExists, RequestError, Stage};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use std::path::Path;

/// All that the journal does.
const CALLS: &[&str] =
    &["open(journal)", "write(journal)", "ftruncate(journal)", "fstat(journal)", "rename(journal)"];

/// Tasks as they were told to be.
#[derive(Default, Debug)]
struct Told {
    /// Names of those that could not be launched.
    refused: Vec<&'static str>,
    /// Those that run, each with its process.
    running: Vec<(&'static str, i32)>,
    /// Those that have ended with 7.
    ended: Vec<&'static str>,
}

fn reopen(state: &Path) -> std::io::Result<Rig> {
    let state_dir = Some(state.to_owned());
    let options = Options { cgroup: CgroupMode::Auto, state_dir, ..Options::default() };
    Ok(Rig { supervisor: Supervisor::reopen(options)?, events: Vec::new() })
}

fn spec(name: &str, script: &str) -> Box<TaskSpec> {
    let args = vec!["-c".to_owned(), script.to_owned()];
    Box::new(TaskSpec { name: Some(name.to_owned()), args, ..TaskSpec::new("/bin/sh") })
}

impl Told {
    fn launch(&mut self, rig: &mut Rig, name: &'static str, errno: Errno) {
        let spec = spec(name, "exec sleep 300");
        let launch = Request::Launch { spec, if_exists: IfExists::Fail, timeout: PATIENCE };
        match rig.ask(launch) {
            Ok(Answer::Status(status)) => {
                self.running.push((name, status.pid.expect("a process").number()));
            }
            refused => self.check_refusal(name, refused, errno),
        }
    }

    fn run(&mut self, rig: &mut Rig, name: &'static str, errno: Errno) {
        let spec = spec(name, "exit 7");
        match rig.ask(Request::Launch { spec, if_exists: IfExists::Fail, timeout: PATIENCE }) {
            Ok(_) => {
                let wait = Request::Wait { name: name.to_owned(), id: None, timeout: None };
                let Ok(Answer::Status(status)) = rig.ask(wait) else { panic!("{name}") };
                let how = status.exit.map(|exit| exit.status);
                assert_eq!(how, Some(ExitStatus::Exited(7)));
                self.ended.push(name);
            }
            refused => self.check_refusal(name, refused, errno),
        }
    }

    fn check_refusal(&mut self, name: &'static str, reply: Reply, errno: Errno) {
        let Err(RequestError::LaunchFailed(error)) = reply else { panic!("{name}: {reply:?}") };
        assert_eq!((error.stage, error.retry), (Stage::Journal, true), "{error}");
        // It could not be begun, or so it says.
        assert!(error.errno == errno as i32 || error.errno == 0, "{error}");
        self.refused.push(name);
    }

    /// All of it is so still.
    #[track_caller]
    fn check(&self, rig: &Rig, told: &str) {
        let status = |name: &str| {
            let task = rig.supervisor.find(name);
            task.and_then(|task| rig.supervisor.status(task))
        };
        for (name, pid) in &self.running {
            let status = status(name).unwrap_or_else(|| panic!("{told}: {name} is lost"));
            assert_eq!(status.state, StateName::Running, "{told}: {name}");
            assert_eq!(status.pid.map(|pid| pid.number()), Some(*pid), "{told}: {name}");
        }
        for name in &self.ended {
            let status = status(name).unwrap_or_else(|| panic!("{told}: {name} is lost"));
            let exit = status.exit.map(|exit| exit.status);
            assert_eq!(exit, Some(ExitStatus::Exited(7)), "{told}: {name}");
        }
        for name in &self.refused {
            // A launch that was refused is not there, or is one that has failed.
            let pid = status(name).and_then(|status| status.pid);
            assert_eq!(pid, None, "{told}: {name}");
        }
        let known = rig.supervisor.tasks().count();
        assert!(known <= self.running.len() + self.ended.len() + self.refused.len(), "{told}");
    }
}

/// Removes every task; these are children of this thread that no supervisor reaps.
fn remove_all(mut rig: Rig, told: &str) {
    let tasks: Vec<TaskId> = rig.supervisor.tasks().collect();
    for task in tasks {
        rig.supervisor.remove(task, true).unwrap_or_else(|error| panic!("{told}: {error}"));
    }
    rig.until(|rig| {
        let _ = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WNOTHREAD));
        let is_empty = task_groups(&rig.supervisor).is_empty();
        is_empty && rig.supervisor.tasks().next().is_none() && children().is_empty()
    });
}

/// A supervisor and the next one, both of which may fail to keep their state.
fn live(state: &Path, errno: Errno, nth: u64, count: u64) -> Option<Told> {
    let injected = faults::fail_of(nth, count, errno, CALLS);
    let mut told = Told::default();
    let open = || {
        reopen(state).unwrap_or_else(|error| {
            assert!(injected.hit().is_some(), "{error}");
            // It may fail more than once.
            let mut again = reopen(state);
            for _ in 1..count {
                again = again.or_else(|_| reopen(state));
            }
            again.expect("calls that work")
        })
    };
    let mut rig = open();
    told.launch(&mut rig, "first", errno);
    told.run(&mut rig, "second", errno);
    // As it is tried again after a while.
    while rig.supervisor.take_down().is_err() {}
    drop(rig);
    let mut rig = open();
    told.run(&mut rig, "third", errno);
    told.launch(&mut rig, "fourth", errno);
    let hit = injected.hit();
    drop(injected);
    // Nothing fails any more, and nothing is held back by what has failed.
    told.run(&mut rig, "fifth", errno);
    told.launch(&mut rig, "sixth", errno);
    let text = format!("{errno}, {count} from call {nth} on ({hit:?}): {told:?}");
    assert!(told.ended.contains(&"fifth") && told.running.iter().any(|t| t.0 == "sixth"), "{text}");
    drop(rig);
    let rig = reopen(state).unwrap_or_else(|error| panic!("{text}: {error}"));
    told.check(&rig, &text);
    remove_all(rig, &text);
    hit.map(|_| told)
}

/// `counts`: how many fail in a row.
fn each_failing_call(errno: Errno, counts: &[u64]) {
    leave_the_descriptors_of_others();
    for &count in counts {
        let mut refused = 0;
        for nth in 1.. {
            let directory = tempfile::tempdir().expect("a directory");
            let before = descriptors().len();
            let told = live(&directory.path().join("state"), errno, nth, count);
            assert_eq!(descriptors().len(), before);
            let Some(told) = told else {
                assert!(nth > 10, "{nth} calls");
                break;
            };
            refused += told.refused.len();
        }
        // What a signal has interrupted is made again.
        assert_eq!(refused > 3, errno != Errno::EINTR, "{refused} refused");
    }
}

#[test]
fn each_failing_call_on_a_full_disk() {
    each_failing_call(Errno::ENOSPC, &[1, 3]);
}

#[test]
fn each_failing_call_on_a_broken_disk() {
    each_failing_call(Errno::EIO, &[1]);
}

#[test]
fn each_failing_call_without_descriptors() {
    each_failing_call(Errno::EMFILE, &[1, 3]);
}

#[test]
fn each_failing_call_without_memory() {
    each_failing_call(Errno::ENOMEM, &[1]);
}

#[test]
fn each_interrupted_call() {
    each_failing_call(Errno::EINTR, &[1]);
}
