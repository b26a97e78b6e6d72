//! One task: where it stands, and what is known of it.

use super::restart::History;
use crate::vocabulary::{
    Containment, Exit, ExitStatus, Identity, Mono, Pid, StartError, StateName, Status, Wall,
};
use std::sync::Arc;
use std::time::Duration;

/// Where a task stands. A stop takes a state without a process straight to Exited; a start that
/// fails leads to Backoff, to Exited, or out of the table. `docs/states.md` tells each arrow.
///
/// ```text
///  Launch ──► Waiting ──► Starting ◄─────────────── Backoff ◄─┐
///    │                      ▲ │ ExecSucceeded                 │
///    └──── no `after` ──────┘ ▼                               │
///     ┌─────── stop ─────── Running                           │
///     │                       │ MainExited, by leftover:      │
///     │             ┌─────────┼────────────┐                  │
///     │             │ wait    │ kill       │ leave            │
///     ▼             ▼         │            ▼                  │
///  Stopping ◄─── Lingering    │         Leaving               │
///   │  │    stop    │         ▼            │                  │
///   │  └────────────┼────► Killing         │                  │
///   │    grace over │         │ Empty      │                  │
///   │  or MainExited│         ▼            │                  │
///   └───────────────┴────► Draining ◄──────┘                  │
///             Empty           │ OutputSettled                 │
///                             ├────── a restart is due ───────┘
///                             ▼
///                          Exited ──── Restart ───► Starting
/// ```
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum State {
    /// Nothing was started yet: some of what it comes after have not run.
    Waiting {
        /// How many of them.
        awaits: u32,
    },
    /// A run is being made, its exec is still to succeed.
    Starting {
        /// Why.
        cause: Cause,
        /// Once the child exists.
        main: Option<Pid>,
        /// It is being taken back.
        abort: Option<Abort>,
    },
    /// The main process runs.
    Running {
        /// That process.
        main: Pid,
    },
    /// The main process has ended, the rest runs on (leftover wait).
    Lingering {
        /// How it ended.
        ended: Ended,
    },
    /// The kill signal was sent, the grace runs.
    Stopping {
        /// The main process.
        main: Main,
    },
    /// All that is left was killed and is not gone yet.
    Killing {
        /// The main process.
        main: Main,
    },
    /// The main process has ended, the rest is being let go of (leftover leave).
    Leaving {
        /// How it ended.
        ended: Ended,
    },
    /// No process is left, output is on its way.
    Draining {
        /// How the main process ended.
        ended: Ended,
        /// Whether the OOM killer had a part in it, where somebody counts.
        oom_killed: Option<bool>,
    },
    /// Between two runs.
    Backoff {
        /// When the next one begins.
        next_start: Wall,
    },
    /// For good.
    Exited,
}

/// Why a run is being made.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The first run, the launch is not answered yet: if it fails the task is forgotten.
    Launch,
    /// The first run of a task that had to wait for others.
    After,
    /// Asked for by a restart.
    Asked,
    /// The restart policy.
    Policy,
}

/// Why a start is being taken back.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Abort {
    /// It took too long.
    Timeout,
    /// It was stopped.
    Stop,
}

/// The main process.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Main {
    /// It is there.
    Lives(Pid),
    /// It has ended so.
    Ended(Ended),
}

/// The end of the main process.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Ended {
    /// Which it was.
    pub pid: Pid,
    /// How.
    pub status: ExitStatus,
    /// When.
    pub time: Wall,
}

/// What follows the end of the run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Then {
    /// What the restart policy says.
    Policy,
    /// Nothing: it was stopped.
    Stay,
    /// The next run at once.
    Restart,
    /// It is forgotten.
    Remove,
}

/// One task.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) identity: Arc<Identity>,
    /// Changed by `Table::enter` alone.
    pub(super) state: State,
    /// Until when the state may last.
    pub(super) deadline: Option<Mono>,
    pub(super) then: Then,
    /// How long an exec may take.
    pub(super) start_timeout: Duration,
    /// Number of the current or last run.
    pub(super) run: u64,
    /// When its exec succeeded.
    pub(super) began: Mono,
    /// The same, for people. `None`: the task has never run.
    pub(super) started: Option<Wall>,
    pub(super) restarts: u32,
    pub(super) history: History,
    pub(super) exit: Option<Exit>,
    pub(super) error: Option<Arc<StartError>>,
    pub(super) containment: Option<Containment>,
    pub(super) gave_up: bool,
    pub(super) output_pending: bool,
    /// The processes that outlived their kill have been asked for.
    pub(super) listing: bool,
    /// Its run was taken over from an earlier supervisor.
    pub(super) adopted: bool,
    /// What of it was changed since somebody last asked.
    pub(super) changed: Changed,
}

/// What of a task was changed, for those who keep it.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Changed {
    Nothing,
    /// Where it stands.
    State,
    /// What it is as well.
    Spec,
    /// It is new.
    All,
}

impl State {
    pub(super) fn is_exited(self) -> bool {
        self == State::Exited
    }

    /// What is shown of it.
    pub(super) fn name(self) -> StateName {
        match self {
            State::Waiting { .. } | State::Starting { .. } => StateName::Pending,
            State::Running { .. } | State::Lingering { .. } => StateName::Running,
            State::Stopping { .. }
            | State::Killing { .. }
            | State::Leaving { .. }
            | State::Draining { .. } => StateName::Stopping,
            State::Backoff { .. } => StateName::Backoff,
            State::Exited => StateName::Exited,
        }
    }

    /// The main process, while there is one.
    pub(super) fn pid(self) -> Option<Pid> {
        match self {
            State::Starting { main, .. } => main,
            State::Running { main }
            | State::Stopping { main: Main::Lives(main) }
            | State::Killing { main: Main::Lives(main) } => Some(main),
            State::Stopping { main: Main::Ended(_) }
            | State::Killing { main: Main::Ended(_) }
            | State::Waiting { .. }
            | State::Lingering { .. }
            | State::Leaving { .. }
            | State::Draining { .. }
            | State::Backoff { .. }
            | State::Exited => None,
        }
    }
}

impl Task {
    pub(super) fn new(identity: Arc<Identity>, awaits: u32, start_timeout: Duration) -> Task {
        Task {
            identity,
            state: State::Waiting { awaits },
            deadline: None,
            then: Then::Policy,
            start_timeout,
            run: 0,
            began: Mono::default(),
            started: None,
            restarts: 0,
            history: History::default(),
            exit: None,
            error: None,
            containment: None,
            gave_up: false,
            output_pending: false,
            listing: false,
            adopted: false,
            changed: Changed::Nothing,
        }
    }

    /// What is known of it now.
    pub(super) fn status(&self) -> Status {
        Status {
            identity: Arc::clone(&self.identity),
            state: self.state.name(),
            pid: self.state.pid(),
            started: self.started,
            next_start: match self.state {
                State::Backoff { next_start } => Some(next_start),
                _ => None,
            },
            restarts: self.restarts,
            run: self.run,
            exit: self.exit,
            error: self.error.clone(),
            gave_up: self.gave_up,
            containment: self.containment,
            output_pending: self.output_pending,
            adopted: self.adopted,
        }
    }
}

// Ten thousand tasks are to fit into a few megabytes.
const _: () = assert!(size_of::<Task>() <= 160);
