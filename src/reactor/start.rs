//! Starting a run: a transaction that leaves nothing behind when it fails.

use super::groups::Finish;
use super::output::{ChildEnd, ChildEnds, Relay};
use super::run::{Inside, Main, Rest, Run, Start};
use super::token::{Key, Owner};
use super::{CgroupMode, ExitNotification, Supervisor, register};
use crate::engine::Input;
use crate::sys::failure::start_error;
use crate::sys::spawn::{Child, Placement, Spawned, StatusPipe, Streams};
use crate::sys::{clock, own_process};
use crate::vocabulary::limits::{
    FDS_RESERVED, FILES_GIVEN_BACK, STARTS_PER_TURN, STARTS_TURN_TIME,
};
use crate::vocabulary::{
    Containment, Identity, Mono, Ordered, Pid, Resources, Stage, StartError, StreamKind, TaskId,
    TaskSpec, Wall, cause,
};
use mio::Interest;
use nix::errno::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

/// Starts that wait for their turn, so that a storm of them leaves time for everything else.
#[derive(Debug, Default)]
pub(super) struct Starts {
    /// In order; those that were taken back still stand here.
    queue: VecDeque<(TaskId, u64)>,
    /// The run of each task that waits.
    wanted: Ordered<TaskId, u64>,
    left_this_turn: usize,
    /// When this turn has made starts for long enough.
    until: Option<Mono>,
    /// All of them wait.
    held: bool,
}

impl Starts {
    pub(super) fn push(&mut self, task: TaskId, run: u64) {
        self.wanted.insert(task, run);
        self.queue.push_back((task, run));
    }

    /// Whether none can be made now.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() || self.held
    }

    /// From now on, or not any more, all of them wait.
    #[cfg(feature = "cli")]
    pub(super) fn hold(&mut self, hold: bool) {
        self.held = hold;
    }

    /// A new turn begins, or a host asks for a start at once.
    pub(super) fn refill(&mut self) {
        self.left_this_turn = STARTS_PER_TURN;
        self.until = None;
    }

    /// The loop has slept: what was started before took none of the time that this turn has.
    pub(super) fn woke(&mut self) {
        self.until = None;
    }

    /// Takes the time of one start, while this turn has some.
    pub(super) fn take_one(&mut self) -> bool {
        let left = self.left_this_turn.checked_sub(1);
        let now = clock::now().mono;
        let in_time = *self.until.get_or_insert(now + STARTS_TURN_TIME) > now;
        self.left_this_turn = left.filter(|_| in_time).unwrap_or_default();
        left.is_some() && in_time
    }

    /// The next start, while this turn has time for one.
    pub(super) fn next(&mut self) -> Option<(TaskId, u64)> {
        while !self.is_empty() && self.left_this_turn > 0 {
            let (task, run) = self.queue.pop_front()?;
            if self.wanted.get(&task) == Some(&run) {
                if !self.take_one() {
                    self.queue.push_front((task, run));
                    return None;
                }
                self.wanted.remove(&task);
                return Some((task, run));
            }
        }
        None
    }

    /// For its room.
    pub(super) fn queue(&mut self) -> &mut VecDeque<(TaskId, u64)> {
        &mut self.queue
    }

    /// Takes back a start that has not begun.
    fn take_back(&mut self, task: TaskId) -> bool {
        self.wanted.remove(&task).is_some()
    }
}

impl Supervisor {
    pub(super) fn start(&mut self, task: TaskId, run: u64) {
        let Some(identity) = self.engine.identity(task).cloned() else { return };
        let outcome = self.note_intent().and_then(|()| self.try_start(task, run, &identity));
        if let Err(error) = outcome {
            self.inputs.push_back((task, Input::StartFailed(error)));
        }
    }

    fn try_start(
        &mut self,
        task: TaskId,
        run: u64,
        identity: &Arc<Identity>,
    ) -> Result<(), StartError> {
        let spec = &*identity.spec();
        let plan = self.spawner.plan(spec)?;
        // Others may have been started since this one was asked for.
        if !self.affords_descriptors(spec, self.relay.has_opened(task)) {
            let what = "open the sinks: the descriptors that are left are kept free";
            return Err(start_error(Stage::Output, Errno::EMFILE, what));
        }
        self.relay.open(task, identity, plan.owner())?;
        let ends = self.relay.begin_run(task, run)?;
        let stdin = spec.inherit_stdin.then_some(0);
        let made = self.make_group(identity, spec, run, plan.device_rules()).and_then(|group| {
            let child = self.spawner.spawn(&plan, streams(stdin, &ends), group.as_ref());
            if child.is_err() && group.is_some() {
                self.discard_group(self.groups.leaf(identity, run));
            }
            child.map(|child| (child, group))
        });
        match made {
            Ok((child, group)) => {
                self.keep(task, run, identity, child, Inside { plan, stdin, ends, group });
                Ok(())
            }
            Err(error) => {
                self.relay.abort_run(task);
                Err(error)
            }
        }
    }

    /// Removes the groups of a run that did not start.
    fn discard_group(&mut self, leaf: String) {
        if let Finish::Watch(key) = self.groups.finish(leaf, None, true) {
            self.register_group(key);
        }
    }

    /// The run's groups, where it is to have some and can.
    fn make_group(
        &mut self,
        identity: &Identity,
        spec: &TaskSpec,
        run: u64,
        device_rules: Option<&[String]>,
    ) -> Result<Option<Placement>, StartError> {
        if self.options.cgroup == CgroupMode::Never {
            return Ok(None);
        }
        self.groups.prepare();
        let limits = identity.resources().filter(|resources| !resources.is_unlimited());
        let required = self.options.cgroup == CgroupMode::Require || identity.cgroup().is_some();
        let leaf = self.groups.leaf(identity, run);
        let made = self.groups.make(&leaf);
        if made.is_ok()
            && let Err(error) = self.note_group()
        {
            self.discard_group(leaf);
            return Err(error);
        }
        let placement = match made {
            // The group above may hold back whoever is in it.
            Ok(placement) if identity.cgroup().is_some() => {
                return Ok(Placement::and_into(Some(placement), Vec::new(), true));
            }
            Ok(placement) => Some(placement),
            Err(error) if required || limits.is_some() && self.groups.has_tree() => {
                return Err(error);
            }
            Err(_) => None,
        };
        let contained = placement.is_some();
        self.limit_run(&leaf, spec, limits, device_rules, placement).inspect_err(|_| {
            if contained {
                self.discard_group(leaf);
            }
        })
    }

    /// Puts a run that is to come into what holds its limits and its devices.
    fn limit_run(
        &mut self,
        leaf: &str,
        spec: &TaskSpec,
        limits: Option<&Resources>,
        device_rules: Option<&[String]>,
        placement: Option<Placement>,
    ) -> Result<Option<Placement>, StartError> {
        let placement = match limits {
            Some(limits) => self.groups.limit(leaf, limits, placement)?,
            None => placement,
        };
        match device_rules {
            Some(rules) if self.groups.can_restrict_devices(spec) => {
                self.groups.restrict_devices(leaf, rules, placement)
            }
            _ => Ok(placement),
        }
    }

    /// Puts a child that exists into the tables: the main process, or an init. `inside` is how an
    /// init is followed by the main process.
    fn keep(
        &mut self,
        task: TaskId,
        run: u64,
        identity: &Identity,
        spawned: Spawned,
        inside: Inside,
    ) {
        let contained = inside.group.as_ref().is_some_and(Placement::contains);
        let containment = if contained { Containment::CgroupV2 } else { Containment::Session };
        let (child, pipe, inside) = match spawned {
            Spawned::Running(child) => (child, None, None),
            Spawned::Starting(child, pipe) => (child, Some(pipe), None),
            Spawned::Preparing(child, pipe) => (child, Some(pipe), Some(Box::new(inside))),
        };
        let Child { pid, pidfd } = child;
        let key = key_of(task);
        let mark = self.mark_of(pid, pidfd.as_ref());
        let mut unwatched = None;
        let (pidfd, watched) = match &inside {
            None => self.watch_process(key, pid, pidfd),
            Some(_) => {
                unwatched = pidfd.as_ref().and_then(|pidfd| self.watch_init(key, pidfd).err());
                let watched = unwatched.is_none();
                if !pidfd.as_ref().is_some_and(|pidfd| self.leaves_enough(pidfd, 1)) {
                    let what = "keep the init: the descriptors that are left are kept free";
                    let error = start_error(Stage::Namespace, Errno::EMFILE, what);
                    unwatched.get_or_insert(error);
                }
                (pidfd, watched)
            }
        };
        let (running, preparing) = (pipe.is_none(), inside.is_some());
        let mut unwatched_oom = None;
        let limits = identity.resources();
        let leaf = limits.map(|_| self.groups.leaf(identity, run)).unwrap_or_default();
        let oom = self.watch_oom(task, limits, &leaf).unwrap_or_else(|error| {
            unwatched_oom = Some(error);
            None
        });
        let start = pipe.map(|pipe| {
            let failure = unwatched.or(unwatched_oom);
            let failure = failure.or_else(|| self.watch_start(key, &pipe).err());
            Box::new(Start { pipe: Some(pipe), failure, executed: false, inside })
        });
        let unseen = start.as_ref().is_some_and(|start| start.failure.is_some());
        let new = Run::new(task, run, pid, containment);
        self.runs.insert(Run { pidfd, watched, start, mark, oom, ..new });
        self.note_process(task);
        if !preparing {
            self.inputs.push_back((task, Input::Spawned { pid, containment }));
        }
        if running {
            self.inputs.push_back((task, Input::ExecSucceeded));
        }
        if !watched {
            self.look_for_unwatched();
        }
        if unseen {
            self.kill_main_and_group(task);
        }
    }

    /// Has the loop tell of a process's end, or else a look from time to time.
    pub(super) fn watch_process(
        &mut self,
        key: Key,
        pid: Pid,
        pidfd: Option<OwnedFd>,
    ) -> (Option<OwnedFd>, bool) {
        let task = TaskId::new(key.index, key.generation);
        let pidfd = pidfd.filter(|fd| self.affords(task, fd.as_raw_fd()));
        let watched = match &pidfd {
            None => false,
            Some(fd) => {
                match register(&self.poll, fd.as_fd(), Owner::Process(key), Interest::READABLE) {
                    Ok(()) => true,
                    Err(error) => {
                        log::warn!(
                            "cannot watch process {pid} ({}): its end is looked for",
                            cause(&error)
                        );
                        false
                    }
                }
            }
        };
        if !watched {
            self.look_for_unwatched();
        }
        (pidfd, watched)
    }

    /// Whether a task may keep a pidfd of this number: descriptors are given out lowest first, so
    /// that the number tells how many there are.
    fn affords(&self, task: TaskId, pidfd: RawFd) -> bool {
        // A task whose output is relayed takes enough of them.
        let most = if self.relay.carries(task) {
            scarce_from(self.descriptor_limit)
        } else {
            self.descriptor_limit.saturating_sub(self.reserve())
        };
        match self.options.exit_notification {
            ExitNotification::Pidfd => true,
            ExitNotification::Sigchld => false,
            ExitNotification::Auto => self.child_signal.is_none() || (pidfd as u64) < most,
        }
    }

    /// Whether a descriptor of this number leaves so many reserves for everything else, and what is
    /// still to be taken over aside.
    pub(super) fn leaves_enough(&self, fd: &impl AsRawFd, reserves: u64) -> bool {
        let most = self.descriptor_limit.saturating_sub(reserves * self.reserve());
        let more = self.unadopted.descriptors;
        u64::try_from(fd.as_raw_fd()).is_ok_and(|number| number.saturating_add(more) < most)
    }

    /// Descriptors that tasks leave free for everything else.
    pub(super) fn reserve(&self) -> u64 {
        reserve(self.descriptor_limit)
    }

    pub(super) fn watch_start(&mut self, key: Key, pipe: &StatusPipe) -> Result<(), StartError> {
        register(&self.poll, pipe.as_fd(), Owner::Start(key), Interest::READABLE).map_err(|error| {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
            start_error(Stage::Clone, errno, "watch the pipe for the child's report")
        })
    }

    /// The pipe of a start has something to say.
    pub(super) fn start_told(&mut self, task: TaskId) {
        let start = self.runs.get_mut(task).and_then(|run| run.start.as_mut());
        let Some(pipe) = start.and_then(|start| start.pipe.as_mut()) else { return };
        if let Some(outcome) = pipe.outcome() {
            self.take_outcome(task, outcome);
        }
    }

    fn take_outcome(&mut self, task: TaskId, outcome: Result<(), StartError>) {
        let Some(run) = self.runs.get_mut(task) else { return };
        let Some(start) = &mut run.start else { return };
        start.pipe = None;
        match outcome {
            // It was killed before that was known: its end completes the failure.
            Ok(()) if start.failure.is_some() => start.executed = true,
            Ok(()) => match start.inside.take() {
                Some(inside) => self.enter_inside(task, *inside),
                None => {
                    run.start = None;
                    self.inputs.push_back((task, Input::ExecSucceeded));
                }
            },
            // Its end completes the failure. Where only its report was lost it may live.
            Err(error) => {
                start.failure.get_or_insert(error);
                if run.main == Main::Alive {
                    self.kill_main_and_group(task);
                }
            }
        }
    }

    /// A child has ended whose start is not over. True: the start has failed, which is told once
    /// nothing is left of it.
    pub(super) fn start_ended(&mut self, task: TaskId) -> bool {
        let start = self.runs.get_mut(task).and_then(|run| run.start.as_mut());
        if let Some(pipe) = start.and_then(|start| start.pipe.as_mut()) {
            let outcome = pipe.last_word();
            self.take_outcome(task, outcome);
        }
        let Some(run) = self.runs.get_mut(task) else { return true };
        let Some(start) = &mut run.start else { return false };
        run.rest = Some(Rest::Killed);
        if run.containment == Containment::Session && !start.executed {
            // It had no time to leave anything.
            self.emptied(task);
        } else {
            self.end_rest(task);
        }
        true
    }

    /// The exec has taken too long, or is not wanted any more.
    pub(super) fn abort_start(&mut self, task: TaskId) {
        let error = StartError {
            stage: Stage::Timeout,
            errno: 0,
            errno_name: String::new(),
            message: "start the command: its exec did not come in time".to_owned(),
            retry: true,
            time: Wall::default(),
        };
        if self.starts.take_back(task) {
            self.inputs.push_back((task, Input::StartFailed(error)));
            return;
        }
        // It may have succeeded by now: there is nothing to be taken back then.
        self.start_told(task);
        let Some(run) = self.runs.get_mut(task) else { return };
        let Some(start) = &mut run.start else { return };
        start.failure.get_or_insert(error);
        if run.main == Main::Alive {
            self.kill_main_and_group(task);
        }
    }

    /// How many descriptors are taken at least. They are given out lowest first: below the first
    /// free one all are. Files that need not be open make room for what does.
    pub(super) fn taken_descriptors(&mut self) -> Option<u64> {
        let taken = own_process::first_free_descriptor(self.as_fd());
        let few = taken.is_none_or(|taken| taken >= files_until(self.descriptor_limit));
        if few && self.relay.give_back(FILES_GIVEN_BACK) > 0 {
            return own_process::first_free_descriptor(self.as_fd());
        }
        taken
    }

    /// Whether the descriptors can be afforded that a task takes for as long as it runs.
    pub(super) fn affords_descriptors(&mut self, spec: &TaskSpec, has_sinks: bool) -> bool {
        let of_init = spec.isolation.as_deref().is_some_and(|isolation| isolation.pid);
        let needed = |scarce| match has_sinks {
            true => u64::from(of_init),
            false => u64::from(of_init) + Relay::descriptors_needed(spec, scarce),
        };
        if needed(false) == 0 {
            return true;
        }
        let Some(taken) = self.taken_descriptors() else { return false };
        let needed = needed(taken >= scarce_from(self.descriptor_limit));
        let most = self.descriptor_limit.saturating_sub(self.reserve());
        taken.max(self.relay.descriptors()) + needed <= most
    }
}

/// From which number on descriptors are scarce: half of what there may be.
pub(super) fn scarce_from(limit: u64) -> u64 {
    limit / 2
}

/// From which number on no file stays open between two writes: what is kept free for everything
/// else stays so for a crowd of clients as well.
pub(super) fn files_until(limit: u64) -> u64 {
    limit.saturating_sub(2 * reserve(limit))
}

fn reserve(limit: u64) -> u64 {
    FDS_RESERVED.min(limit / 4)
}

/// The key of a task's descriptors: that of the task itself.
pub(super) fn key_of(task: TaskId) -> Key {
    Key { index: task.index() as u32, generation: task.generation() }
}

/// What a child is to have as 0, 1 and 2.
pub(super) fn streams(stdin: Option<RawFd>, ends: &ChildEnds) -> Streams {
    Streams {
        stdin,
        stdout: raw_end(&ends.stdout, StreamKind::Stdout),
        stderr: raw_end(&ends.stderr, StreamKind::Stderr),
    }
}

fn raw_end(end: &ChildEnd, stream: StreamKind) -> Option<RawFd> {
    match end {
        ChildEnd::Null => None,
        ChildEnd::Inherit => Some(match stream {
            StreamKind::Stdout => 1,
            StreamKind::Stderr => 2,
        }),
        ChildEnd::Fd(fd) => Some(fd.as_raw_fd()),
    }
}
