//! Where a task stands, in JSON.

use super::line::is_false;
use crate::engine::{Abort, Attempts, Cause, Ended, Main, Saved, State, Then};
use crate::vocabulary::{
    Containment, Exit, ExitStatus, LaunchNumber, Mono, Pid, Stage, StartError, Wall,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Where a task stands.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
#[serde(default)]
pub(super) struct StateLine {
    pub(super) launch: LaunchNumber,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_killed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    abort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_start_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    start_timeout_ms: u64,
    pub(super) run: u64,
    began_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_us: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    restarts: u32,
    #[serde(skip_serializing_if = "is_zero")]
    streak: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attempts_ns: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<(u64, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<EndedLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_oom_killed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    containment: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    gave_up: bool,
    #[serde(skip_serializing_if = "is_false")]
    output_pending: bool,
    #[serde(skip_serializing_if = "is_false")]
    adopted: bool,
}

/// How a main process ended: neither code nor signal where nobody can tell.
#[derive(Serialize, Deserialize, Copy, Clone, PartialEq, Debug)]
struct EndedLine {
    pid: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signal: Option<u8>,
    time_us: u64,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
struct ErrorLine {
    stage: String,
    errno: i32,
    errno_name: String,
    message: String,
    retry: bool,
    time_us: u64,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl StateLine {
    pub(super) fn of(saved: &Saved) -> StateLine {
        let mut line = StateLine {
            launch: saved.identity.number,
            deadline_ns: saved.deadline.map(Mono::as_nanos),
            then: then_name(saved.then).map(str::to_owned),
            start_timeout_ms: u64::try_from(saved.start_timeout.as_millis()).unwrap_or(u64::MAX),
            run: saved.run,
            began_ns: saved.began.as_nanos(),
            started_us: saved.started.map(Wall::as_micros),
            restarts: saved.restarts,
            streak: saved.attempts.streak,
            attempts_ns: saved.attempts.times.iter().map(|time| time.as_nanos()).collect(),
            counted: saved.attempts.counted.map(|(from, count)| (from.as_nanos(), count)),
            exit: saved
                .exit
                .map(|Exit { pid, status, time, .. }| EndedLine::of(Ended { pid, status, time })),
            exit_oom_killed: saved.exit.and_then(|exit| exit.oom_killed),
            error: saved.error.as_deref().map(ErrorLine::of),
            containment: saved.containment.map(|containment| containment.as_str().to_owned()),
            gave_up: saved.gave_up,
            output_pending: saved.output_pending,
            adopted: saved.adopted,
            ..StateLine::default()
        };
        line.set_state(saved.state);
        line
    }

    fn set_state(&mut self, state: State) {
        let name = match state {
            State::Waiting { .. } => "waiting",
            State::Starting { cause, main, abort } => {
                self.pid = main.map(Pid::number);
                self.cause = Some(cause_name(cause).to_owned());
                self.abort = abort.map(|abort| abort_name(abort).to_owned());
                "starting"
            }
            State::Running { main } => {
                self.pid = Some(main.number());
                "running"
            }
            State::Lingering { ended } => {
                self.ended = Some(EndedLine::of(ended));
                "lingering"
            }
            State::Stopping { main } => {
                self.set_main(main);
                "stopping"
            }
            State::Killing { main } => {
                self.set_main(main);
                "killing"
            }
            State::Leaving { ended } => {
                self.ended = Some(EndedLine::of(ended));
                "leaving"
            }
            State::Draining { ended, oom_killed } => {
                self.ended = Some(EndedLine::of(ended));
                self.oom_killed = oom_killed;
                "draining"
            }
            State::Backoff { next_start } => {
                self.next_start_us = Some(next_start.as_micros());
                "backoff"
            }
            State::Exited => "exited",
        };
        self.state = name.to_owned();
    }

    fn set_main(&mut self, main: Main) {
        match main {
            Main::Lives(pid) => self.pid = Some(pid.number()),
            Main::Ended(ended) => self.ended = Some(EndedLine::of(ended)),
        }
    }

    fn state(&self) -> Option<State> {
        let pid = || Pid::new(self.pid?);
        let ended = || self.ended?.ended();
        let main = || match (pid(), ended()) {
            (_, Some(ended)) => Some(Main::Ended(ended)),
            (pid, None) => pid.map(Main::Lives),
        };
        Some(match self.state.as_str() {
            "waiting" => State::Waiting { awaits: 0 },
            "starting" => State::Starting {
                cause: CAUSES
                    .into_iter()
                    .find(|&c| Some(cause_name(c)) == self.cause.as_deref())?,
                main: pid(),
                abort: ABORTS.into_iter().find(|&a| Some(abort_name(a)) == self.abort.as_deref()),
            },
            "running" => State::Running { main: pid()? },
            "lingering" => State::Lingering { ended: ended()? },
            "stopping" => State::Stopping { main: main()? },
            "killing" => State::Killing { main: main()? },
            "leaving" => State::Leaving { ended: ended()? },
            "draining" => State::Draining { ended: ended()?, oom_killed: self.oom_killed },
            "backoff" => State::Backoff { next_start: Wall::from_micros(self.next_start_us?) },
            "exited" => State::Exited,
            _ => return None,
        })
    }

    /// Puts a task where this line says; false where it says nothing that can be.
    pub(super) fn apply(self, saved: &mut Saved) -> bool {
        let Some(state) = self.state() else { return false };
        let then = THENS.into_iter().find(|&then| then_name(then) == self.then.as_deref());
        saved.state = state;
        saved.deadline = self.deadline_ns.map(Mono::from_nanos);
        saved.then = then.unwrap_or(Then::Policy);
        saved.start_timeout = Duration::from_millis(self.start_timeout_ms);
        saved.run = self.run;
        saved.began = Mono::from_nanos(self.began_ns);
        saved.started = self.started_us.map(Wall::from_micros);
        saved.restarts = self.restarts;
        saved.attempts = Attempts {
            streak: self.streak,
            times: self.attempts_ns.into_iter().map(Mono::from_nanos).collect(),
            counted: self.counted.map(|(from, count)| (Mono::from_nanos(from), count)),
        };
        let oom_killed = self.exit_oom_killed;
        saved.exit = self.exit.and_then(EndedLine::ended).map(|Ended { pid, status, time }| Exit {
            pid,
            status,
            oom_killed,
            time,
        });
        saved.error = self.error.and_then(ErrorLine::error).map(Arc::new);
        saved.containment = CONTAINMENTS
            .into_iter()
            .find(|containment| Some(containment.as_str()) == self.containment.as_deref());
        saved.gave_up = self.gave_up;
        saved.output_pending = self.output_pending;
        saved.adopted = self.adopted;
        true
    }
}

const CAUSES: [Cause; 4] = [Cause::Launch, Cause::After, Cause::Asked, Cause::Policy];
const ABORTS: [Abort; 2] = [Abort::Timeout, Abort::Stop];
const THENS: [Then; 4] = [Then::Policy, Then::Stay, Then::Restart, Then::Remove];
const CONTAINMENTS: [Containment; 3] =
    [Containment::CgroupV2, Containment::CgroupV1, Containment::Session];

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Launch => "launch",
        Cause::After => "after",
        Cause::Asked => "asked",
        Cause::Policy => "policy",
    }
}

fn abort_name(abort: Abort) -> &'static str {
    match abort {
        Abort::Timeout => "timeout",
        Abort::Stop => "stop",
    }
}

fn then_name(then: Then) -> Option<&'static str> {
    match then {
        Then::Policy => None,
        Then::Stay => Some("stay"),
        Then::Restart => Some("restart"),
        Then::Remove => Some("remove"),
    }
}

impl EndedLine {
    fn of(ended: Ended) -> EndedLine {
        let (code, signal) = match ended.status {
            ExitStatus::Exited(code) => (Some(code), None),
            ExitStatus::Signaled(signal) => (None, Some(signal)),
            ExitStatus::Unknown => (None, None),
        };
        EndedLine { pid: ended.pid.number(), code, signal, time_us: ended.time.as_micros() }
    }

    fn ended(self) -> Option<Ended> {
        let status = match (self.code, self.signal) {
            (Some(code), _) => ExitStatus::Exited(code),
            (None, Some(signal)) => ExitStatus::Signaled(signal),
            (None, None) => ExitStatus::Unknown,
        };
        Some(Ended { pid: Pid::new(self.pid)?, status, time: Wall::from_micros(self.time_us) })
    }
}

impl ErrorLine {
    fn of(error: &StartError) -> ErrorLine {
        ErrorLine {
            stage: error.stage.as_str().to_owned(),
            errno: error.errno,
            errno_name: error.errno_name.clone(),
            message: error.message.clone(),
            retry: error.retry,
            time_us: error.time.as_micros(),
        }
    }

    fn error(self) -> Option<StartError> {
        Some(StartError {
            stage: Stage::ALL.into_iter().find(|stage| stage.as_str() == self.stage)?,
            errno: self.errno,
            errno_name: self.errno_name,
            message: self.message,
            retry: self.retry,
            time: Wall::from_micros(self.time_us),
        })
    }
}
