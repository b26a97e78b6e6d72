//! A launch is a transaction: whichever call fails, what is told is true, and nothing is left.

use super::*;
use crate::reactor::{CgroupMode, LaunchWay};
use crate::sys::namespaces;
use crate::vocabulary::{
    Answer, ExitStatus, FileSink, IfExists, Isolation, Numbering, Request, RequestError, Sink,
};
use nix::errno::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// The kernel has no reason to refuse these to who holds the descriptor or made the name. Of the
/// last there are too many, and each only tells of one process of the system.
const SPARED: &[&str] =
    &["read", "ioctl", "waitid", "poll", "unlink", "read(/proc/PID/stat)", "capget"];
/// Leaves a process behind, to be killed.
const SCRIPT: &str = "sleep 300 & echo hello; exit 7";

/// What a task writes to, and how that is read.
#[derive(Copy, Clone, Debug)]
enum Kind {
    Plain,
    Rotated,
    Fifo,
    /// In namespaces of its own.
    Isolated,
}

struct Scene {
    rig: Rig,
    kind: Kind,
    directory: tempfile::TempDir,
    /// Of the FIFO.
    reader: Option<File>,
    /// What it has read.
    text: String,
}

impl Scene {
    fn new(kind: Kind, cgroup: CgroupMode, launch_way: LaunchWay) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let state = directory.path().join("state");
        fs::create_dir(&state).expect("a directory");
        let options = Options { cgroup, launch_way, state_dir: Some(state), ..Options::default() };
        let rig = Rig::new(options);
        let mut scene = Scene { rig, kind, directory, reader: None, text: String::new() };
        if let Kind::Fifo = kind {
            nix::unistd::mkfifo(&scene.out(), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
            let mut open = OpenOptions::new();
            open.read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
            scene.reader = Some(open.open(scene.out()).expect("a reader"));
        }
        scene
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn spec(&self) -> TaskSpec {
        let path = self.out().display().to_string();
        let sink = match self.kind {
            Kind::Plain | Kind::Isolated => Sink::File(FileSink::new(path)),
            Kind::Rotated => Sink::File(FileSink {
                max_size: Some(1 << 20),
                numbering: Numbering::Shift,
                ..FileSink::new(path)
            }),
            Kind::Fifo => Sink::Fifo { path, direct: false },
        };
        let args = vec!["-c".to_owned(), SCRIPT.to_owned()];
        let isolation = Isolation {
            pid: true,
            ipc: true,
            uts: true,
            hostname: Some("inside".to_owned()),
            net: Some("none".to_owned()),
            ..Isolation::default()
        };
        TaskSpec {
            name: Some("t".to_owned()),
            args,
            stdout: Some(sink),
            isolation: matches!(self.kind, Kind::Isolated).then(|| Box::new(isolation)),
            ..TaskSpec::new("sh")
        }
    }

    /// The whole life of a task. `Err`: it could not be launched.
    fn live(&mut self) -> Result<(), RequestError> {
        let launch = Request::Launch {
            spec: Box::new(self.spec()),
            if_exists: IfExists::Fail,
            timeout: PATIENCE,
        };
        self.rig.ask(launch)?;
        let exited = self.rig.ask(Request::Wait { name: "t".to_owned(), id: None, timeout: None });
        let Ok(Answer::Status(status)) = exited else { panic!("{exited:?}") };
        assert_eq!(status.exit.map(|exit| exit.status), Some(ExitStatus::Exited(7)));
        let task = self.rig.supervisor.find("t").expect("a task");
        // Read as soon as it can be, as a reader does: nothing tells that the last byte was taken.
        let (reader, text) = (&mut self.reader, &mut self.text);
        self.rig.until(|rig| {
            // End of file, or not yet.
            reader.iter_mut().for_each(|reader| drop(reader.read_to_string(text)));
            rig.supervisor.status(task).is_none_or(|now| !now.output_pending)
        });
        let removed = self.rig.ask(Request::Remove { name: "t".to_owned(), force: false });
        assert_eq!(removed, Ok(Answer::Done));
        Ok(())
    }

    fn read(&mut self) -> String {
        match &mut self.reader {
            Some(_) => std::mem::take(&mut self.text),
            None => fs::read_to_string(self.out()).unwrap_or_default(),
        }
    }

    fn nothing_is_left(&mut self, before: usize, told: &str) {
        assert_eq!(self.rig.supervisor.tasks().count(), 0, "{told}");
        // A group may be removed a little later.
        let begun = Instant::now();
        while !task_groups(&self.rig.supervisor).is_empty() && begun.elapsed() < PATIENCE {
            self.rig.turn();
        }
        assert_eq!(task_groups(&self.rig.supervisor), [""; 0], "{told}");
        assert_eq!(children(), [""; 0], "{told}");
        let state = fs::read_dir(self.directory.path().join("state")).expect("a directory");
        assert_eq!(state.count(), 0, "{told}");
        assert_eq!(descriptors().len(), before, "{told}");
        assert_eq!(self.rig.supervisor.relay.descriptors(), 0, "{told}");
    }
}

/// Fails each call of the first launch in turn, which makes the tree of groups and the program of
/// the init.
fn each_failing_call_of_the_first_launch(kind: Kind, cgroup: CgroupMode, launch_way: LaunchWay) {
    for nth in 1.. {
        let mut scene = Scene::new(kind, cgroup, launch_way);
        let before = descriptors().len();
        let injected = faults::fail_nth_but(nth, Errno::EMFILE, SPARED);
        let lived = scene.live();
        let hit = injected.hit();
        drop(injected);
        let Some(call) = hit else { break };
        let told = format!("{kind:?}, call {nth} ({call}) failed: {lived:?}");
        // The tree and the program, where they are there by now.
        let supervisor = &scene.rig.supervisor;
        let kept = [supervisor.groups.path("t.1").is_some(), supervisor.spawner.has_init_image()];
        scene.nothing_is_left(before + kept.into_iter().filter(|kept| *kept).count(), &told);
        scene.live().unwrap_or_else(|error| panic!("{told}; then {error}"));
    }
}

/// Fails each call of a task's life in turn.
fn each_failing_call(cgroup: CgroupMode, launch_way: LaunchWay) {
    leave_the_descriptors_of_others();
    each_failing_call_of_the_first_launch(Kind::Plain, cgroup, launch_way);
    let isolated = namespaces::are_available().then_some(Kind::Isolated);
    if isolated.is_none() {
        println!("skipped: each_failing_call of an isolated task: no permission for namespaces");
    }
    if let Some(kind) = isolated {
        each_failing_call_of_the_first_launch(kind, cgroup, launch_way);
    }
    for kind in [Kind::Plain, Kind::Rotated, Kind::Fifo].into_iter().chain(isolated) {
        let mut scene = Scene::new(kind, cgroup, launch_way);
        scene.live().expect("launched");
        assert_eq!(scene.read(), "hello\n");
        let before = descriptors().len();
        let mut failures = 0;
        for nth in 1.. {
            let injected = faults::fail_nth_but(nth, Errno::EMFILE, SPARED);
            let lived = scene.live();
            let hit = injected.hit();
            drop(injected);
            let Some(call) = hit else { break };
            let told = format!("{kind:?}, call {nth} ({call}) failed: {lived:?}");
            let written = scene.read();
            match &lived {
                Ok(()) => assert!(written.ends_with("hello\n"), "{told}: {written:?}"),
                Err(RequestError::LaunchFailed(error)) => {
                    failures += 1;
                    assert_eq!(error.errno_name, "EMFILE", "{told}");
                }
                Err(RequestError::Limit { limit: "descriptors", .. }) => failures += 1,
                Err(_) => panic!("{told}"),
            }
            scene.nothing_is_left(before, &told);
            scene.live().unwrap_or_else(|error| panic!("{told}; then {error}"));
            assert!(scene.read().ends_with("hello\n"), "{told}");
            scene.nothing_is_left(before, &told);
        }
        assert!(failures > 3, "{kind:?}: {failures}");
    }
}

#[test]
fn each_failing_call_with_a_group_shared() {
    each_failing_call(CgroupMode::Auto, LaunchWay::Auto);
}

#[test]
fn each_failing_call_with_a_group_copied() {
    each_failing_call(CgroupMode::Auto, LaunchWay::Copied);
}

#[test]
fn each_failing_call_with_a_session_shared() {
    each_failing_call(CgroupMode::Never, LaunchWay::Auto);
}

#[test]
fn each_failing_call_with_a_session_copied() {
    each_failing_call(CgroupMode::Never, LaunchWay::Copied);
}
