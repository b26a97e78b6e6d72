//! What tasks use: measured when somebody asks, in slices, and kept until it is measured again.
//!
//! Whoever asks names tasks, and they go into one queue; a task that was measured a moment ago, or
//! waits there already, is not measured again. Nothing is done while nobody asks.

mod gather;
mod percent;
mod strays;

use super::Supervisor;
use super::groups::Groups;
use super::run::{Run, Runs};
use crate::engine::Engine;
use crate::sys::clock;
use crate::sys::reader::Reader;
use crate::vocabulary::limits::{STATS_ADD_UP, STATS_FRESH, STATS_LOOK_EVERY, STATS_TURN_TIME};
use crate::vocabulary::{Containment, Mono, Now, Pid, RequestError, TaskId, TaskStats, Usage};
use gather::{Earlier, Gathering, Single};
use std::collections::{BTreeMap, VecDeque};
use strays::Strays;

/// A measurement that was asked for; see [`Supervisor::measure`].
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Measurement(u64);

/// The last measurement of each task, and what is to be measured.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    reader: Reader,
    slots: Slots,
    queue: VecDeque<TaskId>,
    /// Numbers of the last task that was put into the queue and of the last that was measured.
    asked: u64,
    done: u64,
    gathering: Option<Gathering>,
    strays: Strays,
}

/// What was found of one run of a task.
#[derive(Debug)]
struct Sample {
    run: u64,
    at: Now,
    /// When more than its processor time was read; `None` where something could not be read.
    looked: Option<Mono>,
    total: Usage,
    by_pid: Option<BTreeMap<Pid, Single>>,
    clocks: Box<[(Pid, u64)]>,
}

/// What there is to be measured.
pub(super) struct World<'a> {
    engine: &'a Engine,
    runs: &'a Runs,
    groups: &'a Groups,
    /// Orphans of tasks become our children.
    own_process: bool,
}

impl World<'_> {
    /// The name of a run's group.
    fn leaf(&self, run: &Run) -> String {
        let identity = self.engine.identity(run.task);
        identity.map(|identity| self.groups.leaf(identity, run.number)).unwrap_or_default()
    }

    /// The run of a task, if it has executed its command and something of it may be left.
    fn run(&self, task: TaskId) -> Option<&Run> {
        self.runs.get(task).filter(|run| run.start.is_none())
    }
}

/// What is known of one task.
#[derive(Debug)]
struct Slot {
    task: TaskId,
    sample: Option<Box<Sample>>,
    /// Where it stands in the queue.
    queued: Option<Queued>,
}

#[derive(Copy, Clone, Debug)]
struct Queued {
    /// Its number there.
    number: u64,
    /// Each process is wanted.
    by_pid: bool,
}

/// By the task's place in the table: thousands are asked for at once.
#[derive(Debug, Default)]
struct Slots(Vec<Slot>);

impl Slots {
    fn sample(&self, task: TaskId) -> Option<&Sample> {
        self.0.get(task.index()).filter(|slot| slot.task == task)?.sample.as_deref()
    }

    fn get_mut(&mut self, task: TaskId) -> Option<&mut Slot> {
        self.0.get_mut(task.index()).filter(|slot| slot.task == task)
    }

    /// The slot of a task; what an earlier one has left in its place is dropped.
    fn make(&mut self, task: TaskId) -> Option<&mut Slot> {
        let empty = |task| Slot { task, sample: None, queued: None };
        if self.0.len() <= task.index() {
            self.0.resize_with(task.index() + 1, || empty(task));
        }
        let slot = self.0.get_mut(task.index())?;
        if slot.task != task {
            *slot = empty(task);
        }
        Some(slot)
    }
}

impl Sampler {
    /// Whether something waits to be measured.
    pub(super) fn has_more(&self) -> bool {
        self.gathering.is_some() || !self.queue.is_empty()
    }

    /// A run is over: the next one begins anew.
    pub(super) fn forget(&mut self, task: TaskId) {
        if let Some(slot) = self.slots.get_mut(task) {
            slot.sample = None;
        }
        if self.gathering.take_if(|gathering| gathering.task == task).is_some() {
            self.done += 1;
        }
    }

    fn ask(&mut self, now: Mono, tasks: impl IntoIterator<Item = TaskId>, by_pid: bool) -> u64 {
        let mut last = 0;
        for task in tasks {
            let Some(slot) = self.slots.make(task) else { continue };
            if let Some(queued) = &mut slot.queued {
                queued.by_pid |= by_pid;
                last = last.max(queued.number);
                continue;
            }
            let is_fresh = |sample: &Sample| {
                (sample.by_pid.is_some() || !by_pid) && now.since(sample.at.mono) < STATS_FRESH
            };
            if slot.sample.as_deref().is_some_and(is_fresh) {
                continue;
            }
            self.asked += 1;
            self.queue.push_back(task);
            slot.queued = Some(Queued { number: self.asked, by_pid });
            last = self.asked;
        }
        last
    }

    /// Measures for one slice of time.
    fn work(&mut self, world: &World<'_>) {
        let begun = clock::now().mono;
        if self.queue.len() >= STATS_ADD_UP
            && let Ok(tree) = world.groups.system().tree
        {
            tree.add_up(&mut self.reader);
        }
        while self.has_more() && clock::now().mono.since(begun) < STATS_TURN_TIME {
            self.step(world);
        }
    }

    fn step(&mut self, world: &World<'_>) {
        if let Some(gathering) = &mut self.gathering {
            if gathering.step(world, &mut self.reader)
                && let Some(gathering) = self.gathering.take()
            {
                self.keep(gathering);
                self.done += 1;
            }
            return;
        }
        let Some(&task) = self.queue.front() else { return };
        let run = world.run(task);
        let by_descent = run.is_some_and(|run| run.containment != Containment::CgroupV2);
        if by_descent && !self.strays.step(world, &mut self.reader) {
            return;
        }
        self.queue.pop_front();
        let queued = self.slots.get_mut(task).and_then(|slot| slot.queued.take());
        let by_pid = queued.is_some_and(|queued| queued.by_pid);
        match run {
            Some(run) => self.gathering = self.begin(world, run, by_pid),
            None => self.forget(task),
        }
        self.done += u64::from(self.gathering.is_none());
    }

    /// Begins with a task; `None` where that was all.
    fn begin(&mut self, world: &World<'_>, run: &Run, by_pid: bool) -> Option<Gathering> {
        let now = clock::now().mono;
        let earlier = self.slots.sample(run.task).filter(|sample| sample.run == run.number);
        let earlier = earlier.map(|sample| Earlier {
            total: &sample.total,
            clocks: &sample.clocks,
            is_usable: (sample.by_pid.is_some() || !by_pid)
                && sample.looked.is_some_and(|looked| now.since(looked) < STATS_LOOK_EVERY),
        });
        let reader = &mut self.reader;
        match Gathering::begin(world, reader, &self.strays, run, by_pid, earlier) {
            Ok(gathering) => Some(gathering),
            Err(at) => {
                let slot = self.slots.get_mut(run.task);
                if let Some(sample) = slot.and_then(|slot| slot.sample.as_deref_mut()) {
                    sample.at = at;
                    percent::stands_still(&mut sample.total);
                    let singles = sample.by_pid.iter_mut().flat_map(|by| by.values_mut());
                    singles.for_each(|single| percent::stands_still(&mut single.usage));
                }
                None
            }
        }
    }

    fn keep(&mut self, mut gathering: Gathering) {
        let mut total = gathering.total();
        let mut by_pid = gathering.by_pid.then(|| std::mem::take(&mut gathering.by));
        let earlier = self.slots.sample(gathering.task);
        if let Some(earlier) = earlier.filter(|sample| sample.run == gathering.run) {
            let time = gathering.at.mono.since(earlier.at.mono);
            percent::compare(&earlier.total, &mut total, time);
            for (pid, single) in by_pid.iter_mut().flatten() {
                let before = earlier.by_pid.as_ref().and_then(|by| by.get(pid));
                if let Some(before) = before.filter(|before| before.began == single.began) {
                    percent::compare(&before.usage, &mut single.usage, time);
                }
            }
        }
        let sample = Sample {
            run: gathering.run,
            at: gathering.at,
            looked: gathering.is_complete().then_some(gathering.at.mono),
            total,
            by_pid,
            clocks: std::mem::take(&mut gathering.clocks).into(),
        };
        if let Some(slot) = self.slots.make(gathering.task) {
            slot.sample = Some(Box::new(sample));
        }
    }
}

impl Supervisor {
    /// What a task uses now. Percentages are those since it was last measured.
    ///
    /// A task with a cgroup and one process takes about 30 us, each further process about 20 us.
    /// For many tasks without holding up the loop: [`Supervisor::measure`].
    ///
    /// # Errors
    /// When there is no such task, or it has no process.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// let args = vec!["60".into()];
    /// let task = supervisor.launch(TaskSpec { args, ..TaskSpec::new("sleep") })?;
    /// let stats = supervisor.stats(task, true)?;
    /// assert_eq!(stats.total.processes, Some(1));
    /// assert!(stats.total.memory_rss_bytes > Some(0));
    /// assert!(stats.by_pid.is_some_and(|by_pid| by_pid.len() == 1));
    /// supervisor.remove(task, true)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&mut self, task: TaskId, by_pid: bool) -> Result<TaskStats, RequestError> {
        let Some(status) = self.status(task) else {
            return Err(RequestError::NoSuchTask { name: task.to_string() });
        };
        let wanted = self.measure([task], by_pid);
        while !self.is_measured(wanted) {
            self.sample();
        }
        self.measured(task, by_pid).ok_or_else(|| RequestError::NotRunning {
            name: status.identity.name.to_string(),
            state: status.state,
        })
    }

    /// Has tasks measured in the following turns, 0.5 ms in each, behind what was asked for before;
    /// `by_pid`: each process as well. What has been measured less than 50 ms ago is taken as it
    /// is.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// # let args = vec!["60".into()];
    /// # let task = supervisor.launch(TaskSpec { args, ..TaskSpec::new("sleep") })?;
    /// let tasks: Vec<_> = supervisor.tasks().collect();
    /// let measurement = supervisor.measure(tasks, false);
    /// while !supervisor.is_measured(measurement) {
    ///     supervisor.turn(None, &mut Vec::new())?;
    /// }
    /// let stats = supervisor.measured(task, false).ok_or("it has ended")?;
    /// assert_eq!(stats.total.processes, Some(1));
    /// # supervisor.remove(task, true)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn measure(
        &mut self,
        tasks: impl IntoIterator<Item = TaskId>,
        by_pid: bool,
    ) -> Measurement {
        Measurement(self.sampler.ask(clock::now().mono, tasks, by_pid))
    }

    /// Whether that is done. What was measured is kept until it is measured again.
    pub fn is_measured(&self, measurement: Measurement) -> bool {
        self.sampler.done >= measurement.0
    }

    /// What was found when a task was last measured; `None` where its run was not, or is over.
    pub fn measured(&self, task: TaskId, by_pid: bool) -> Option<TaskStats> {
        let run = self.runs.get(task)?;
        let sample = self.sampler.slots.sample(task).filter(|sample| sample.run == run.number)?;
        let identity = self.engine.identity(task)?;
        let singles = sample.by_pid.as_ref().filter(|_| by_pid);
        let by_pid = singles.map(|singles| {
            singles.iter().map(|(pid, single)| (*pid, single.usage.clone())).collect()
        });
        Some(TaskStats::new(identity.clone(), sample.at.wall, sample.total.clone(), by_pid))
    }

    /// The name of a task and what it used when it was last measured, without a copy.
    #[cfg(feature = "control")]
    pub(crate) fn usage_of(&self, task: TaskId) -> Option<(&str, &Usage)> {
        let sample = self.sampler.slots.sample(task)?;
        Some((&self.engine.identity(task)?.name, &sample.total))
    }

    /// Whether a task has a process, so that it can be measured.
    pub fn has_process(&self, task: TaskId) -> bool {
        self.runs.get(task).is_some_and(|run| run.start.is_none())
    }

    /// One slice of what is to be measured.
    pub(super) fn sample(&mut self) {
        let world = World {
            engine: &self.engine,
            runs: &self.runs,
            groups: &self.groups,
            own_process: self.options.own_process,
        };
        self.sampler.work(&world);
    }
}
