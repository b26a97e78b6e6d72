//! What is said of a task's life, between the lines of its output.

use crate::vocabulary::{Event, EventKind, ExitStatus, Signal, Status};
use std::time::Duration;

/// The line about an event, for those that people want to see.
pub(super) fn line(event: &Event) -> Option<String> {
    let status = &event.status;
    let name = &status.identity.name;
    let told = match event.kind {
        EventKind::Started => format!("started, pid {}", status.pid?),
        EventKind::StartFailed => format!("cannot start: {}", status.error.as_ref()?),
        EventKind::Stopping => "is being stopped".to_owned(),
        EventKind::Exited => ended(status)?,
        EventKind::Backoff => format!("is started again {}", wait(status, event)),
        EventKind::Finished if status.gave_up => {
            format!("gave up after {} restarts", status.restarts)
        }
        EventKind::OomKilled => "was out of memory, the OOM killer ended a process".to_owned(),
        EventKind::Stuck => "cannot be killed: it is stuck in the kernel".to_owned(),
        EventKind::OutputLost | EventKind::OutputStalled => {
            let detail = event.detail.as_deref().unwrap_or_default();
            format!("{}: {detail}", event.kind.as_str())
        }
        _ => return None,
    };
    Some(format!("{name} {told}"))
}

fn ended(status: &Status) -> Option<String> {
    let exit = status.exit?;
    Some(match exit.status {
        ExitStatus::Exited(code) => format!("exited with code {code}"),
        ExitStatus::Signaled(signal) => {
            let signal = Signal::new(i32::from(signal)).map_or(String::new(), |s| s.to_string());
            format!("was ended by {signal}")
        }
        ExitStatus::Unknown => "ended, how is not known".to_owned(),
    })
}

fn wait(status: &Status, event: &Event) -> String {
    let now = event.time.as_micros();
    let wait = status.next_start.map_or(0, |at| at.as_micros().saturating_sub(now));
    format!("in {}", humantime::format_duration(Duration::from_millis(wait / 1000)))
}
