//! The columns of the table, and the order that each gives to the tasks.

use super::tasks::Task;
use std::cmp::Ordering;

/// A column of the table.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) enum Column {
    Name,
    State,
    Pid,
    Cpu,
    Memory,
    Io,
    Threads,
    Restarts,
    Uptime,
    Command,
}

impl Column {
    /// From left to right.
    pub(in crate::cli::top) const ALL: [Column; 10] = [
        Column::Name,
        Column::State,
        Column::Pid,
        Column::Cpu,
        Column::Memory,
        Column::Io,
        Column::Threads,
        Column::Restarts,
        Column::Uptime,
        Column::Command,
    ];

    /// What stands above it.
    pub(in crate::cli::top) fn heading(self) -> &'static str {
        match self {
            Column::Name => "NAME",
            Column::State => "STATE",
            Column::Pid => "PID",
            Column::Cpu => "CPU",
            Column::Memory => "RSS",
            Column::Io => "IO/s",
            Column::Threads => "THR",
            Column::Restarts => "RESTARTS",
            Column::Uptime => "UPTIME",
            Column::Command => "COMMAND",
        }
    }

    /// Whether the largest come first, unless the order is turned round.
    pub(in crate::cli::top) fn is_descending(self) -> bool {
        !matches!(self, Column::Name | Column::State | Column::Pid | Column::Command)
    }

    /// The column so many places to the right, or to the left; no further than the last.
    pub(super) fn moved(self, by: isize) -> Column {
        let position = Column::ALL.iter().position(|&column| column == self).unwrap_or(0);
        let moved = position.saturating_add_signed(by).min(Column::ALL.len() - 1);
        Column::ALL.get(moved).copied().unwrap_or(self)
    }

    /// How two tasks stand to each other. What was not measured comes last in either direction;
    /// what is equal stands by name.
    pub(super) fn compare(self, descending: bool, one: &Task, other: &Task) -> Ordering {
        let turned = |order: Ordering| if descending { order.reverse() } else { order };
        let order = match self {
            Column::Name => return turned(one.status.name.cmp(&other.status.name)),
            Column::State | Column::Command => turned(self.text(one).cmp(self.text(other))),
            _ => match (self.number(one), self.number(other)) {
                (Some(one), Some(other)) => turned(one.total_cmp(&other)),
                (one, other) => other.is_some().cmp(&one.is_some()),
            },
        };
        order.then_with(|| one.status.name.cmp(&other.status.name))
    }

    fn text(self, task: &Task) -> &str {
        match self {
            Column::State => &task.status.state,
            _ => task.status.command.as_deref().unwrap_or_default(),
        }
    }

    fn number(self, task: &Task) -> Option<f64> {
        let whole = |number: u64| number as f64;
        match self {
            Column::Pid => task.status.pid.map(|pid| pid as f64),
            Column::Cpu => task.usage.cpu_percent,
            Column::Memory => task.usage.memory_rss_bytes.map(whole),
            Column::Io => task.io_rate(),
            Column::Threads => task.usage.threads.map(whole),
            Column::Restarts => Some(whole(task.status.restarts)),
            // The longest is the one that started first.
            Column::Uptime => task.running_since().map(|since| -whole(since)),
            Column::Name | Column::State | Column::Command => None,
        }
    }
}
