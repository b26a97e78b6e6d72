//! The tasks, as far as the daemon has told of them, and which of them are shown in what order.

use super::columns::Column;
use crate::cli::top::wire::{Event, Status, TaskStats, Usage};
use std::collections::BTreeMap;

/// A task and what it uses.
#[derive(Clone, PartialEq, Default, Debug)]
pub(in crate::cli::top) struct Task {
    pub(in crate::cli::top) status: Status,
    pub(in crate::cli::top) usage: Usage,
    /// Bytes a second, once there are two measurements.
    pub(in crate::cli::top) read_rate: Option<f64>,
    pub(in crate::cli::top) write_rate: Option<f64>,
    measured_us: Option<u64>,
    /// The daemon was asked for what events do not tell.
    asked: bool,
}

impl Task {
    /// Whether it has a process, or had one a moment ago.
    pub(in crate::cli::top) fn is_alive(&self) -> bool {
        matches!(self.status.state.as_str(), "running" | "stopping")
    }

    /// The start of its run, if it has one.
    pub(in crate::cli::top) fn running_since(&self) -> Option<u64> {
        self.status.started_us.filter(|_| self.is_alive())
    }

    /// Bytes read and written a second.
    pub(in crate::cli::top) fn io_rate(&self) -> Option<f64> {
        match (self.read_rate, self.write_rate) {
            (Some(read), Some(write)) => Some(read + write),
            (read, write) => read.or(write),
        }
    }

    fn forget_usage(&mut self) {
        self.usage = Usage::default();
        (self.read_rate, self.write_rate, self.measured_us) = (None, None, None);
    }

    fn measure(&mut self, stats: &TaskStats) {
        let seconds = self
            .measured_us
            .and_then(|before| stats.time_us.checked_sub(before))
            .map(|microseconds| microseconds as f64 / 1e6)
            .filter(|&seconds| seconds > 0.0);
        // Totals of a new run begin at zero.
        let rate = |before: Option<u64>, now: Option<u64>| {
            Some(now?.checked_sub(before?)? as f64 / seconds?)
        };
        self.read_rate = rate(self.usage.io_read_bytes, stats.total.io_read_bytes);
        self.write_rate = rate(self.usage.io_write_bytes, stats.total.io_write_bytes);
        self.usage = stats.total;
        self.measured_us = Some(stats.time_us);
    }
}

/// Which tasks are shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) struct Selection {
    /// Part of the name, the command or the state; upper and lower case are the same.
    pub(in crate::cli::top) filter: String,
    /// Those that have exited, too.
    pub(in crate::cli::top) exited: bool,
    pub(in crate::cli::top) sort: Column,
    pub(in crate::cli::top) descending: bool,
}

impl Selection {
    fn wants(&self, task: &Task, filter: &str) -> bool {
        let status = &task.status;
        let has = |text: &str| text.to_lowercase().contains(filter);
        (self.exited || status.state != "exited")
            && (filter.is_empty()
                || has(&status.name)
                || has(&status.state)
                || status.command.as_deref().is_some_and(has))
    }
}

/// The states of tasks, as they are counted.
pub(in crate::cli::top) const STATES: [&str; 5] =
    ["running", "stopping", "backoff", "pending", "exited"];

/// What all tasks together come to.
#[derive(Copy, Clone, PartialEq, Default, Debug)]
pub(in crate::cli::top) struct Totals {
    /// How many there are in each of [`STATES`].
    pub(in crate::cli::top) counts: [usize; STATES.len()],
    pub(in crate::cli::top) cpu_percent: Option<f64>,
    pub(in crate::cli::top) memory_bytes: Option<u64>,
    pub(in crate::cli::top) read_rate: Option<f64>,
    pub(in crate::cli::top) write_rate: Option<f64>,
}

/// All tasks.
#[derive(Debug, Default)]
pub(in crate::cli::top) struct Tasks {
    by_name: BTreeMap<String, Task>,
    /// The names of those that are shown, in order.
    shown: Vec<String>,
    totals: Totals,
    /// Something has changed since `shown` and `totals` were made.
    stale: bool,
}

impl Tasks {
    pub(in crate::cli::top) fn get(&self, name: &str) -> Option<&Task> {
        self.by_name.get(name)
    }

    /// The names of those that are shown, in order.
    pub(in crate::cli::top) fn shown(&self) -> &[String] {
        &self.shown
    }

    pub(in crate::cli::top) fn totals(&self) -> Totals {
        self.totals
    }

    pub(in crate::cli::top) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// These are all.
    pub(super) fn replace(&mut self, statuses: Vec<Status>) {
        let mut before = std::mem::take(&mut self.by_name);
        for status in statuses {
            let known = before.remove(&status.name).filter(|task| task.status.id == status.id);
            let task = Task { status, ..known.unwrap_or_default() };
            self.by_name.insert(task.status.name.clone(), task);
        }
        self.stale = true;
    }

    /// Something has happened to one.
    pub(super) fn take_event(&mut self, event: &Event) {
        self.stale = true;
        if event.kind == "removed" {
            self.by_name.remove(&event.name);
            return;
        }
        let Some(status) = &event.status else { return };
        let task = self.by_name.entry(event.name.clone()).or_default();
        if task.status.id != status.id {
            *task = Task::default();
        }
        // Events do not tell the command.
        let command = task.status.command.take();
        task.status = Status { command, ..status.clone() };
        if matches!(event.kind.as_str(), "started" | "exited" | "start_failed") {
            task.forget_usage();
        }
    }

    /// What one uses.
    pub(super) fn measure(&mut self, stats: &TaskStats) {
        if let Some(task) = self.by_name.get_mut(&stats.name)
            && task.status.id == stats.id
            && task.is_alive()
        {
            task.measure(stats);
            self.stale = true;
        }
    }

    /// The command of one, which the daemon was asked for.
    pub(super) fn complete(&mut self, status: &Status) {
        if let Some(task) = self.by_name.get_mut(&status.name)
            && task.status.id == status.id
        {
            task.status.command.clone_from(&status.command);
            self.stale = true;
        }
    }

    /// The first of these whose command is not known and was not asked for; it is now.
    pub(super) fn next_incomplete(&mut self, names: std::ops::Range<usize>) -> Option<String> {
        for name in self.shown.get(names).unwrap_or_default() {
            if let Some(task) = self.by_name.get_mut(name)
                && task.status.command.is_none()
                && !std::mem::replace(&mut task.asked, true)
            {
                return Some(name.clone());
            }
        }
        None
    }

    /// What is shown depends on something else now.
    pub(super) fn reselect(&mut self) {
        self.stale = true;
    }

    /// Chooses and sorts what is shown, if anything has changed; whether it had.
    pub(super) fn refresh(&mut self, selection: &Selection) -> bool {
        if !std::mem::take(&mut self.stale) {
            return false;
        }
        let filter = selection.filter.to_lowercase();
        let wanted = self.by_name.values().filter(|task| selection.wants(task, &filter));
        let mut wanted: Vec<&Task> = wanted.collect();
        wanted.sort_by(|one, other| selection.sort.compare(selection.descending, one, other));
        self.shown = wanted.iter().map(|task| task.status.name.clone()).collect();
        self.totals = self.sum();
        true
    }

    fn sum(&self) -> Totals {
        fn add<T: std::ops::Add<Output = T> + Copy>(sum: &mut Option<T>, more: Option<T>) {
            *sum = match (*sum, more) {
                (Some(sum), Some(more)) => Some(sum + more),
                (sum, more) => sum.or(more),
            };
        }
        let mut totals = Totals::default();
        for task in self.by_name.values() {
            for (state, count) in STATES.iter().zip(&mut totals.counts) {
                *count += usize::from(task.status.state == *state);
            }
            add(&mut totals.cpu_percent, task.usage.cpu_percent);
            add(&mut totals.memory_bytes, task.usage.memory_rss_bytes);
            add(&mut totals.read_rate, task.read_rate);
            add(&mut totals.write_rate, task.write_rate);
        }
        totals
    }
}
