//! What the benchmarks share: arguments, tables, the bare floor, probes of this process.
//!
//! Each program measures the library and the bare floor in turns within one run, so that what the
//! machine does meanwhile hits both, and reports medians.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod apart;
pub(crate) mod arguments;
pub(crate) mod bare;
pub(crate) mod bare_relay;
pub(crate) mod crowd;
#[cfg(feature = "control")]
pub(crate) mod daemon;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod report;
pub(crate) mod stream;
pub(crate) mod trace;

use ostler::{Event, EventKind, Options, Supervisor};
use std::time::Duration;

/// What a benchmark may fail with.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A supervisor as the daemon has it: alone in its process, a cgroup for each task.
pub(crate) fn supervisor() -> Outcome<Supervisor> {
    Ok(Supervisor::new(Options { own_process: true, ..Options::default() })?)
}

/// Longer than anything here takes: past it something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Turns the loop until `count` events of this kind have come.
pub(crate) fn turn_until(
    supervisor: &mut Supervisor,
    kind: EventKind,
    count: usize,
) -> Outcome<()> {
    let mut left = count;
    let mut events: Vec<Event> = Vec::new();
    while left > 0 {
        let begun = std::time::Instant::now();
        supervisor.turn(Some(PATIENCE), &mut events)?;
        if events.is_empty() && begun.elapsed() >= PATIENCE {
            return Err(format!("no event {:?} within {PATIENCE:?}", kind.as_str()).into());
        }
        left = left.saturating_sub(events.iter().filter(|event| event.kind == kind).count());
        events.clear();
    }
    Ok(())
}

/// The middle value; of an even number the upper one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that `share` (0 to 1) of all values do not exceed.
pub(crate) fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len().saturating_sub(1) as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}
