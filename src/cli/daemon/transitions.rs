//! The log of what happens to tasks: a line for each transition.

use crate::vocabulary::{Event, EventKind, Status};
use log::Level;
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

/// A task that crashes again and again gets so many lines in so much time.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Windows that are remembered before those that are over are looked for.
const WINDOWS_KEPT: usize = 1024;

/// Writes the log, and bounds it for each task.
#[derive(Debug, Default)]
pub(super) struct Transitions {
    /// By a number made of the task's name: names that come and go would leave holes in the memory
    /// between what stays of each launch.
    windows: HashMap<u64, Window>,
    /// When those that are over are forgotten, where there are many.
    tidy_at: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    lines: u32,
    held_back: u32,
}

impl Transitions {
    /// Writes the line of an event; `id` is the printed form of the launch's id.
    pub(super) fn log(&mut self, event: &Event, id: &str) {
        let (may, held_back) = self.admit(&event.status.identity.name, Instant::now());
        if held_back > 0 {
            let name = &event.status.identity.name;
            log::info!("task={name} {held_back} lines were held back, it changes too often");
        }
        if may {
            log::log!(level(event.kind), "{}", line(event, id));
        }
    }

    /// How long the loop waits at most before [`Transitions::tidy`].
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.tidy_at.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Forgets the windows that are over, once it is time. Whether it was, so that memory is free
    /// that many have taken.
    pub(super) fn tidy(&mut self, now: Instant) -> bool {
        if self.tidy_at.is_none_or(|at| at > now) {
            return false;
        }
        self.windows.retain(|_, window| {
            window.held_back > 0 || now.saturating_duration_since(window.begun) < WINDOW
        });
        self.windows.shrink_to(WINDOWS_KEPT);
        // Those of tasks that were held back wait for their next line.
        let is_quiet = self.windows.values().all(|window| window.held_back > 0);
        self.tidy_at = (!is_quiet && self.windows.len() > WINDOWS_KEPT).then(|| now + WINDOW);
        true
    }

    /// Whether another line may be written now, and how many were held back before it.
    fn admit(&mut self, name: &str, now: Instant) -> (bool, u32) {
        let new = Window { begun: now, lines: 0, held_back: 0 };
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let key = hasher.finish();
        let Some(window) = self.windows.get_mut(&key) else {
            self.windows.insert(key, Window { lines: 1, ..new });
            if self.windows.len() > WINDOWS_KEPT {
                self.tidy_at.get_or_insert(now + WINDOW);
            }
            return (true, 0);
        };
        let mut held_back = 0;
        if now.saturating_duration_since(window.begun) >= WINDOW {
            held_back = window.held_back;
            *window = new;
        }
        let may = window.lines < LINES_MAX;
        if may {
            window.lines += 1;
        } else {
            window.held_back += 1;
        }
        (may, held_back)
    }
}

fn level(kind: EventKind) -> Level {
    match kind {
        EventKind::OutputLost | EventKind::Stuck => Level::Error,
        EventKind::StartFailed | EventKind::OomKilled | EventKind::OutputStalled => Level::Warn,
        _ => Level::Info,
    }
}

fn line(event: &Event, id: &str) -> String {
    let status = &event.status;
    let mut line = format!(
        "task={} id={id} event={} state={}",
        status.identity.name,
        event.kind.as_str(),
        status.state.as_str()
    );
    // Writing to a string cannot fail.
    let _ = details(&mut line, event, status);
    line
}

fn details(line: &mut String, event: &Event, status: &Status) -> std::fmt::Result {
    if let Some(pid) = status.pid {
        write!(line, " pid={pid}")?;
    }
    if let (EventKind::Exited | EventKind::Finished, Some(exit)) = (event.kind, &status.exit) {
        write!(line, " exit={} signal={}", exit.status.exit_code(), exit.status.signal())?;
    }
    if status.restarts > 0 {
        write!(line, " restarts={}", status.restarts)?;
    }
    if let (EventKind::Backoff, Some(at)) = (event.kind, status.next_start) {
        let wait = at.as_micros().saturating_sub(event.time.as_micros());
        write!(line, " next_ms={}", wait / 1000)?;
    }
    if let (EventKind::StartFailed, Some(error)) = (event.kind, &status.error) {
        write!(line, " stage={} error={:?}", error.stage.as_str(), error.message)?;
    }
    if let Some(detail) = &event.detail {
        write!(line, " detail={detail:?}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_does_not_fill_the_log() {
        let mut transitions = Transitions::default();
        let begin = Instant::now();
        let admitted = (0..100).filter(|_| transitions.admit("a", begin).0).count();
        assert_eq!(admitted, LINES_MAX as usize);
        assert_eq!(transitions.admit("b", begin), (true, 0));
        assert_eq!(transitions.admit("a", begin + WINDOW), (true, 80));
        assert_eq!(transitions.admit("a", begin + WINDOW), (true, 0));
    }

    #[test]
    fn windows_that_are_over_are_forgotten() {
        let mut transitions = Transitions::default();
        let begin = Instant::now();
        for number in 0..5000 {
            transitions.admit(&number.to_string(), begin);
        }
        transitions.admit("last", begin + WINDOW / 2);
        (0..100).for_each(|_| _ = transitions.admit("often", begin));
        assert!(!transitions.tidy(begin + WINDOW / 2));
        assert_eq!(transitions.windows.len(), 5002, "it is not time");
        assert!(transitions.tidy(begin + WINDOW));
        assert_eq!(transitions.windows.len(), 2);
        assert!(transitions.windows.capacity() < 5000 && transitions.timeout().is_none());
        assert_eq!(transitions.admit("often", begin + WINDOW), (true, 80));
    }
}
