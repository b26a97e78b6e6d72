//! A stop gets there: whichever call fails, all of the task ends, and nothing is left.

use super::*;
use crate::reactor::{CgroupMode, ExitNotification};
use crate::vocabulary::{Answer, ExitStatus, FileSink, IfExists, Leftover, Numbering, Sink};
use nix::errno::Errno;
use std::fs;
use std::path::PathBuf;

/// The kernel has no reason to refuse these to who holds the descriptor, or to whose child it is.
/// Of the last there are too many, and each only tells of one process of the system.
const SPARED: &[&str] = &["read", "ioctl", "waitid", "poll", "read(/proc/PID/stat)"];
/// Ends by itself when it is told to, and leaves a process behind.
const SCRIPT: &str = "trap 'exit 7' INT; sleep 300 & echo hello; wait";
/// What a stop whose signal could not be sent waits before it kills.
const GRACE: Duration = Duration::from_millis(200);

struct Scene {
    rig: Rig,
    directory: tempfile::TempDir,
    leftover: Leftover,
}

impl Scene {
    fn new(cgroup: CgroupMode, leftover: Leftover) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let exit_notification = ExitNotification::Pidfd;
        let rig = Rig::new(Options { cgroup, exit_notification, ..Options::default() });
        Scene { rig, directory, leftover }
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    /// Launches the task, and waits until it can be told to end.
    fn launch(&mut self) {
        let _ = fs::remove_file(self.out());
        let path = self.out().display().to_string();
        let sink = FileSink {
            max_size: Some(1 << 20),
            numbering: Numbering::Shift,
            ..FileSink::new(path)
        };
        let spec = TaskSpec {
            name: Some("t".to_owned()),
            args: vec!["-c".to_owned(), SCRIPT.to_owned()],
            stdout: Some(Sink::File(sink)),
            leftover: self.leftover,
            ..TaskSpec::new("sh")
        };
        let launch =
            Request::Launch { spec: Box::new(spec), if_exists: IfExists::Fail, timeout: PATIENCE };
        let launched = self.rig.ask(launch);
        assert!(matches!(launched, Ok(Answer::Status(_))), "{launched:?}");
        let out = self.out();
        self.rig.until(|_| fs::read(&out).is_ok_and(|text| text.ends_with(b"hello\n")));
    }

    /// Stops and forgets it; how its main process ended.
    #[track_caller]
    fn stop(&mut self, grace: Duration) -> ExitStatus {
        let stop = Request::Stop { name: "t".to_owned(), signal: None, grace: Some(grace) };
        let stopped = self.rig.ask(stop);
        let Ok(Answer::Status(status)) = stopped else { panic!("{stopped:?}") };
        assert_eq!((status.state, status.pid), (StateName::Exited, None));
        let task = self.rig.supervisor.find("t").expect("a task");
        let pending = |rig: &Rig| rig.supervisor.status(task).is_some_and(|now| now.output_pending);
        self.rig.until(|rig| !pending(rig));
        let removed = self.rig.ask(Request::Remove { name: "t".to_owned(), force: false });
        assert_eq!(removed, Ok(Answer::Done));
        status.exit.expect("an end").status
    }

    #[track_caller]
    fn nothing_is_left(&mut self, before: usize, told: &str) {
        let begun = Instant::now();
        while !task_groups(&self.rig.supervisor).is_empty() && begun.elapsed() < PATIENCE {
            self.rig.turn();
        }
        assert_eq!(task_groups(&self.rig.supervisor), [""; 0], "{told}");
        assert_eq!(children(), [""; 0], "{told}");
        assert_eq!(descriptors().len(), before, "{told}");
        assert_eq!(self.rig.supervisor.groups.watched(), 0, "{told}");
        assert_eq!(self.rig.supervisor.runs.len(), 0, "{told}");
    }
}

/// Fails each call of a stop in turn, with grace and without.
fn each_failing_call(cgroup: CgroupMode, leftover: Leftover) {
    leave_the_descriptors_of_others();
    let mut scene = Scene::new(cgroup, leftover);
    scene.launch();
    assert_eq!(scene.stop(PATIENCE), ExitStatus::Exited(7));
    let before = descriptors().len();
    for grace in [GRACE, Duration::ZERO] {
        for nth in 1.. {
            scene.launch();
            let injected = faults::fail_nth_but(nth, Errno::ENOMEM, SPARED);
            let ended = scene.stop(grace);
            let hit = injected.hit();
            drop(injected);
            let Some(call) = hit else {
                assert!(nth > 3, "{nth} calls");
                break;
            };
            let told = format!("grace {grace:?}, call {nth} ({call}) failed: {ended:?}");
            let by_itself = ended == ExitStatus::Exited(7) && !grace.is_zero();
            assert!(by_itself || ended == ExitStatus::Signaled(9), "{told}");
            scene.nothing_is_left(before, &told);
        }
    }
}

#[test]
fn each_failing_call_with_a_group() {
    each_failing_call(CgroupMode::Auto, Leftover::Kill);
}

#[test]
fn each_failing_call_with_a_group_that_is_awaited() {
    each_failing_call(CgroupMode::Auto, Leftover::Wait);
}

#[test]
fn each_failing_call_with_a_session() {
    each_failing_call(CgroupMode::Never, Leftover::Kill);
}
