//! Going on with a supervisor that another program of this process has given.

use super::{HandedAsking, HandedOver, HandedRun, HandedSink, HandedSupervisor, Supervisor};
use crate::engine::{self, Asking, Config, Saved, State};
use crate::reactor::run::{Init, Main, Run};
use crate::reactor::start::key_of;
use crate::reactor::store::{Keeping, Kept, Process, Store};
use crate::reactor::token::Owner;
use crate::reactor::{Due, Options, register};
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::sys::{clock, own_process};
use crate::vocabulary::limits::SINK_RETRY_FIRST;
use crate::vocabulary::{Containment, ExecId, LaunchNumber, Pid, Sink, TaskId, cause};
use mio::Interest;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Commands in tasks: as they were known, and as they are.
pub(crate) type TakenExecs = HashMap<ExecId, ExecId>;

impl Supervisor {
    /// Goes on where the supervisor before it in this process stood: `kept` is what that has
    /// described, `handed` the rest, which names `descriptors`.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn take_over(
        mut options: Options,
        store: Option<Box<dyn Store>>,
        mut kept: Kept,
        mut handed: HandedOver,
        descriptors: &mut HandedDescriptors,
    ) -> io::Result<(Supervisor, TakenExecs)> {
        let exits = handed.supervisor.exits.and_then(|number| descriptors.take(number));
        options.manager.exits = exits.map(Arc::new);
        let counters = kept.counters;
        let config = Config {
            instance: kept.instance,
            seed: own_process::random_u64(),
            first_launch: counters.next_launch.max(1),
            first_run: counters.next_run.max(1),
            first_event: counters.sequence + 1,
        };
        let mut supervisor = Supervisor::begin(options, config)?;
        supervisor.now = clock::now();
        supervisor.resumed = true;
        if let Some(store) = store {
            supervisor.engine.note_changes();
            supervisor.keeping = Some(Keeping::new(store));
        }
        let itself = std::mem::take(&mut handed.supervisor);
        supervisor.take_over_itself(itself, kept.tree.as_deref(), descriptors);
        give_sinks(&mut kept.tasks, &handed.sinks, descriptors);
        let execs = supervisor.take_over_tasks(kept.tasks, &kept.processes, handed, descriptors);
        supervisor.note_tree();
        if let Err(error) = supervisor.take_down_all() {
            log::error!("the state cannot be kept: {}", cause(&error));
        }
        Ok((supervisor, execs))
    }

    fn take_over_itself(
        &mut self,
        handed: HandedSupervisor,
        tree: Option<&std::path::Path>,
        descriptors: &mut HandedDescriptors,
    ) {
        self.next_ticket = handed.next_ticket;
        let image = handed.init_image.and_then(|number| descriptors.take(number));
        self.spawner.go_on(handed.nofile, image);
        if let Some(tree) = tree {
            self.groups.go_on(tree, handed.home.as_deref());
        }
        self.relay.go_on(&handed.stored, &handed.forgotten, handed.relayed);
        self.execs.number_from(handed.last_exec);
        self.health.turns = handed.turns;
        self.health.wakeups = handed.wakeups;
        self.health.longest_turn_us = handed.longest_turn_us;
    }

    fn take_over_tasks(
        &mut self,
        tasks: Vec<Saved>,
        processes: &HashMap<LaunchNumber, Process>,
        handed: HandedOver,
        descriptors: &mut HandedDescriptors,
    ) -> TakenExecs {
        let known: Vec<_> = tasks
            .iter()
            .map(|saved| (saved.identity.number, saved.run, saved.state, saved.containment))
            .collect();
        let ids = self.engine.take_over(self.now, tasks);
        let launches = known.iter().map(|(launch, ..)| *launch);
        let by_launch: HashMap<LaunchNumber, TaskId> = launches.zip(ids.iter().copied()).collect();
        let runs: HashMap<LaunchNumber, HandedRun> =
            handed.runs.iter().map(|run| (run.launch, run.clone())).collect();
        let mut leaves = BTreeSet::new();
        for (&task, (launch, number, state, containment)) in ids.iter().zip(known) {
            let (Some(run), Some(pid)) = (runs.get(&launch), pid_of(state)) else { continue };
            let contained = containment == Some(Containment::CgroupV2);
            let new = Run::new(
                task,
                number,
                pid,
                if contained { Containment::CgroupV2 } else { Containment::Session },
            );
            let process = processes.get(&launch).filter(|process| process.run == number);
            leaves.extend(self.take_over_run(new, run, process, descriptors));
        }
        self.groups.limits.go_on();
        self.adopt_groups(&leaves);
        for init in &handed.inits {
            if let (Some(pid), Some(pidfd)) = (Pid::new(init.pid), descriptors.take(init.pidfd)) {
                self.follow_left_init(Init { pid, mark: None, pidfd, watched: false });
            }
        }
        for held in &handed.held {
            let Some(&task) = by_launch.get(&held.launch) else { continue };
            let pipes = held.pipes.iter().filter_map(|&number| descriptors.take(number));
            self.unadopted.hold_up(task, held.owner, pipes.collect(), SINK_RETRY_FIRST);
            self.deadlines.add(self.now.mono + SINK_RETRY_FIRST, Due::Streams(task));
        }
        for HandedAsking { ticket, launch, ask, deadline } in handed.asking.iter().copied() {
            if let Some(&task) = by_launch.get(&launch) {
                self.engine.ask_again(Asking { ticket, task, ask, deadline });
            }
        }
        let identity = |task| self.engine.identity(task).cloned();
        self.relay.take_over(
            &handed,
            |launch| {
                let task = *by_launch.get(&launch)?;
                Some((task, identity(task)?))
            },
            descriptors,
        );
        // The signals of children that have ended meanwhile may be one.
        self.schedule_sweep(self.now.mono);
        let mut execs = TakenExecs::new();
        for exec in handed.execs {
            let Some(&task) = by_launch.get(&exec.launch) else { continue };
            let before = exec.exec;
            execs.extend(self.take_over_exec(task, exec, descriptors).map(|now| (before, now)));
        }
        execs
    }

    /// Takes over what a run has in the kernel. The answer: the name of its group.
    fn take_over_run(
        &mut self,
        mut run: Run,
        handed: &HandedRun,
        process: Option<&Process>,
        descriptors: &mut HandedDescriptors,
    ) -> Option<String> {
        let (task, pid, number) = (run.task, run.pid, run.number);
        let identity = Arc::clone(self.engine.identity(task)?);
        run.main = match (handed.gone, handed.zombie) {
            (true, _) => Main::Gone,
            (false, true) => Main::Zombie,
            (false, false) => Main::Alive,
        };
        run.adopted = handed.adopted;
        run.mark = process.and_then(|process| process.mark);
        run.sessions = handed.sessions.clone().into_boxed_slice();
        run.over = handed.over.then_some(handed.oom_killed);
        run.pidfd = handed.pidfd.and_then(|number| descriptors.take(number));
        run.watched = run.pidfd.as_ref().is_some_and(|pidfd| {
            let owner = Owner::Process(key_of(task));
            register(&self.poll, pidfd.as_fd(), owner, Interest::READABLE).is_ok()
        });
        let lost = run.main == Main::Alive && run.adopted && !run.watched;
        let main = run.main;
        self.runs.insert(run);
        if main == Main::Gone {
            self.runs.forget_pid(pid, task);
        } else if lost {
            self.deadlines.add(self.now.mono, Due::Status(task));
        }
        self.take_over_init(task, handed, process, descriptors);
        let leaf = self.groups.leaf(&identity, number);
        if let Some(process) = process {
            self.groups.limits.adopt(&leaf, &process.groups);
        }
        match self.watch_oom(task, identity.resources(), &leaf) {
            Ok(None) => {}
            Ok(oom) => {
                if let Some(run) = self.runs.get_mut(task) {
                    run.oom = oom;
                }
                // It may have come just before.
                self.deadlines.add(self.now.mono, Due::Oom(task));
            }
            Err(error) => {
                log::warn!("task={} memory_oom_group will not be kept to: {error}", identity.name)
            }
        }
        Some(leaf)
    }

    fn take_over_init(
        &mut self,
        task: TaskId,
        handed: &HandedRun,
        process: Option<&Process>,
        descriptors: &mut HandedDescriptors,
    ) {
        let Some((pid, number)) = handed.init else { return };
        let (Some(pid), Some(pidfd)) = (Pid::new(pid), descriptors.take(number)) else { return };
        let seen = self.watch_init(key_of(task), &pidfd);
        if let Err(error) = &seen {
            log::warn!("the end of init {pid} is looked for from time to time: {error}");
            self.deadlines.add(self.now.mono, Due::Status(task));
        }
        if !handed.adopted {
            self.runs.note_pid(pid, task);
        }
        let mark = process.and_then(|process| process.init).map(|(_, mark)| mark);
        if let Some(run) = self.runs.get_mut(task) {
            run.init = Some(Box::new(Init { pid, mark, pidfd, watched: seen.is_ok() }));
        }
    }
}

/// Has the streams of tasks go to the descriptors of the host's that they went to before.
fn give_sinks(tasks: &mut [Saved], sinks: &[HandedSink], descriptors: &mut HandedDescriptors) {
    let mut places = HashMap::new();
    if !sinks.is_empty() {
        let numbers = tasks.iter().map(|saved| saved.identity.number);
        places.extend(numbers.zip(0..));
    }
    // One may be that of several streams.
    let mut taken = HashMap::new();
    for &HandedSink { launch, kind, descriptor } in sinks {
        let fd = taken
            .entry(descriptor)
            .or_insert_with(|| descriptors.take(descriptor).map(Arc::<OwnedFd>::new));
        let saved = places.get(&launch).and_then(|&place: &usize| tasks.get_mut(place));
        match (saved, fd) {
            (Some(saved), Some(fd)) => {
                let sink = Sink::Descriptor(Arc::clone(fd));
                saved.identity = Arc::new(saved.identity.with_sink(kind, sink));
            }
            _ => log::error!("output lost: {} of launch {launch}", kind.as_str()),
        }
    }
}

/// The main process of a run, living or not.
fn pid_of(state: State) -> Option<Pid> {
    match state {
        State::Running { main }
        | State::Stopping { main: engine::Main::Lives(main) }
        | State::Killing { main: engine::Main::Lives(main) } => Some(main),
        State::Starting { main, .. } => main,
        State::Lingering { ended }
        | State::Leaving { ended }
        | State::Stopping { main: engine::Main::Ended(ended) }
        | State::Killing { main: engine::Main::Ended(ended) } => Some(ended.pid),
        State::Waiting { .. } | State::Draining { .. } | State::Backoff { .. } | State::Exited => {
            None
        }
    }
}
