//! Taking over the tasks of an earlier supervisor: whichever call fails, it is refused as a whole
//! and works the next time, or every task goes on, its output comes once, its end is known, and
//! nothing is left.

use super::*;
use crate::reactor::CgroupMode;
use crate::sys::{namespaces, own_process};
use crate::vocabulary::{Answer, ExitStatus, FileSink, IfExists, Isolation, Numbering, Sink};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The kernel has no reason to refuse these to who holds the descriptor.
const SPARED: &[&str] =
    &["read", "ioctl", "ioctl(PIDFD_GET_INFO)", "waitid", "poll", "fstatfs", "fstat", "unlink"];

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// Writes to its file itself, and leaves a process behind.
    Plain,
    Rotated,
    Fifo,
    /// Below an init, in a pid namespace of its own.
    Isolated,
}

/// A state directory, and tasks that go through the hands of two supervisors.
struct Scene {
    directory: tempfile::TempDir,
    cgroup: CgroupMode,
    kinds: Vec<Kind>,
    /// Holds each task back.
    gates: Vec<File>,
    /// Of the FIFO, and what it has read.
    reader: File,
    text: String,
    pids: Vec<i32>,
}

fn open_fifo(path: &Path) -> File {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let mut open = OpenOptions::new();
    open.read(true).write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    open.open(path).expect("a FIFO")
}

impl Scene {
    fn new(cgroup: CgroupMode) -> Scene {
        let directory = tempfile::tempdir().expect("a directory");
        let mut kinds = vec![Kind::Plain, Kind::Rotated, Kind::Fifo];
        if namespaces::are_available() {
            kinds.push(Kind::Isolated);
        } else {
            println!("skipped: the adoption of an isolated task: no permission for namespaces");
        }
        let gate = |kind: &Kind| open_fifo(&directory.path().join(format!("{kind:?}.gate")));
        let gates = kinds.iter().map(gate).collect();
        let reader = open_fifo(&directory.path().join("Fifo"));
        let text = String::new();
        Scene { directory, cgroup, kinds, gates, reader, text, pids: Vec::new() }
    }

    fn options(&self) -> Options {
        let state_dir = Some(self.directory.path().join("state"));
        Options { cgroup: self.cgroup, state_dir, ..Options::default() }
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.directory.path().join(format!("{kind:?}"))
    }

    fn spec(&self, kind: Kind) -> TaskSpec {
        let path = self.path(kind).display().to_string();
        let gate = format!("{path}.gate");
        let script = match kind {
            Kind::Plain => format!("sleep 300 & echo one; read x < {gate}; echo two; exit 7"),
            _ => format!("echo one; read x < {gate}; echo two; exit 7"),
        };
        let stdout = match kind {
            Kind::Plain => Sink::File(FileSink::new(path)),
            Kind::Fifo => Sink::Fifo { path, direct: false },
            Kind::Rotated | Kind::Isolated => Sink::File(FileSink {
                max_size: Some(1 << 20),
                numbering: Numbering::Shift,
                ..FileSink::new(path)
            }),
        };
        let isolation = Isolation { pid: true, ..Isolation::default() };
        TaskSpec {
            name: Some(format!("{kind:?}")),
            args: vec!["-c".to_owned(), script],
            stdout: Some(stdout),
            isolation: (kind == Kind::Isolated).then(|| Box::new(isolation)),
            ..TaskSpec::new("/bin/sh")
        }
    }

    /// What a task has written so far.
    fn read(&mut self, kind: Kind) -> String {
        if kind != Kind::Fifo {
            return fs::read_to_string(self.path(kind)).unwrap_or_default();
        }
        // It is never at its end, since it is open for writing.
        let _ = self.reader.read_to_string(&mut self.text);
        self.text.clone()
    }

    /// Launches the tasks under a first supervisor, which ends without a word.
    fn launch(&mut self) {
        let supervisor = Supervisor::reopen(self.options()).expect("a supervisor");
        let mut rig = Rig { supervisor, events: Vec::new() };
        for kind in self.kinds.clone() {
            let (spec, if_exists) = (Box::new(self.spec(kind)), IfExists::Fail);
            let launched = rig.ask(Request::Launch { spec, if_exists, timeout: PATIENCE });
            let Ok(Answer::Status(status)) = launched else { panic!("{kind:?}: {launched:?}") };
            self.pids.push(status.pid.expect("a process").number());
            rig.until(|_| self.read(kind) == "one\n");
        }
    }

    /// Goes on with them.
    #[track_caller]
    fn go_on(&mut self, mut rig: Rig, told: impl Fn() -> String) -> Rig {
        // One that the loop could not be made to watch is tried again.
        rig.until(|rig| rig.supervisor.runs.unwatched() == 0);
        for (kind, gate) in self.kinds.iter().zip(&mut self.gates) {
            let task = rig.supervisor.find(&format!("{kind:?}"));
            let task = task.unwrap_or_else(|| panic!("{}: no {kind:?}", told()));
            let status = rig.supervisor.status(task).expect("a status");
            assert_eq!((status.state, status.adopted), (StateName::Running, true), "{}", told());
            assert!(self.pids.contains(&status.pid.expect("a process").number()), "{}", told());
            gate.write_all(b"go\n").expect("room");
        }
        for kind in self.kinds.clone() {
            let name = format!("{kind:?}");
            let wait = Request::Wait { name: name.clone(), id: None, timeout: None };
            let ticket = rig.supervisor.submit(wait);
            let mut ended = None;
            rig.until(|rig| {
                ended = rig.supervisor.next_reply();
                // One that nobody reaps keeps its group.
                self.reap();
                ended.is_some()
            });
            let Some((answered, Ok(Answer::Status(status)))) = ended else {
                panic!("{}: {ended:?}", told())
            };
            assert_eq!(answered, ticket);
            let code = status.exit.map(|exit| exit.status);
            let is_told =
                own_process::kernel_is_at_least(6, 15) || code != Some(ExitStatus::Unknown);
            assert!(
                !is_told || code == Some(ExitStatus::Exited(7)),
                "{}: {kind:?}, {code:?}",
                told()
            );
            let begun = Instant::now();
            while self.read(kind) != "one\ntwo\n" {
                assert!(begun.elapsed() < PATIENCE / 4, "{}: {:?}", told(), self.read(kind));
                rig.turn();
            }
            let task = rig.supervisor.find(&name).expect("a task");
            rig.until(|rig| rig.supervisor.status(task).is_none_or(|now| !now.output_pending));
            let removed = rig.ask(Request::Remove { name, force: false });
            assert_eq!(removed, Ok(Answer::Done), "{}", told());
        }
        rig
    }

    fn reap(&self) {
        for &pid in &self.pids {
            let _ = waitpid(nix::unistd::Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }

    #[track_caller]
    fn nothing_is_left(&mut self, mut rig: Rig, before: usize, told: &str) {
        let begun = Instant::now();
        while !task_groups(&rig.supervisor).is_empty() && begun.elapsed() < PATIENCE {
            rig.turn();
        }
        assert_eq!(task_groups(&rig.supervisor), [""; 0], "{told}");
        assert_eq!(rig.supervisor.relay.descriptors(), 0, "{told}");
        assert_eq!((rig.supervisor.runs.len(), rig.supervisor.groups.watched()), (0, 0), "{told}");
        drop(rig);
        // Inits and what they held may have been told a moment ago.
        while !children().is_empty() && begun.elapsed() < PATIENCE {
            let any = Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WNOTHREAD);
            let _ = waitpid(None, any);
        }
        assert_eq!(children(), [""; 0], "{told}");
        assert_eq!(descriptors().len(), before, "{told}");
        let mut state: Vec<_> = fs::read_dir(self.directory.path().join("state"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        state.sort();
        assert_eq!(state, ["journal", "lock"], "{told}");
    }
}

/// Fails each call of the second supervisor in turn: as it takes over, `until_the_end` also until
/// all has ended.
fn each_failing_call(cgroup: CgroupMode, until_the_end: bool) {
    leave_the_descriptors_of_others();
    let (mut refused, mut taken) = (0, 0);
    for nth in 1.. {
        let mut scene = Scene::new(cgroup);
        let before = descriptors().len();
        scene.launch();
        assert_eq!(descriptors().len(), before, "the first one has ended");
        let injected = faults::fail_nth_but(nth, Errno::EMFILE, SPARED);
        let reopened = Supervisor::reopen(scene.options());
        let told =
            format!("call {nth} ({:?}) failed: {:?}", injected.hit(), reopened.as_ref().err());
        let taking_over = injected.hit().is_some();
        let supervisor = match reopened {
            Ok(supervisor) => {
                taken += u32::from(injected.hit().is_some());
                supervisor
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("Too many open files"), "{told}");
                assert_eq!(descriptors().len(), before, "{told}");
                Supervisor::reopen(scene.options()).expect("nothing fails this time")
            }
        };
        let told = || format!("call {nth} ({:?}) failed", injected.hit());
        let rig = scene.go_on(Rig { supervisor, events: Vec::new() }, told);
        let hit = injected.hit();
        drop(injected);
        let told = format!("call {nth} ({hit:?}) failed");
        scene.nothing_is_left(rig, before, &told);
        if hit.is_none() || !(taking_over || until_the_end) {
            break;
        }
    }
    println!("{refused} refused, {taken} taken over in spite of it");
    assert!(refused > 3 && taken > 10, "{refused} refused, {taken} taken over");
}

#[test]
fn each_failing_call_with_groups() {
    each_failing_call(CgroupMode::Auto, true);
}

#[test]
fn each_failing_call_with_sessions() {
    // Each end is a look at all processes of the system.
    each_failing_call(CgroupMode::Never, false);
}
