//! Giving a supervisor to another program.

use super::{
    HandedAsking, HandedHeld, HandedInit, HandedOver, HandedRun, HandedSink, HandedSupervisor,
    Store, Supervisor,
};
use crate::reactor::run::{Main, Run};
use crate::vocabulary::{Sink, StreamKind, TaskId};
use std::io;
use std::os::fd::AsRawFd;

impl Supervisor {
    /// From now on, or not any more: nothing is started. What is to be started waits.
    pub(crate) fn hold_starts(&mut self, hold: bool) {
        self.starts.hold(hold);
    }

    /// Whether all tasks are being stopped, or are to be left.
    pub(crate) fn is_ending(&self) -> bool {
        self.engine.is_ending()
    }

    /// What keeps it from being handed over now, where that is the start of tasks or commands.
    pub(crate) fn unfinished_starts(&self) -> Vec<String> {
        let runs = (0..self.runs.places()).filter_map(|index| self.runs.at(index));
        let starting = runs.filter(|run| run.start.is_some()).map(|run| run.task);
        let name = |task| self.engine.identity(task).map(|identity| identity.name.to_string());
        starting.chain(self.execs.unfinished_starts()).filter_map(name).collect()
    }

    /// Whether all that was asked and told has been dealt with, so that it can be handed over once
    /// no start is unfinished.
    pub(crate) fn is_quiet(&self) -> bool {
        self.engine.is_quiet()
            && self.inputs.is_empty()
            && self.events.is_empty()
            && self.replies.is_empty()
            && !self.execs.has_more()
            && !self.unadopted.seeks_inits()
    }

    /// All that another program of this process needs to go on with it, beyond what
    /// [`Supervisor::describe_tasks`] says.
    pub(crate) fn hand_over(&self) -> HandedOver {
        let number = |task: TaskId| self.engine.identity(task).map(|identity| identity.number);
        let runs = (0..self.runs.places()).filter_map(|index| self.runs.at(index));
        let mut handed = HandedOver {
            supervisor: self.hand_over_itself(),
            runs: runs.filter_map(|run| Some(hand_over_run(number(run.task)?, run))).collect(),
            inits: self
                .left_inits
                .all()
                .map(|init| HandedInit { pid: init.pid.number(), pidfd: init.pidfd.as_raw_fd() })
                .collect(),
            ..HandedOver::default()
        };
        for identity in self.engine.tasks().filter_map(|task| self.engine.identity(task)) {
            for kind in [StreamKind::Stdout, StreamKind::Stderr] {
                let Sink::Descriptor(descriptor) = identity.sink(kind) else { continue };
                let (launch, descriptor) = (identity.number, descriptor.as_raw_fd());
                handed.sinks.push(HandedSink { launch, kind, descriptor });
            }
        }
        for (task, owner, pipes) in self.unadopted.held_up() {
            let pipes = pipes.iter().map(AsRawFd::as_raw_fd).collect();
            let held = |launch| HandedHeld { launch, owner, pipes };
            handed.held.extend(number(task).map(held));
        }
        for asking in self.engine.asking() {
            handed.asking.extend(number(asking.task).map(|launch| HandedAsking {
                ticket: asking.ticket,
                launch,
                ask: asking.ask,
                deadline: asking.deadline,
            }));
        }
        for (exec, executing) in self.engine.executing() {
            let launch = number(executing.task);
            let execs = launch.and_then(|launch| self.execs.hand_over(exec, launch, &executing));
            handed.execs.extend(execs);
        }
        self.relay.hand_over(&mut handed);
        handed
    }

    fn hand_over_itself(&self) -> HandedSupervisor {
        let (stored, forgotten) = self.relay.stored_names();
        HandedSupervisor {
            next_ticket: self.next_ticket,
            home: self.groups.mounted().own.clone(),
            nofile: self.spawner.nofile_before(),
            init_image: self.spawner.init_program(),
            exits: self.kept_exits.as_ref().and_then(|exits| exits.descriptor()),
            lock: self.keeping.as_ref().and_then(|keeping| keeping.lock()),
            stored,
            forgotten,
            turns: self.health.turns,
            wakeups: self.health.wakeups,
            longest_turn_us: self.health.longest_turn_us,
            relayed: self.relay.relayed_bytes(),
            last_exec: self.execs.last_number(),
        }
    }

    /// Makes safe what has happened so far, where that is kept.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn keep_state(&mut self) -> io::Result<()> {
        self.take_down()
    }

    /// Notes all tasks in `store`, as for a supervisor that comes later.
    pub(crate) fn describe_tasks(&self, store: &mut dyn Store) {
        self.describe(store, self.groups.tree_path());
    }
}

fn hand_over_run(launch: u64, run: &Run) -> HandedRun {
    HandedRun {
        launch,
        pidfd: run.pidfd.as_ref().map(AsRawFd::as_raw_fd),
        zombie: run.main == Main::Zombie,
        gone: run.main == Main::Gone,
        adopted: run.adopted,
        sessions: run.sessions.to_vec(),
        init: run.init.as_ref().map(|init| (init.pid.number(), init.pidfd.as_raw_fd())),
        over: run.over.is_some(),
        oom_killed: run.over.flatten(),
    }
}
