//! Taking over the tasks of an earlier supervisor that is gone: their processes, groups and
//! streams, as its notes name them and as the kernel still knows them.

use super::adopted_end::UNWATCHED_LOOK;
use super::groups::Finish;
use super::output::{PipeLeft, Relay};
use super::run::{Init, Main, Run, Start};
use super::start::{key_of, scarce_from};
use super::store::{Keeping, Kept, Process, Store};
use super::token::Owner;
use super::{Due, Options, Supervisor, register};
use crate::engine::{self, Config, Input, State};
use crate::sys::adopted::{self, Found};
use crate::sys::pipe::Ids;
use crate::sys::{clock, own_process};
use crate::vocabulary::limits::{SINK_RETRY_FIRST, SINK_RETRY_MAX};
use crate::vocabulary::{
    Containment, ExitStatus, Identity, LaunchNumber, Pid, ProcessMark, Stage, StartError,
    StateName, TaskId, Wall, cause,
};
use mio::Interest;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// What could not be taken over yet, and is tried again.
#[derive(Debug, Default)]
pub(super) struct Unadopted {
    /// Inits of which it could not be told whether they are there.
    pub(super) inits: HashMap<TaskId, (Pid, ProcessMark)>,
    /// The streams of tasks that could not all be opened.
    pub(super) streams: HashMap<TaskId, HeldUp>,
    /// How many descriptors what is still to be taken over will take.
    pub(super) descriptors: u64,
}

/// An adopted task whose streams could not all be opened.
#[derive(Debug)]
pub(super) struct HeldUp {
    /// Whose new files of its sinks are to be.
    pub(super) owner: Option<Ids>,
    /// Our ends of its pipes, so that these outlive their writers.
    pipes: Vec<OwnedFd>,
    /// How long was waited.
    pub(super) wait: Duration,
}

#[cfg(feature = "cli")]
impl Unadopted {
    /// Whether it is not told yet of an init whether it is there.
    pub(super) fn seeks_inits(&self) -> bool {
        !self.inits.is_empty()
    }

    /// The tasks whose streams could not be opened: whose new files of its sinks are to be, and our
    /// ends of its pipes.
    pub(super) fn held_up(&self) -> impl Iterator<Item = (TaskId, Option<Ids>, &[OwnedFd])> {
        self.streams.iter().map(|(&task, held)| (task, held.owner, &*held.pipes))
    }

    /// One more, whose streams are to be opened after `wait`.
    pub(super) fn hold_up(
        &mut self,
        task: TaskId,
        owner: Option<Ids>,
        pipes: Vec<OwnedFd>,
        wait: Duration,
    ) {
        self.streams.insert(task, HeldUp { owner, pipes, wait });
    }
}

/// A run that an earlier supervisor has left.
struct Left {
    task: TaskId,
    number: u64,
    contained: bool,
}

impl Supervisor {
    /// A supervisor that keeps its state in `store`, and goes on with what an earlier one has left:
    /// its living tasks, with their processes, output and deadlines, the exited ones that it
    /// remembered, the numbers of its events. What of it happened meanwhile comes with the first
    /// turns, as events.
    ///
    /// # Errors
    /// What the system refuses, and a store that cannot be written.
    pub fn with_store(options: Options, store: Box<dyn Store>, kept: Kept) -> io::Result<Self> {
        let counters = kept.counters;
        let mut supervisor = Supervisor::begin(
            options,
            Config {
                instance: kept.instance.clone(),
                seed: own_process::random_u64(),
                first_launch: counters.next_launch.max(1),
                first_run: counters.next_run.max(1),
                first_event: counters.sequence + 1,
            },
        )?;
        supervisor.now = clock::now();
        supervisor.engine.note_changes();
        supervisor.keeping = Some(Keeping::new(store));
        supervisor.resumed = kept.same_boot && !kept.stopping;
        let same_boot = kept.same_boot;
        supervisor.adopt(kept);
        supervisor.relay.adoption_is_over();
        supervisor.note_tree();
        match supervisor.take_down_all() {
            // What was taken down before holds, and tasks are not left alone for a full disk.
            Err(error) if same_boot => {
                log::error!("the state cannot be kept: {}", cause(&error));
            }
            taken => taken?,
        }
        Ok(supervisor)
    }

    /// Whether tasks of an earlier supervisor that was not told to stop them were taken over: those
    /// that have exited have done so for good.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    fn adopt(&mut self, kept: Kept) {
        let Kept { same_boot, tree, tasks, processes, .. } = kept;
        let known: Vec<_> = tasks
            .iter()
            .map(|saved| (saved.identity.number, saved.run, saved.state, saved.containment))
            .collect();
        if same_boot && let Some(tree) = &tree {
            let is_needed = tasks.iter().any(|saved| saved.identity.cgroup().is_some());
            self.groups.reuse(tree, is_needed);
        }
        let ids = self.engine.restore(self.now, tasks, same_boot);
        if !same_boot {
            return self.relay.sweep();
        }
        let mut leaves = BTreeSet::new();
        self.unadopted.descriptors = self.descriptors_of(&ids, &processes);
        for (&task, (launch, number, state, containment)) in ids.iter().zip(known) {
            let contained = containment == Some(Containment::CgroupV2) && self.groups.has_tree();
            let left = Left { task, number, contained };
            leaves.extend(self.adopt_task(&left, state, processes.get(&launch)));
        }
        // Where they are many the first of their files need not stay open either.
        let taken = self.taken_descriptors().unwrap_or(u64::MAX);
        let all = taken.saturating_add(self.unadopted.descriptors);
        let are_many = all >= scarce_from(self.descriptor_limit);
        let before = are_many.then(|| self.relay.spare_files_from(Some(0)));
        self.adopt_streams(&ids, &processes);
        if let Some(before) = before {
            self.relay.spare_files_from(before);
        }
        self.unadopted.descriptors = 0;
        self.adopt_groups(&leaves);
    }

    /// What the inits and streams of those with a process take at least.
    fn descriptors_of(&self, ids: &[TaskId], processes: &HashMap<LaunchNumber, Process>) -> u64 {
        let needed = |&task: &TaskId| {
            let identity = self.engine.identity(task)?;
            let of_init = processes.get(&identity.number)?.init.is_some();
            Some(u64::from(of_init) + Relay::descriptors_needed(&identity.spec(), true))
        };
        ids.iter().filter_map(needed).sum()
    }

    /// Takes over what one task has in the kernel. The answer: the group of its run.
    fn adopt_task(
        &mut self,
        left: &Left,
        state: State,
        process: Option<&Process>,
    ) -> Option<String> {
        let identity = Arc::clone(self.engine.identity(left.task)?);
        let process = process.filter(|process| process.run == left.number);
        let leaf = self.groups.leaf(&identity, left.number);
        match process {
            Some(process) => self.groups.limits.adopt(&leaf, &process.groups),
            None if matches!(state, State::Starting { .. }) => {
                self.groups.adopt_unnoted_limits(&leaf);
            }
            None => {}
        }
        match state {
            State::Starting { main, .. } => self.adopt_start(left, &identity, main, process),
            State::Running { main }
            | State::Stopping { main: engine::Main::Lives(main) }
            | State::Killing { main: engine::Main::Lives(main) } => {
                let lives = self.adopt_main(left, main, process, None);
                self.adopt_init(left.task, process);
                if !lives {
                    let input = self.end_of_gone(main, process);
                    self.inputs.push_back((left.task, input));
                }
            }
            State::Lingering { ended }
            | State::Leaving { ended }
            | State::Stopping { main: engine::Main::Ended(ended) }
            | State::Killing { main: engine::Main::Ended(ended) } => {
                self.runs.insert(adopted_run(left, ended.pid, Main::Gone));
                self.runs.forget_pid(ended.pid, left.task);
                self.adopt_init(left.task, process);
            }
            State::Waiting { .. }
            | State::Draining { .. }
            | State::Backoff { .. }
            | State::Exited => return None,
        }
        let oom = self.watch_oom(left.task, identity.resources(), &leaf);
        if let Err(error) = &oom {
            log::warn!("task={} memory_oom_group will not be kept to: {error}", identity.name);
        }
        if let Some(run) = self.runs.get_mut(left.task) {
            run.oom = oom.ok().flatten();
        }
        if left.contained {
            self.groups.kill_commands(&leaf);
        }
        Some(leaf)
    }

    /// How a main process ended that is gone. Where an init stood above it, that has ended alike.
    fn end_of_gone(&mut self, main: Pid, process: Option<&Process>) -> Input {
        let init = process.and_then(|process| process.init);
        let told = self
            .told_by_keeper(main, process.and_then(|process| process.mark))
            .or_else(|| init.and_then(|(pid, mark)| self.told_by_keeper(pid, Some(mark))));
        match told {
            Some((status, time)) => Input::MainExitedBefore { status, time },
            None => Input::MainExited(ExitStatus::Unknown),
        }
    }

    /// Takes over the init of a run, where it has one that is still there.
    fn adopt_init(&mut self, task: TaskId, process: Option<&Process>) {
        if let Some(init) = process.and_then(|process| process.init) {
            self.unadopted.inits.insert(task, init);
            self.watch_adopted_init(task);
        }
    }

    /// Looks for the init of an adopted run as long as nobody knows whether it is there, and has
    /// the loop watch it. Where that cannot be done now, time tells.
    pub(super) fn watch_adopted_init(&mut self, task: TaskId) {
        let mut is_sought = false;
        if let Some((pid, mark)) = self.unadopted.inits.remove(&task)
            && let Some(run) = self.runs.get_mut(task)
        {
            match adopted::find(pid, mark) {
                Found::It(pidfd) => {
                    let init = Init { pid, mark: Some(mark), pidfd, watched: false };
                    run.init = Some(Box::new(init));
                }
                Found::Gone => {}
                Found::Unknown(_) => {
                    is_sought = true;
                    self.unadopted.inits.insert(task, (pid, mark));
                }
            }
        }
        let init = self.runs.get_mut(task).and_then(|run| run.init.as_mut());
        let is_watched = init.filter(|init| !init.watched).is_none_or(|init| {
            let owner = Owner::Process(key_of(task));
            let fd = init.pidfd.as_fd();
            init.watched = register(&self.poll, fd, owner, Interest::READABLE).is_ok();
            init.watched
        });
        if is_sought || !is_watched {
            self.deadlines.add(self.now.mono + UNWATCHED_LOOK, Due::Status(task));
        }
    }

    /// Takes over a main process, where it is still there.
    fn adopt_main(
        &mut self,
        left: &Left,
        pid: Pid,
        process: Option<&Process>,
        start: Option<Box<Start>>,
    ) -> bool {
        let mark = process.and_then(|process| process.mark);
        let found = match mark {
            Some(mark) => adopted::find(pid, mark),
            None => Found::Gone,
        };
        let (pidfd, main) = match found {
            // What is left of the descriptors is for everything else, most of which is still to be
            // opened: then time tells.
            Found::It(fd) => (Some(fd).filter(|fd| self.leaves_enough(fd, 2)), Main::Alive),
            Found::Gone => (None, Main::Gone),
            Found::Unknown(errno) => {
                log::warn!("cannot watch process {pid} ({}): its end is looked for", errno.desc());
                (None, Main::Alive)
            }
        };
        let mut run = adopted_run(left, pid, main);
        run.mark = mark;
        run.start = start;
        run.watched = pidfd.as_ref().is_some_and(|fd| {
            let owner = Owner::Process(key_of(left.task));
            register(&self.poll, fd.as_fd(), owner, Interest::READABLE).is_ok()
        });
        let watched = run.watched;
        run.pidfd = pidfd;
        self.runs.insert(run);
        if main == Main::Gone {
            self.runs.forget_pid(pid, left.task);
        } else if !watched {
            self.deadlines.add(self.now.mono + UNWATCHED_LOOK, Due::Status(left.task));
        }
        main == Main::Alive
    }

    /// A start whose outcome nobody has heard: all of it is killed, and it has failed.
    fn adopt_start(
        &mut self,
        left: &Left,
        identity: &Identity,
        main: Option<Pid>,
        process: Option<&Process>,
    ) {
        let error = StartError {
            stage: Stage::Exec,
            errno: 0,
            errno_name: String::new(),
            message: "start the command: the supervisor was killed meanwhile".to_owned(),
            retry: true,
            time: Wall::default(),
        };
        // Noted by the reactor before the engine was told.
        let main = main.or(process.map(|process| process.pid));
        if let Some(pid) = main {
            let failure = Some(error.clone());
            let start = Some(Box::new(Start { pipe: None, failure, executed: true, inside: None }));
            let lives = self.adopt_main(left, pid, process, start);
            self.adopt_init(left.task, process);
            if lives {
                return self.kill_main_and_group(left.task);
            }
            self.kill_init(left.task);
            self.runs.remove(left.task);
        }
        if self.groups.has_tree() {
            let leaf = self.groups.leaf(identity, left.number);
            if let Finish::Watch(key) = self.groups.finish(leaf, None, true) {
                self.register_group(key);
            }
        }
        self.inputs.push_back((left.task, Input::StartFailed(error)));
    }

    /// Opens the streams again, and removes those that belong to nobody.
    fn adopt_streams(&mut self, ids: &[TaskId], processes: &HashMap<LaunchNumber, Process>) {
        let mut pipes = self.relay.pipes_left();
        for &task in ids {
            let Some(identity) = self.engine.identity(task).cloned() else { continue };
            let pipes = pipes.remove(&*identity.name).unwrap_or_default();
            let owner = processes.get(&identity.number).and_then(|process| process.owner);
            self.adopt_streams_of(task, owner, pipes, SINK_RETRY_FIRST);
        }
        for (name, pipes) in pipes {
            for (run, kind) in pipes {
                self.relay.remove_pipe(&name, run, kind);
            }
        }
    }

    /// `wait`: how soon what fails is tried again.
    fn adopt_streams_of(
        &mut self,
        task: TaskId,
        owner: Option<Ids>,
        pipes: Vec<PipeLeft>,
        wait: Duration,
    ) {
        let Some(identity) = self.engine.identity(task).cloned() else { return };
        let run = self.runs.get(task).map(|run| run.number);
        // Files that need not be open make room for the rest.
        let _ = self.taken_descriptors();
        if !self.relay.adopt(self.now.mono, task, &identity, run, owner, pipes.clone()) {
            let pipes = self.relay.hold(&identity.name, &pipes);
            // Its task waits meanwhile, once its pipe is full.
            self.unadopted.streams.insert(task, HeldUp { owner, pipes, wait });
            self.deadlines.add(self.now.mono + wait, Due::Streams(task));
        }
    }

    /// Tries again to open the streams of a task that was taken over.
    pub(super) fn adopt_streams_again(&mut self, task: TaskId) {
        let Some(held_up) = self.unadopted.streams.remove(&task) else { return };
        let HeldUp { owner, pipes: _pipes, wait } = held_up;
        let Some(identity) = self.engine.identity(task) else { return };
        let pipes = self.relay.pipes_left().remove(&*identity.name).unwrap_or_default();
        self.adopt_streams_of(task, owner, pipes, (wait * 2).min(SINK_RETRY_MAX));
        let state = self.engine.status(task).map(|status| status.state);
        if state == Some(StateName::Exited) {
            self.relay.close(self.now.mono, task);
        }
    }

    /// Groups of runs that are over stay until what was left in them is gone.
    pub(super) fn adopt_groups(&mut self, known: &BTreeSet<String>) {
        for leaf in self.groups.leaves() {
            if !known.contains(&leaf)
                && let Finish::Watch(key) = self.groups.finish(leaf, None, false)
            {
                self.register_group(key);
            }
        }
    }
}

/// A run as it is before anything of it is found.
fn adopted_run(left: &Left, pid: Pid, main: Main) -> Run {
    let containment = if left.contained { Containment::CgroupV2 } else { Containment::Session };
    Run { main, adopted: true, ..Run::new(left.task, left.number, pid, containment) }
}
