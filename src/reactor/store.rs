//! Where a supervisor keeps what a later one needs to go on with its tasks. How that is written
//! down is another's: this is the border, in plain data.

use super::{CgroupMode, Due, Supervisor};
use crate::engine::{Change, Saved};
use crate::sys::failure::start_error;
use crate::sys::{adopted, clock};
use crate::vocabulary::limits::{SINK_LOG_EVERY, SNAPSHOT_TURN_TIME, STORE_RETRY};
use crate::vocabulary::{LaunchNumber, Mono, Pid, ProcessMark, Stage, StartError, TaskId, cause};
use nix::errno::Errno;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

/// Takes down what a later supervisor needs.
pub trait Store: fmt::Debug {
    /// Takes something down; it need not be safe before the next [`Store::flush`].
    fn note(&mut self, note: Note<'_>);

    /// Makes safe what was noted, against the death of this process. What could not be made safe
    /// is tried again by the next one.
    ///
    /// # Errors
    /// What the system refuses.
    fn flush(&mut self) -> io::Result<()>;

    /// Most of what is kept does not hold any more: it would be good to begin anew.
    fn wants_snapshot(&self) -> bool;

    /// What is noted from now on until the next [`Store::flush`] is all there is, and takes the
    /// place of what was there. Where that fails, what was there stays and goes on.
    fn begin_snapshot(&mut self, counters: Counters);

    /// Begins to make anew what is kept, bit by bit, while what is there goes on. Whatever is noted
    /// is part of both from now on.
    ///
    /// # Errors
    /// What the system refuses.
    fn begin_renewal(&mut self, _counters: Counters) -> io::Result<()> {
        Ok(())
    }

    /// Takes something down in what is made anew alone.
    fn renew(&mut self, _note: Note<'_>) {}

    /// Makes safe what is made anew, as far as it has come.
    ///
    /// # Errors
    /// What the system refuses: it is given up then.
    fn go_on_renewing(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// What was made anew is whole, and takes the place of what was there.
    ///
    /// # Errors
    /// What the system refuses: what was there stays and goes on.
    fn end_renewal(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The number of the descriptor that keeps others from the store, where it has one: it stays
    /// open while the process goes on with another program.
    fn lock(&self) -> Option<RawFd> {
        None
    }
}

/// Something that is taken down.
#[derive(Copy, Clone, Debug)]
pub enum Note<'a> {
    /// Of a task, as the engine sees it.
    Change(&'a Change),
    /// Of a run, as the kernel sees it.
    Process(&'a Process),
    /// The group in which the groups of runs are made.
    Tree(&'a Path),
    /// Number of the last event.
    Sequence(u64),
    /// The tasks are being stopped because the supervisor ends.
    Stopping,
}

/// Numbers that must not be used again.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Of the next launch.
    pub next_launch: LaunchNumber,
    /// Of the next run.
    pub next_run: u64,
    /// Of the last event.
    pub sequence: u64,
}

/// The process of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// The launch that it belongs to.
    pub launch: LaunchNumber,
    /// The run that it belongs to.
    pub run: u64,
    /// Its number.
    pub pid: Pid,
    /// What tells it from every other one; absent where the system would not say.
    pub mark: Option<ProcessMark>,
    /// Process 1 of its pid namespace, where it has one of its own.
    pub init: Option<(Pid, ProcessMark)>,
    /// User and group that new files of its sinks belong to, where they are not ours.
    pub owner: Option<(u32, u32)>,
    /// Its groups in v1 hierarchies.
    pub groups: Vec<PathBuf>,
}

/// All that an earlier supervisor has left.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Part of every launch's id.
    pub instance: String,
    /// It ran since the last boot, where we run; else no process of it is left.
    pub same_boot: bool,
    /// Numbers that it has used.
    pub counters: Counters,
    /// The group in which it made groups.
    pub tree: Option<PathBuf>,
    /// Its tasks.
    pub tasks: Vec<Saved>,
    /// The last known process of each.
    pub processes: HashMap<LaunchNumber, Process>,
    /// It was stopping its tasks.
    pub stopping: bool,
}

/// The store of a supervisor, and what is known of it.
#[derive(Debug)]
pub(super) struct Keeping {
    store: Box<dyn Store>,
    /// As it was last noted.
    sequence: u64,
    tree: Option<PathBuf>,
    /// It fails: not tried again before this, but for a start.
    failing: Option<Mono>,
    log_after: Mono,
    /// While the store is made anew: the place in the table of the next task for it.
    renewed: Option<usize>,
}

impl Keeping {
    pub(super) fn new(store: Box<dyn Store>) -> Keeping {
        let log_after = Mono::default();
        Keeping { store, sequence: 0, tree: None, failing: None, log_after, renewed: None }
    }

    #[cfg(feature = "cli")]
    pub(super) fn lock(&self) -> Option<RawFd> {
        self.store.lock()
    }
}

impl Supervisor {
    /// Takes a note, where notes are taken.
    pub(super) fn note(&mut self, note: Note<'_>) {
        if let Some(keeping) = &mut self.keeping {
            keeping.store.note(note);
        }
    }

    /// Makes everything safe that has happened so far, before it is told or acted upon.
    pub(super) fn take_down(&mut self) -> io::Result<()> {
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        while let Some(change) = self.engine.next_change() {
            keeping.store.note(Note::Change(&change));
        }
        if keeping.sequence != self.engine.sequence() {
            keeping.sequence = self.engine.sequence();
            keeping.store.note(Note::Sequence(keeping.sequence));
        }
        let result = keeping.store.flush();
        match &result {
            Ok(()) => {
                if keeping.failing.take().is_some() {
                    log::info!("the state is kept again");
                }
            }
            Err(error) => {
                let now = self.now.mono;
                if keeping.failing.is_none_or(|at| at <= now) {
                    keeping.failing = Some(now + STORE_RETRY);
                    self.deadlines.add(now + STORE_RETRY, Due::Store);
                }
                if now >= keeping.log_after {
                    keeping.log_after = now + SINK_LOG_EVERY;
                    log::error!(
                        "the state cannot be kept: {}; tasks go on, nothing is started until \
                         it can, and what happens meanwhile is lost if the supervisor is killed",
                        cause(error)
                    );
                }
            }
        }
        result
    }

    /// The same at the end of a turn: what fails is tried again after a while.
    pub(super) fn take_down_at_leisure(&mut self) {
        let now = self.now.mono;
        let Some(keeping) = &self.keeping else { return self.release_keeper() };
        if keeping.failing.is_some_and(|at| at > now) {
            return;
        }
        let is_long = keeping.store.wants_snapshot() || keeping.renewed.is_some();
        // A failure has been logged, and is tried again.
        let taken = self.take_down();
        if taken.is_ok() {
            self.release_keeper();
        }
        if is_long
            && taken.is_ok()
            && let Err(error) = self.renew_store()
        {
            log::warn!("the journal stays longer than it need be: {}", cause(&error));
            if let Some(keeping) = &mut self.keeping {
                keeping.failing = Some(now + STORE_RETRY);
                self.deadlines.add(now + STORE_RETRY, Due::Store);
            }
        }
    }

    /// Whether the store is being made anew, and not held up.
    pub(super) fn is_renewing(&self) -> bool {
        let has_begun = |keeping: &Keeping| keeping.renewed.is_some() && keeping.failing.is_none();
        self.keeping.as_ref().is_some_and(has_begun)
    }

    /// Makes the store anew, as far as a turn has time for it.
    fn renew_store(&mut self) -> io::Result<()> {
        let Some(mut keeping) = self.keeping.take() else { return Ok(()) };
        let renewed = self.renew(&mut keeping);
        keeping.renewed = renewed.as_ref().copied().unwrap_or_default();
        self.keeping = Some(keeping);
        renewed.map(drop)
    }

    /// The place to go on from; `None`: it is done.
    fn renew(&self, keeping: &mut Keeping) -> io::Result<Option<usize>> {
        let store = &mut *keeping.store;
        let until = clock::now().mono + SNAPSHOT_TURN_TIME;
        if keeping.renewed.is_none() {
            store.begin_renewal(self.counters())?;
            if let Some(tree) = keeping.tree.as_deref() {
                store.renew(Note::Tree(tree));
            }
        }
        for place in keeping.renewed.unwrap_or_default()..self.engine.places() {
            if clock::now().mono >= until {
                store.go_on_renewing()?;
                return Ok(Some(place));
            }
            let Some(task) = self.engine.at(place) else { continue };
            if let Some(saved) = self.engine.saved(task) {
                store.renew(Note::Change(&Change::Task(saved)));
            }
            if let Some(process) = self.process_of(task) {
                store.renew(Note::Process(&process));
            }
        }
        store.end_renewal()?;
        Ok(None)
    }

    /// Takes everything down anew.
    pub(super) fn take_down_all(&mut self) -> io::Result<()> {
        let Some(mut keeping) = self.keeping.take() else { return Ok(()) };
        // All of it is in what follows.
        while self.engine.next_change().is_some() {}
        (keeping.sequence, keeping.renewed) = (self.engine.sequence(), None);
        self.describe(&mut *keeping.store, keeping.tree.as_deref());
        let flushed = keeping.store.flush();
        self.keeping = Some(keeping);
        flushed
    }

    /// Notes everything in `store`, as what is all there is; `tree`: where groups are made.
    pub(super) fn describe(&self, store: &mut dyn Store, tree: Option<&Path>) {
        store.begin_snapshot(self.counters());
        if let Some(tree) = tree {
            store.note(Note::Tree(tree));
        }
        for task in self.engine.tasks() {
            if let Some(saved) = self.engine.saved(task) {
                store.note(Note::Change(&Change::Task(saved)));
            }
        }
        for process in self.processes() {
            store.note(Note::Process(&process));
        }
    }

    fn counters(&self) -> Counters {
        let (next_launch, next_run) = self.engine.next_numbers();
        Counters { next_launch, next_run, sequence: self.engine.sequence() }
    }

    /// What is to be known of the processes of every run.
    fn processes(&self) -> Vec<Process> {
        let runs = (0..self.runs.places()).filter_map(|index| self.runs.at(index));
        runs.filter_map(|run| self.process_of(run.task)).collect()
    }

    fn process_of(&self, task: TaskId) -> Option<Process> {
        let (run, identity) = self.runs.get(task).zip(self.engine.identity(task))?;
        let leaf = self.groups.leaf(identity, run.number);
        Some(Process {
            launch: identity.number,
            run: run.number,
            pid: run.pid,
            mark: run.mark,
            init: run.init.as_ref().and_then(|init| Some((init.pid, init.mark?))),
            owner: self.relay.owner_of(task),
            groups: self.groups.limits.groups(&leaf),
        })
    }

    /// What is about to be made is known to a later supervisor, whatever becomes of this one.
    pub(super) fn note_intent(&mut self) -> Result<(), StartError> {
        if self.keeping.is_none() {
            return Ok(());
        }
        if self.options.cgroup != CgroupMode::Never {
            self.groups.prepare();
            self.note_tree();
        }
        self.take_down_start()
    }

    /// What a later supervisor needs to find what is about to be started.
    fn take_down_start(&mut self) -> Result<(), StartError> {
        self.take_down().map_err(|error| StartError {
            retry: true,
            ..start_error(
                Stage::Journal,
                Errno::from_raw(error.raw_os_error().unwrap_or(0)),
                "keep what is started in the state directory",
            )
        })
    }

    /// The same where a group was made, and may be in a tree that is not taken down yet.
    pub(super) fn note_group(&mut self) -> Result<(), StartError> {
        if self.note_tree() { self.take_down_start() } else { Ok(()) }
    }

    /// What tells a new process from every other one, where somebody wants to know later.
    pub(super) fn mark_of(&self, pid: Pid, pidfd: Option<&OwnedFd>) -> Option<ProcessMark> {
        self.keeping.as_ref().and_then(|_| adopted::mark(pid, pidfd.map(AsFd::as_fd)))
    }

    /// Takes down the processes of a run.
    pub(super) fn note_process(&mut self, task: TaskId) {
        if self.keeping.is_some()
            && let Some(process) = self.process_of(task)
        {
            self.note(Note::Process(&process));
        }
    }

    /// Takes down where groups are made, before the first one is. True: it is another place now.
    pub(super) fn note_tree(&mut self) -> bool {
        let Some(keeping) = &mut self.keeping else { return false };
        match self.groups.tree_path() {
            Some(tree) if Some(tree) != keeping.tree.as_deref() => {
                keeping.tree = Some(tree.to_owned());
                keeping.store.note(Note::Tree(tree));
                true
            }
            _ => false,
        }
    }
}
