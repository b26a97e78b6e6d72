//! The border of the engine: what comes in and what goes out, both plain data.
//!
//! A request or an input comes in, then all output is taken out in order: actions for the kernel,
//! replies for those who asked, events for everybody. The answer to an action comes in as another
//! input, at once or later.

use crate::vocabulary::{
    Containment, Event, ExecId, ExecSpec, Executed, ExitStatus, Pid, Reply, RequestError,
    Resources, Signal, StartError, StreamKind, TaskId, Ticket, Wall,
};

/// What happened outside, about one task. An input for a task that is gone is ignored.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The child exists; its exec is still to succeed. Answers [`Action::Spawn`].
    Spawned {
        /// The main process.
        pid: Pid,
        /// What holds its processes together.
        containment: Containment,
    },
    /// The child runs the command. Follows `Spawned`.
    ExecSucceeded,
    /// No process, group, descriptor or file of this run is left. Answers [`Action::Spawn`]
    /// (before or after `Spawned`) and [`Action::AbortSpawn`].
    StartFailed(StartError),
    /// The main process ended. May come before `ExecSucceeded`, and only once for each run.
    MainExited(ExitStatus),
    /// The same, where it ended some time ago and somebody has kept how and when.
    MainExitedBefore {
        /// How it ended.
        status: ExitStatus,
        /// When.
        time: Wall,
    },
    /// No process of the run is left and its group is gone. Answers [`Action::KillAll`] after
    /// `MainExited` has been told, [`Action::AwaitEmpty`] and [`Action::LeaveRest`]; once for each
    /// run, however many of these were asked for.
    Empty {
        /// Whether the OOM killer ended a process of this run; absent where no counter exists.
        oom_killed: Option<bool>,
    },
    /// The processes that are left. Answers [`Action::ListProcesses`].
    Processes(Vec<Pid>),
    /// The signal was sent, or why not. Answers [`Action::Signal`].
    Signaled {
        /// Of the action.
        ticket: Option<Ticket>,
        /// `NotRunning` or `NotPermitted`.
        result: Result<(), RequestError>,
    },
    /// The limits are in force, or as they were before. Answers [`Action::Update`].
    Updated(Updated),
    /// The exit may be told: all output of the run has reached its sinks, or a sink has not
    /// moved for [`crate::limits::DRAIN_PATIENCE`]. Answers [`Action::FinishOutput`].
    OutputSettled {
        /// Some is still on its way.
        pending: bool,
    },
    /// What was on its way after `OutputSettled { pending: true }` has arrived or was lost.
    OutputDelivered,
    /// Output was dropped.
    OutputLost {
        /// Of which stream.
        stream: StreamKind,
        /// How much; absent: not known.
        bytes: Option<u64>,
    },
    /// A sink fails or has no reader while output waits for it.
    OutputStalled {
        /// Of which stream.
        stream: StreamKind,
        /// Why.
        reason: String,
    },
}

/// What came of a change of limits.
#[derive(Clone, PartialEq, Debug)]
pub struct Updated {
    /// Of the action.
    pub ticket: Ticket,
    /// Of the action.
    pub change: Box<Resources>,
    /// `Unsupported` or `NotPermitted`.
    pub result: Result<(), RequestError>,
}

/// What the reactor has to do for one task.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Make the process of run number `run`. The answers: `Spawned` then `ExecSucceeded`, or
    /// `StartFailed`.
    Spawn {
        /// Unique within an instance.
        run: u64,
    },
    /// The exec takes too long: kill the child and all that it made. The answer: `StartFailed`,
    /// or `MainExited` (with or without an `ExecSucceeded` before it) where the exec succeeded
    /// meanwhile.
    AbortSpawn,
    /// Send a signal. The answer: `Signaled`.
    Signal {
        /// What to send.
        signal: Signal,
        /// To every process of the task, not to the main one alone.
        all: bool,
        /// Who asked, to be handed back.
        ticket: Option<Ticket>,
    },
    /// Kill every process of the run that is left. The answers: `MainExited` if the main one
    /// lived, then `Empty`. May follow [`Action::AwaitEmpty`], and an earlier one of itself.
    KillAll,
    /// Wait until no process of the run is left. The answer: `Empty`.
    AwaitEmpty,
    /// Let go of what is left, its group is removed once it is empty. The answer: `Empty`, at once,
    /// or when the commands in the task are gone.
    LeaveRest,
    /// Name the processes that are left. The answer: `Processes`.
    ListProcesses,
    /// Change the limits of the run, if there is one; all or none. Where there is none: say
    /// whether the next one can have them. The answer: `Updated`, at once.
    Update {
        /// What is absent stays.
        change: Box<Resources>,
        /// Who asked, to be handed back.
        ticket: Ticket,
    },
    /// Bring what is left in the pipes of this run to its sinks. The answer: `OutputSettled`.
    FinishOutput,
    /// The task has exited for good: its sinks get end of file after the last byte.
    CloseOutput,
    /// The task is forgotten: drop what is unread of its output, and everything else of it. The
    /// answer, before the next output is taken: `OutputLost` for each stream that lost something.
    Forget,
}

/// What happened outside, to one command that was run in a task. An input for one that is gone is
/// ignored.
#[derive(Clone, PartialEq, Debug)]
pub enum ExecInput {
    /// The child exists; its exec is still to succeed. Answers [`ExecAction::Spawn`].
    Spawned {
        /// The main process.
        pid: Pid,
    },
    /// The child runs the command. Follows `Spawned`.
    ExecSucceeded,
    /// No process, group or descriptor of it is left. Answers [`ExecAction::Spawn`], and
    /// [`ExecAction::Kill`] where the exec had not succeeded.
    StartFailed(StartError),
    /// The main process ended. May come before `ExecSucceeded`, and only once.
    MainExited(ExitStatus),
    /// No process of it is left and its group is gone. Answers [`ExecAction::Kill`] after
    /// `MainExited` has been told.
    Empty,
    /// The processes that are left. Answers [`ExecAction::ListProcesses`].
    Processes(Vec<Pid>),
    /// All of its output that is collected was read. Answers [`ExecAction::FinishOutput`].
    OutputDrained,
}

/// What the reactor has to do for one command that is run in a task.
#[derive(Clone, PartialEq, Debug)]
pub enum ExecAction {
    /// Make its process in the context of this task. The answers: `Spawned` then `ExecSucceeded`,
    /// or `StartFailed`.
    Spawn {
        /// Where.
        task: TaskId,
        /// What.
        spec: Box<ExecSpec>,
    },
    /// Send a signal to its main process.
    Signal(Signal),
    /// Kill every process of it. The answers: `StartFailed`, or `MainExited` if the main one
    /// lived, then `Empty`.
    Kill,
    /// Name the processes that are left. The answer: `Processes`.
    ListProcesses,
    /// Read what is left of its output. The answer: `OutputDrained`.
    FinishOutput,
    /// It is over: nothing of it is needed any more.
    Forget,
}

/// What the engine wants done, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Do this for that task.
    Do(TaskId, Action),
    /// Do this for that command.
    Exec(ExecId, ExecAction),
    /// A command whose streams somebody has taken is over: tell whoever that is.
    ExecEnded(Box<Executed>),
    /// Answer whoever asked.
    Reply(Ticket, Reply),
    /// Tell everybody.
    Event(Event),
}
