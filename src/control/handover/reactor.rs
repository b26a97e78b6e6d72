//! What the reactor hands over, in JSON.

use crate::engine::Ask;
use crate::reactor::{
    HandedAsking, HandedExec, HandedHeld, HandedInit, HandedOutput, HandedRun, HandedSink,
    HandedSource, HandedStream, HandedSupervisor, HandedTail,
};
use crate::vocabulary::{ExecId, ExitStatus, Mono, Pid, StreamKind, Ticket};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedSupervisor")]
pub(super) struct SupervisorDef {
    next_ticket: u64,
    home: Option<PathBuf>,
    nofile: Option<(u64, u64)>,
    init_image: Option<i32>,
    exits: Option<i32>,
    lock: Option<i32>,
    stored: Vec<String>,
    forgotten: Vec<String>,
    turns: u64,
    wakeups: u64,
    longest_turn_us: u64,
    relayed: u64,
    last_exec: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedRun")]
pub(super) struct RunDef {
    launch: u64,
    pidfd: Option<i32>,
    zombie: bool,
    gone: bool,
    adopted: bool,
    sessions: Vec<i32>,
    init: Option<(i32, i32)>,
    over: bool,
    oom_killed: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedInit")]
pub(super) struct InitDef {
    pid: i32,
    pidfd: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedSink")]
pub(super) struct SinkDef {
    launch: u64,
    #[serde(with = "KindDef")]
    kind: StreamKind,
    descriptor: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedOutput")]
pub(super) struct OutputDef {
    launch: u64,
    run: Option<u64>,
    owner: Option<(u32, u32)>,
    behind: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedStream")]
pub(super) struct StreamDef {
    launch: u64,
    #[serde(with = "KindDef")]
    kind: StreamKind,
    target: Option<i32>,
    write_only: bool,
    appending: bool,
    number: u64,
    #[serde(with = "base64_text")]
    leftover: Vec<u8>,
    owed: u64,
    #[serde(with = "nanos")]
    moved_at: Mono,
    closing: bool,
    #[serde(with = "nanos")]
    alone_since: Mono,
    room_seen: bool,
    stall_told: bool,
    stored_sink: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedSource")]
pub(super) struct SourceDef {
    launch: u64,
    #[serde(with = "KindDef")]
    kind: StreamKind,
    run: u64,
    pipe: i32,
    named: bool,
    orphaned: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedHeld")]
pub(super) struct HeldDef {
    launch: u64,
    owner: Option<(u32, u32)>,
    pipes: Vec<i32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HandedAsking")]
pub(super) struct AskingDef {
    #[serde(with = "number")]
    ticket: Ticket,
    launch: u64,
    #[serde(with = "AskDef")]
    ask: Ask,
    #[serde(with = "nanos_if_any")]
    deadline: Option<Mono>,
}

/// A command, as [`HandedExec`] has it.
#[derive(Serialize, Deserialize)]
pub(super) struct ExecLine {
    exec: (u32, u32),
    launch: u64,
    pid: i32,
    ended: Option<EndedText>,
    killing: bool,
    #[serde(with = "nanos_if_any")]
    deadline: Option<Mono>,
    #[serde(with = "nanos_if_any")]
    ends: Option<Mono>,
    timed_out: bool,
    streams: bool,
    ticket: Option<u64>,
    unwanted: bool,
    pidfd: Option<i32>,
    zombie: bool,
    gone: bool,
    leaf: Option<String>,
    sessions: Vec<i32>,
    stdout: Option<TailLine>,
    stderr: Option<TailLine>,
}

#[derive(Serialize, Deserialize)]
struct TailLine {
    pipe: Option<i32>,
    #[serde(with = "base64_text")]
    kept: Vec<u8>,
    truncated: bool,
}

/// How a process has ended.
#[derive(Serialize, Deserialize, Copy, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum EndedText {
    Code(u8),
    Signal(u8),
    Unknown,
}

impl From<ExitStatus> for EndedText {
    fn from(status: ExitStatus) -> EndedText {
        match status {
            ExitStatus::Exited(code) => EndedText::Code(code),
            ExitStatus::Signaled(signal) => EndedText::Signal(signal),
            ExitStatus::Unknown => EndedText::Unknown,
        }
    }
}

impl From<EndedText> for ExitStatus {
    fn from(ended: EndedText) -> ExitStatus {
        match ended {
            EndedText::Code(code) => ExitStatus::Exited(code),
            EndedText::Signal(signal) => ExitStatus::Signaled(signal),
            EndedText::Unknown => ExitStatus::Unknown,
        }
    }
}

impl From<HandedExec> for ExecLine {
    fn from(exec: HandedExec) -> ExecLine {
        let tail = |tail| {
            let HandedTail { pipe, kept, truncated } = tail;
            TailLine { pipe, kept, truncated }
        };
        let (stdout, stderr) = exec.output.map(|both| both.map(tail).into()).unzip();
        ExecLine {
            exec: numbers(exec.exec),
            launch: exec.launch,
            pid: exec.pid.number(),
            ended: exec.ended.map(EndedText::from),
            killing: exec.killing,
            deadline: exec.deadline,
            ends: exec.ends,
            timed_out: exec.timed_out,
            streams: exec.streams,
            ticket: exec.ticket.map(|ticket| ticket.0),
            unwanted: exec.unwanted,
            pidfd: exec.pidfd,
            zombie: exec.zombie,
            gone: exec.gone,
            leaf: exec.leaf,
            sessions: exec.sessions,
            stdout,
            stderr,
        }
    }
}

impl ExecLine {
    /// `None`: it names no process.
    pub(super) fn exec(self) -> Option<HandedExec> {
        let tail = |tail| {
            let TailLine { pipe, kept, truncated } = tail;
            HandedTail { pipe, kept, truncated }
        };
        Some(HandedExec {
            exec: exec_of(self.exec),
            launch: self.launch,
            pid: Pid::new(self.pid)?,
            ended: self.ended.map(ExitStatus::from),
            killing: self.killing,
            deadline: self.deadline,
            ends: self.ends,
            timed_out: self.timed_out,
            streams: self.streams,
            ticket: self.ticket.map(Ticket),
            unwanted: self.unwanted,
            pidfd: self.pidfd,
            zombie: self.zombie,
            gone: self.gone,
            leaf: self.leaf,
            sessions: self.sessions,
            output: self.stdout.zip(self.stderr).map(|(out, err)| [tail(out), tail(err)]),
        })
    }
}

/// The parts of a command's id.
pub(super) fn numbers(exec: ExecId) -> (u32, u32) {
    (exec.index() as u32, exec.generation())
}

pub(super) fn exec_of((index, generation): (u32, u32)) -> ExecId {
    ExecId::new(index, generation)
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StreamKind", rename_all = "snake_case")]
pub(super) enum KindDef {
    Stdout,
    Stderr,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Ask", rename_all = "snake_case")]
enum AskDef {
    Launch,
    Wait,
    Stop,
    Restart,
    Signal,
    Update,
    Remove,
}

/// A point on the clock of one boot.
mod nanos {
    use super::{Deserialize, Deserializer, Mono, Serializer};

    pub(super) fn serialize<S: Serializer>(at: &Mono, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(at.as_nanos())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(data: D) -> Result<Mono, D::Error> {
        u64::deserialize(data).map(Mono::from_nanos)
    }
}

mod nanos_if_any {
    use super::{Deserialize, Deserializer, Mono, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        at: &Option<Mono>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(Mono::as_nanos).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        data: D,
    ) -> Result<Option<Mono>, D::Error> {
        Option::<u64>::deserialize(data).map(|nanos| nanos.map(Mono::from_nanos))
    }
}

mod number {
    use super::{Deserialize, Deserializer, Serializer, Ticket};

    pub(super) fn serialize<S: Serializer>(
        ticket: &Ticket,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(ticket.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(data: D) -> Result<Ticket, D::Error> {
        u64::deserialize(data).map(Ticket)
    }
}

/// Bytes that may be anything.
pub(crate) mod base64_text {
    use super::{Deserialize, Deserializer, Serializer};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(data: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(data)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
