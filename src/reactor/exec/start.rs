//! Starting a command in a task: a transaction that leaves nothing behind when it fails.

use super::api::ExecEnds;
use super::output::Collected;
use super::{Exec, key_of};
use crate::engine::ExecInput;
use crate::reactor::groups::Finish;
use crate::reactor::groups::Place;
use crate::reactor::run::{Main, Run, Start};
use crate::reactor::token::{Key, Owner};
use crate::reactor::{Supervisor, register};
use crate::sys::failure::start_error;
use crate::sys::spawn::{Child, Entry, Streams};
use crate::sys::{pidfd, pipe, pty};
use crate::vocabulary::{
    Containment, ExecId, ExecSpec, ExecStreams, Stage, StartError, StreamKind, TaskId, Wall,
};
use mio::Interest;
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Descriptors that the start of one takes: three pipes, a pidfd, the pipe of its report, and that
/// of its group.
const DESCRIPTORS: u64 = 10;

/// The ends of its streams: ours, and those of the child.
struct Ends {
    ours: Ours,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    /// The same as standard output, where it is absent.
    stderr: Option<OwnedFd>,
}

enum Ours {
    Collected(Box<Collected>),
    Taken(ExecEnds),
}

impl Supervisor {
    /// Starts the next command that waits, while this turn has time for it.
    pub(in crate::reactor) fn start_next_exec(&mut self) -> bool {
        if self.execs.starts.is_empty() || !self.starts.take_one() {
            return false;
        }
        let Some((exec, task, spec)) = self.execs.starts.pop_front() else { return false };
        if let Err(error) = self.try_start_exec(exec, task, &spec) {
            self.execs.tell(exec, ExecInput::StartFailed(error));
        }
        true
    }

    /// Takes back a start that has not begun.
    pub(super) fn take_back_exec(&mut self, exec: ExecId) -> bool {
        let waits = self.execs.starts.iter().position(|(waiting, ..)| *waiting == exec);
        let Some(place) = waits else { return false };
        self.execs.starts.remove(place);
        self.execs.tell(exec, ExecInput::StartFailed(taken_back()));
        true
    }

    fn try_start_exec(
        &mut self,
        exec: ExecId,
        task: TaskId,
        wanted: &ExecSpec,
    ) -> Result<(), StartError> {
        let Some(identity) = self.engine.identity(task).cloned() else {
            return Err(taken_back());
        };
        let Some(run) = self.runs.get(task) else { return Err(taken_back()) };
        let leaf = self.groups.leaf(&identity, run.number);
        let contained = run.containment == Containment::CgroupV2;
        let mut spec = wanted.on(&identity.spec());
        // Nobody is left to want it then.
        spec.die_with_supervisor = self.options.own_process;
        let terminal = matches!(wanted.streams, ExecStreams::Terminal(_));
        let plan = self.spawner.plan_inside(&spec, terminal)?;
        let inside = if plan.has_namespaces() { Some(process_inside(run)?) } else { None };
        self.afford_exec()?;
        let Ends { ours, stdin, stdout, stderr } = make_ends(wanted.streams, plan.owner())?;
        let output = Some(stdout.as_raw_fd());
        let streams = Streams {
            stdin: if terminal { output } else { stdin.as_ref().map(AsRawFd::as_raw_fd) },
            stdout: output,
            stderr: Some(stderr.as_ref().unwrap_or(&stdout).as_raw_fd()),
        };
        let number = &mut self.execs.number;
        let Place { placement, leaf } = self.groups.place_exec(&leaf, number, contained)?;
        let entry = inside.as_ref().map(|process| Entry { process: process.as_fd() });
        let made = self.spawner.spawn_exec(&plan, &streams, placement.as_ref(), entry);
        match made {
            Ok((child, pipe)) => {
                let start =
                    Start { pipe: Some(pipe), failure: None, executed: false, inside: None };
                self.keep_exec(exec, task, child, leaf, start, ours);
                Ok(())
            }
            Err(error) => {
                if let Some(leaf) = leaf
                    && let Finish::Watch(key) = self.groups.finish(leaf, None, true)
                {
                    self.register_group(key);
                }
                Err(error)
            }
        }
    }

    /// Whether the descriptors are there: others have a right to those that are kept free.
    fn afford_exec(&mut self) -> Result<(), StartError> {
        let most = self.descriptor_limit.saturating_sub(self.reserve());
        match self.taken_descriptors() {
            Some(taken) if taken + DESCRIPTORS <= most => Ok(()),
            _ => {
                let what = "open the streams: the descriptors that are left are kept free";
                Err(start_error(Stage::Output, Errno::EMFILE, what))
            }
        }
    }

    /// Puts a child that exists into the tables.
    fn keep_exec(
        &mut self,
        exec: ExecId,
        task: TaskId,
        child: Child,
        leaf: Option<String>,
        mut start: Start,
        ours: Ours,
    ) {
        let Child { pid, pidfd } = child;
        let output = match ours {
            Ours::Collected(output) => Some(output),
            Ours::Taken(ends) => {
                self.execs.ends.insert(exec, ends);
                None
            }
        };
        let seen = self.watch_exec(key_of(exec), pidfd.as_ref(), Some(&start), output.as_deref());
        let watched = pidfd.is_some() && seen.is_ok();
        let unseen = seen.is_err();
        start.failure = seen.err();
        let start = Some(Box::new(start));
        self.execs.by_pid.insert(pid, exec);
        self.execs.all.insert(
            exec,
            Exec {
                task,
                pid,
                pidfd,
                watched,
                main: Main::Alive,
                leaf,
                killed: unseen,
                empty: false,
                group: None,
                start,
                looks: 0,
                sessions: Box::default(),
                output,
            },
        );
        self.execs.tell(exec, ExecInput::Spawned { pid });
        if !watched {
            self.look_for_unwatched();
        }
        if unseen {
            self.kill_exec_processes(exec);
        }
    }

    /// Has the loop tell of all that happens to a command.
    pub(super) fn watch_exec(
        &self,
        key: Key,
        pidfd: Option<&OwnedFd>,
        start: Option<&Start>,
        output: Option<&Collected>,
    ) -> Result<(), StartError> {
        let watch = |what: &str, fd: BorrowedFd<'_>, owner: Owner| {
            register(&self.poll, fd, owner, Interest::READABLE).map_err(|error| {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
                start_error(Stage::Clone, errno, what)
            })
        };
        if let Some(fd) = pidfd {
            watch("watch the process", fd.as_fd(), Owner::Exec(key))?;
        }
        if let Some(pipe) = start.and_then(|start| start.pipe.as_ref()) {
            watch("watch the pipe for the child's report", pipe.as_fd(), Owner::ExecStart(key))?;
        }
        for (stream, pipe) in output.into_iter().flat_map(Collected::pipes) {
            let owner = match stream {
                StreamKind::Stdout => Owner::ExecStdout(key),
                StreamKind::Stderr => Owner::ExecStderr(key),
            };
            watch("watch its output", pipe, owner)?;
        }
        Ok(())
    }

    /// The pipe of a start has something to say.
    pub(in crate::reactor) fn exec_start_told(&mut self, exec: ExecId) {
        let Some(found) = self.execs.all.get_mut(&exec) else { return };
        let Some(start) = &mut found.start else { return };
        let Some(outcome) = start.pipe.as_mut().and_then(|pipe| pipe.outcome()) else { return };
        start.pipe = None;
        match outcome {
            // It was killed before that was known: its end completes the failure.
            Ok(()) if start.failure.is_some() => {}
            Ok(()) => {
                found.start = None;
                self.execs.tell(exec, ExecInput::ExecSucceeded);
            }
            // The child is about to end: its end completes the failure.
            Err(error) => drop(start.failure.get_or_insert(error)),
        }
    }
}

/// The pidfd of a process that has the namespaces of a run.
fn process_inside(run: &Run) -> Result<OwnedFd, StartError> {
    let failed = |errno| start_error(Stage::Namespace, errno, "enter the namespaces of the task");
    let known = run.init.as_ref().map(|init| &init.pidfd).or(run.pidfd.as_ref());
    match known {
        Some(pidfd) => pidfd::duplicate(pidfd.as_fd()).map_err(failed),
        // As long as it is not reaped the number is its own.
        None if run.main == Main::Alive => pidfd::open(run.pid).map_err(failed),
        None => Err(failed(Errno::ESRCH)),
    }
}

fn make_ends(streams: ExecStreams, owner: Option<(u32, u32)>) -> Result<Ends, StartError> {
    let failed = |errno| start_error(Stage::Output, errno, "make the pipes of the command");
    match streams {
        ExecStreams::Collected => {
            let (out, stdout) = pipe::make_pipe(owner).map_err(failed)?;
            let (err, stderr) = pipe::make_pipe(owner).map_err(failed)?;
            let ours = Ours::Collected(Box::new(Collected::new(out, err)));
            Ok(Ends { ours, stdin: None, stdout, stderr: Some(stderr) })
        }
        ExecStreams::Pipes => {
            let (stdin, input) = pipe::make_input_pipe(owner).map_err(failed)?;
            let (out, stdout) = pipe::make_pipe(owner).map_err(failed)?;
            let (err, stderr) = pipe::make_pipe(owner).map_err(failed)?;
            let ours = ExecEnds::Pipes { stdin: input, stdout: out, stderr: err };
            Ok(Ends { ours: Ours::Taken(ours), stdin: Some(stdin), stdout, stderr: Some(stderr) })
        }
        ExecStreams::Terminal(size) => {
            let (master, slave) = pty::open_pair(size, owner)
                .map_err(|errno| start_error(Stage::Output, errno, "make a terminal"))?;
            let ours = Ours::Taken(ExecEnds::Terminal(master));
            Ok(Ends { ours, stdin: None, stdout: slave, stderr: None })
        }
    }
}

/// Nothing was run, since it is not wanted any more. The engine has words of its own for it.
fn taken_back() -> StartError {
    StartError {
        stage: Stage::Clone,
        errno: 0,
        errno_name: String::new(),
        message: "run the command: the task has ended".to_owned(),
        retry: true,
        time: Wall::default(),
    }
}
