//! From how a task ended to the exit code, and what is said of it.

use super::Refusal;
use crate::cli::complain::complain;
use crate::cli::failure::{NOT_EXECUTABLE, NOT_FOUND, OWN, TIMED_OUT};
use crate::control::status_to_json;
use crate::reactor::Supervisor;
use crate::vocabulary::{ExitStatus, RequestError, Stage, StartError, Status, Wall, cause};
use std::fs::File;
use std::io::Write;
use std::time::Duration;

/// Why nothing was started.
pub(super) fn of_refusal(error: &RequestError) -> Refusal {
    match error {
        RequestError::LaunchFailed(error) => of_start_error(error),
        error => Refusal::own(error),
    }
}

fn of_start_error(error: &StartError) -> Refusal {
    let absent = ["ENOENT", "ENOTDIR"].contains(&error.errno_name.as_str());
    let code = match error.stage {
        Stage::Lookup | Stage::Exec if absent => NOT_FOUND,
        Stage::Lookup | Stage::Exec => NOT_EXECUTABLE,
        Stage::Timeout => TIMED_OUT,
        _ => OWN,
    };
    Refusal { code, why: error.message.clone() }
}

/// The exit code of a task that has exited for good.
pub(super) fn of_end(status: &Status) -> Result<u8, Refusal> {
    let ended = status.exit.map_or(Wall::default(), |exit| exit.time);
    if let Some(error) = status.error.as_ref().filter(|error| error.time >= ended) {
        return Err(of_start_error(error));
    }
    let Some(exit) = status.exit else {
        return Err(Refusal::own("stopped before it was started"));
    };
    if exit.oom_killed == Some(true) {
        complain("run", "the OOM killer ended a process of the task: it used up its memory");
    }
    if status.gave_up {
        complain("run", format_args!("gave up after {} restarts", status.restarts));
    }
    if exit.status == ExitStatus::Unknown {
        return Err(Refusal::own("how the task ended is not known"));
    }
    Ok(u8::try_from(exit.status.exit_code()).unwrap_or(OWN))
}

/// The next run waits for its time.
pub(super) fn tell_restart(status: &Status) {
    let Some(exit) = status.exit else { return };
    let wait = match status.next_start {
        Some(at) => at.as_micros().saturating_sub(exit.time.as_micros()),
        None => 0,
    };
    let wait = humantime::format_duration(Duration::from_millis(wait / 1000));
    let code = exit.status.exit_code();
    complain("run", format_args!("exited with code {code}, is started again in {wait}"));
}

/// Writes the status as one line of JSON.
pub(super) fn report(mut file: File, status: &Status, supervisor: &Supervisor) {
    let id = supervisor.launch_id(&status.identity);
    let line = format!("{}\n", status_to_json(status, id));
    if let Err(error) = file.write_all(line.as_bytes()) {
        complain("run", format_args!("cannot write the status: {}", cause(&error)));
    }
}
