//! Stats: what tasks use, once or at every interval.

use super::batch::{Batch, PARAMETERS_BYTES_MAX};
use super::{Context, Step};
use crate::control::failure::Failure;
use crate::control::session::Session;
use crate::control::ticks::next_tick;
use crate::control::wire::{Fields, TaskStatsShape};
use crate::reactor::{Measurement, Supervisor};
use crate::vocabulary::limits::{PIECE_BYTES, STATS_INTERVAL_MIN, STREAM_QUEUE_BYTES};
use crate::vocabulary::{LaunchNumber, TaskId};
use std::time::{Duration, Instant};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);

/// Figures that are being sent.
#[derive(Debug)]
pub(crate) struct StatsStream {
    /// The tasks that were named, each with the launch that was meant.
    named: Option<Vec<(TaskId, LaunchNumber)>>,
    by_pid: bool,
    /// Absent: once.
    interval: Option<Duration>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// To be measured at this time.
    Waiting(Instant),
    Measuring(Measurement, Vec<TaskId>),
    /// Still to be sent, the next one last.
    Sending(Vec<TaskId>),
}

/// Where a stream of figures stands, for another program to go on.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct StatsStanding {
    pub(crate) named: Option<Vec<(TaskId, LaunchNumber)>>,
    pub(crate) by_pid: bool,
    pub(crate) interval: Option<Duration>,
    /// How long it is until the next measurement.
    pub(crate) due: Duration,
    /// What of the last one is still to be sent, in this order.
    pub(crate) left: Option<Vec<TaskId>>,
}

#[cfg(feature = "cli")]
impl StatsStream {
    pub(crate) fn standing(&self) -> StatsStanding {
        let (due, left) = match &self.phase {
            Phase::Waiting(at) => (at.saturating_duration_since(Instant::now()), None),
            Phase::Measuring(_, tasks) => (Duration::ZERO, Some(tasks.clone())),
            Phase::Sending(left) => (Duration::ZERO, Some(left.iter().rev().copied().collect())),
        };
        let (by_pid, interval) = (self.by_pid, self.interval);
        StatsStanding { named: self.named.clone(), by_pid, interval, due, left }
    }

    /// Goes on; what was measured and not sent is measured again.
    pub(crate) fn go_on(standing: StatsStanding, supervisor: &mut Supervisor) -> StatsStream {
        let StatsStanding { named, by_pid, interval, due, left } = standing;
        let phase = match left {
            None => Phase::Waiting(Instant::now() + due),
            Some(tasks) => {
                Phase::Measuring(supervisor.measure(tasks.iter().copied(), by_pid), tasks)
            }
        };
        StatsStream { named, by_pid, interval, phase }
    }
}

impl StatsStream {
    pub(super) fn begin(
        mut fields: Fields,
        more: bool,
        context: &Context<'_>,
    ) -> Result<StatsStream, Failure> {
        let names = fields.strings("names")?;
        let interval = fields.milliseconds("interval_ms")?.unwrap_or(INTERVAL_DEFAULT);
        if interval < STATS_INTERVAL_MIN {
            return Err(Failure::invalid_parameter("interval_ms"));
        }
        let by_pid = fields.flag("by_pid")?.unwrap_or(false);
        fields.finish()?;
        let named = names.map(|names| {
            let find = |name: &String| {
                let status = context.status(name)?;
                let task = context.supervisor.find(name);
                let task = task.ok_or_else(|| Failure::no_such_task(name))?;
                Ok((task, status.identity.number))
            };
            names.iter().map(find).collect::<Result<Vec<_>, Failure>>()
        });
        Ok(StatsStream {
            named: named.transpose()?,
            by_pid,
            interval: more.then_some(interval),
            phase: Phase::Waiting(Instant::now()),
        })
    }

    /// When it is to be measured; `None` while it is.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(at) => Some(at),
            Phase::Measuring(..) | Phase::Sending(_) => None,
        }
    }

    /// Whether a step would do something.
    pub(crate) fn is_ready(&self, supervisor: &Supervisor, now: Instant) -> bool {
        match self.phase {
            Phase::Waiting(at) => at <= now,
            Phase::Measuring(measurement, _) => supervisor.is_measured(measurement),
            // Told by the socket.
            Phase::Sending(_) => false,
        }
    }

    /// The tasks that are meant and have a process.
    fn tasks(&self, supervisor: &Supervisor) -> Vec<TaskId> {
        let measurable = |task: &TaskId| supervisor.has_process(*task);
        match &self.named {
            None => supervisor.tasks().filter(measurable).collect(),
            Some(named) => {
                // The key of a task that was removed finds nobody.
                let tasks = named.iter().map(|(task, _)| *task);
                tasks.filter(measurable).collect()
            }
        }
    }

    pub(super) fn step(&mut self, session: &mut Session, context: &mut Context<'_>) -> Step {
        match &mut self.phase {
            Phase::Waiting(at) if *at > Instant::now() => Step::Idle,
            Phase::Waiting(_) => {
                let tasks = self.tasks(context.supervisor);
                let measurement = context.supervisor.measure(tasks.iter().copied(), self.by_pid);
                self.phase = Phase::Measuring(measurement, tasks);
                Step::More
            }
            Phase::Measuring(measurement, tasks) => {
                if !context.supervisor.is_measured(*measurement) {
                    return Step::Idle;
                }
                let mut tasks = std::mem::take(tasks);
                tasks.reverse();
                self.phase = Phase::Sending(tasks);
                Step::More
            }
            Phase::Sending(_) => self.send(session, context),
        }
    }

    fn send(&mut self, session: &mut Session, context: &Context<'_>) -> Step {
        let Phase::Sending(tasks) = &mut self.phase else { return Step::More };
        if self.interval.is_some() && session.output().len() > STREAM_QUEUE_BYTES {
            return Step::Full;
        }
        let most = if self.interval.is_some() { PIECE_BYTES / 2 } else { PARAMETERS_BYTES_MAX };
        let mut batch = Batch::new("stats", most);
        while let Some(&task) = tasks.last() {
            let measured = context.supervisor.measured(task, self.by_pid);
            let added = measured.is_none_or(|stats| {
                let id = context.supervisor.launch_id(&stats.identity);
                batch.push(&TaskStatsShape::of(&stats, id))
            });
            if !added {
                break;
            }
            tasks.pop();
        }
        let complete = tasks.is_empty();
        if batch.is_too_long() || !complete && self.interval.is_none() {
            session.fail(&Failure::reply_too_long());
            return Step::Over;
        }
        let reply = batch.finish_with("complete", complete);
        let Some(interval) = self.interval else {
            session.reply_json(&reply, false);
            return Step::Over;
        };
        let ends = complete && self.named.is_some() && self.tasks(context.supervisor).is_empty();
        session.reply_json(&reply, !ends);
        if ends {
            return Step::Over;
        }
        if complete {
            self.phase = Phase::Waiting(next_tick(interval));
            return Step::Idle;
        }
        Step::More
    }
}
