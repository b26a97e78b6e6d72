//! Commands in tasks: whichever call fails, what is told is true, and nothing is left.

use super::*;
use crate::reactor::{CgroupMode, ExecEnds};
use crate::sys::pipe;
use crate::vocabulary::{
    Answer, ExecSpec, ExecStreams, ExitStatus, Reply, Request, RequestError, Signal, Ticket,
    WindowSize,
};
use nix::errno::Errno;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// Of these there are too many, each only tells of one process of the system, or the kernel has no
/// reason to refuse them to who holds the descriptor.
const SPARED: &[&str] =
    &["read", "ioctl", "waitid", "poll", "read(/proc/PID/stat)", "pidfd_send_signal", "kill"];

/// Leaves a process behind, to be killed.
const SCRIPT: &str = "sleep 300 & echo hello; echo oops >&2; exit 7";

fn shell(script: &str) -> ExecSpec {
    ExecSpec { args: vec!["-c".into(), script.into()], ..ExecSpec::new("sh") }
}

fn request(spec: ExecSpec) -> Request {
    Request::Exec { name: "t".into(), spec: Box::new(spec) }
}

/// A task, with a descriptor table and children of this thread's own.
struct Scene {
    rig: Rig,
    task: TaskId,
}

impl Scene {
    fn new(cgroup: CgroupMode) -> Scene {
        leave_the_descriptors_of_others();
        let mut rig = Rig::new(Options { cgroup, ..Options::default() });
        let task = rig.supervisor.launch(sleeper("t")).expect("launched");
        rig.until(|rig| rig.state(task) == Some(StateName::Running));
        Scene { rig, task }
    }

    fn answer(&mut self, ticket: Ticket) -> Reply {
        let (answered, reply) = self.next_answer();
        assert_eq!(answered, ticket);
        reply
    }

    fn next_answer(&mut self) -> (Ticket, Reply) {
        let mut answer = None;
        self.rig.until(|rig| {
            answer = rig.supervisor.next_reply();
            answer.is_some()
        });
        answer.expect("an answer")
    }

    fn ask(&mut self, spec: ExecSpec) -> Reply {
        let ticket = self.rig.supervisor.submit(request(spec));
        self.answer(ticket)
    }

    /// Groups of commands that are there.
    fn groups(&self) -> Vec<String> {
        let Some(leaf) = self.rig.supervisor.groups.path("t.1") else { return Vec::new() };
        let Ok(entries) = fs::read_dir(Path::new(&leaf)) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().display().to_string());
        names.filter(|name| name.starts_with("exec.")).collect()
    }

    /// Waits until the commands are forgotten.
    fn nothing_is_left(&mut self, before: usize, told: &str) {
        let begun = Instant::now();
        while !(self.groups().is_empty() && self.rig.supervisor.execs.entries() == 0) {
            assert!(begun.elapsed() < PATIENCE, "{told}: {:?}", self.rig.supervisor.execs);
            self.rig.turn();
        }
        let main = self.rig.pid(self.task).to_string();
        assert_eq!(children(), [main], "{told}");
        assert_eq!(descriptors().len(), before, "{told}");
        assert_eq!(self.rig.supervisor.groups.watched(), 0, "{told}");
        assert!(!self.rig.supervisor.execs.has_more(), "{told}");
    }

    fn end(mut self) {
        self.rig.supervisor.remove(self.task, true).expect("removed");
        let task = self.task;
        self.rig.until(|rig| rig.state(task).is_none());
    }
}

/// The whole life of a command whose streams are taken.
fn live_with_streams(scene: &mut Scene, streams: ExecStreams) -> Result<(), RequestError> {
    let Answer::ExecStarted { exec, .. } = scene.ask(ExecSpec { streams, ..shell(SCRIPT) })? else {
        panic!("it runs");
    };
    let ends = scene.rig.supervisor.take_exec_ends(exec).expect("its streams");
    assert!(scene.rig.supervisor.take_exec_ends(exec).is_none());
    let mut end = None;
    scene.rig.until(|rig| {
        end = rig.supervisor.next_exec_end();
        end.is_some()
    });
    assert_eq!(end.map(|end| end.status), Some(ExitStatus::Exited(7)));
    let mut buffer = [0; 100];
    let mut text = |fd: std::os::fd::BorrowedFd<'_>| {
        let bytes = pipe::read(fd, &mut buffer).expect("output");
        String::from_utf8_lossy(&buffer[..bytes]).into_owned()
    };
    match &ends {
        ExecEnds::Pipes { stdout, stderr, .. } => {
            assert_eq!(
                (text(stdout.as_fd()), text(stderr.as_fd())),
                ("hello\n".into(), "oops\n".into())
            );
            assert!(ends.resize(WindowSize::default()).is_err());
        }
        ExecEnds::Terminal(master) => {
            // It hands on what was written a little later, and perhaps in two parts.
            let mut told = String::new();
            scene.rig.until(|_| {
                match pipe::read(master.as_fd(), &mut buffer) {
                    Ok(bytes) => told += &String::from_utf8_lossy(&buffer[..bytes]),
                    Err(errno) => assert_eq!(errno, Errno::EAGAIN, "{told:?}"),
                }
                told.len() >= "hello\r\noops\r\n".len()
            });
            assert_eq!(told, "hello\r\noops\r\n");
            // Which fails where that call is the one to fail.
            drop(ends.resize(WindowSize::default()));
        }
    }
    Ok(())
}

fn live_collected(scene: &mut Scene) -> Result<(), RequestError> {
    let Answer::Executed(executed) = scene.ask(shell(SCRIPT))? else { panic!("it has ended") };
    assert_eq!(executed.status, ExitStatus::Exited(7));
    assert_eq!(
        (executed.stdout.as_slice(), executed.stderr.as_slice()),
        (&b"hello\n"[..], &b"oops\n"[..])
    );
    assert!(!executed.timed_out && !executed.truncated);
    Ok(())
}

/// `kinds`: with these streams, or collected.
fn each_failing_call(cgroup: CgroupMode, kinds: &[Option<ExecStreams>]) {
    let mut scene = Scene::new(cgroup);
    for &kind in kinds {
        let live = |scene: &mut Scene| match kind {
            None => live_collected(scene),
            Some(streams) => live_with_streams(scene, streams),
        };
        live(&mut scene).expect("it runs");
        scene.nothing_is_left(descriptors().len(), "the first one");
        let before = descriptors().len();
        let mut failures = 0;
        for nth in 1.. {
            let injected = faults::fail_nth_but(nth, Errno::EMFILE, SPARED);
            let lived = live(&mut scene);
            let hit = injected.hit();
            drop(injected);
            let Some(call) = hit else { break };
            let told = format!("{kind:?}, call {nth} ({call}) failed: {lived:?}");
            match &lived {
                Ok(()) => {}
                Err(RequestError::LaunchFailed(error)) => {
                    failures += 1;
                    assert_eq!(error.errno_name, "EMFILE", "{told}");
                }
                Err(_) => panic!("{told}"),
            }
            scene.nothing_is_left(before, &told);
            live(&mut scene).unwrap_or_else(|error| panic!("{told}; then {error}"));
            scene.nothing_is_left(before, &told);
        }
        assert!(failures > 5, "{kind:?}: {failures}");
    }
    scene.end();
}

#[test]
fn each_failing_call_with_a_group() {
    let terminal = ExecStreams::Terminal(WindowSize { rows: 10, columns: 20 });
    let kinds = [None, Some(ExecStreams::Pipes), Some(terminal)];
    each_failing_call(CgroupMode::Auto, &kinds);
}

#[test]
fn each_failing_call_with_a_session() {
    // Each end is a look at all processes of the system.
    each_failing_call(CgroupMode::Never, &[None]);
}

#[test]
fn whoever_leaves_takes_the_command_along() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let mut scene = Scene::new(cgroup);
        let before = descriptors().len();
        for streams in [ExecStreams::Collected, ExecStreams::Pipes] {
            // After each number of turns: before the start, during, when it is told.
            let rounds = if cgroup == CgroupMode::Auto { 12 } else { 4 };
            for turns in 0..rounds {
                let spec = ExecSpec { streams, ..shell("sleep 300 & exec sleep 300") };
                let ticket = scene.rig.supervisor.submit(request(spec));
                for _ in 0..turns {
                    scene.rig.turn();
                }
                scene.rig.supervisor.abandon(ticket);
                scene.nothing_is_left(before, &format!("{streams:?}, {turns} turns"));
                assert!(scene.rig.supervisor.next_reply().is_none());
                assert!(scene.rig.supervisor.next_exec_end().is_none());
            }
        }
        scene.end();
    }
}

#[test]
fn the_end_of_a_task_ends_its_commands() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let mut scene = Scene::new(cgroup);
        let main = scene.rig.pid(scene.task).to_string();
        let tickets: Vec<Ticket> = (0..3)
            .map(|_| {
                let spec = shell("setsid sleep 300 & trap '' TERM INT; sleep 300; sleep 300");
                scene.rig.supervisor.submit(request(spec))
            })
            .collect();
        let begun = Instant::now();
        while children().len() < 4 {
            assert!(begun.elapsed() < PATIENCE);
            scene.rig.turn();
        }
        // Given time to make theirs.
        for _ in 0..20 {
            scene.rig.turn();
        }
        scene.rig.supervisor.signal(scene.task, Signal::KILL, false).expect("sent");
        for _ in tickets {
            let Ok(Answer::Executed(executed)) = scene.next_answer().1 else { panic!("it ended") };
            assert_eq!(executed.status, ExitStatus::Signaled(9));
            assert!(!executed.timed_out);
        }
        let task = scene.task;
        scene.rig.until(|rig| rig.state(task) == Some(StateName::Exited));
        assert_eq!(scene.rig.supervisor.execs.entries(), 0);
        assert_eq!(children(), [""; 0], "{main}");
        let after = scene.ask(shell("true"));
        let state = StateName::Exited;
        assert_eq!(after, Err(RequestError::NotRunning { name: "t".into(), state }));
        scene.end();
    }
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_that_it_made() {
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        let mut scene = Scene::new(cgroup);
        let before = descriptors().len();
        let timeout = Some(Duration::from_millis(200));
        let script = "setsid sleep 301 & sleep 301 & echo begun; sleep 301";
        let Ok(Answer::Executed(executed)) = scene.ask(ExecSpec { timeout, ..shell(script) })
        else {
            panic!("it has ended");
        };
        assert!(executed.timed_out);
        assert_eq!(executed.status, ExitStatus::Signaled(9));
        assert_eq!(executed.stdout, b"begun\n");
        scene.nothing_is_left(before, "timed out");
        let now = ExecSpec { timeout: Some(Duration::ZERO), ..shell("true") };
        assert_eq!(scene.ask(now), Err(RequestError::TimedOut));
        scene.end();
    }
}

#[test]
fn without_descriptors_nothing_runs_and_it_is_said() {
    let mut scene = Scene::new(CgroupMode::Auto);
    let limit = scene.rig.supervisor.descriptor_limit;
    scene.rig.supervisor.descriptor_limit = 12;
    let refused = scene.ask(shell("true"));
    let Err(RequestError::LaunchFailed(error)) = refused else { panic!("{refused:?}") };
    assert!(error.retry && error.errno_name == "EMFILE", "{error}");
    scene.rig.supervisor.descriptor_limit = limit;
    assert!(scene.ask(shell("true")).is_ok());
    scene.end();
}
