//! A supervisor that goes on as another program of the same process: what it has in the kernel and
//! in its memory, beyond what is kept for any later one ([`Store`]), as plain data. Descriptors
//! stay open and keep their numbers; the children stay children.

mod give;
mod take;

pub(crate) use take::TakenExecs;

use super::Supervisor;
use super::store::Store;
use crate::engine::Ask;
use crate::vocabulary::{ExecId, ExitStatus, LaunchNumber, Mono, Pid, StreamKind, Ticket};
use std::os::fd::RawFd;
use std::path::PathBuf;

/// All of it. Numbers of descriptors are those in the process.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct HandedOver {
    pub(crate) supervisor: HandedSupervisor,
    pub(crate) runs: Vec<HandedRun>,
    pub(crate) inits: Vec<HandedInit>,
    pub(crate) sinks: Vec<HandedSink>,
    pub(crate) outputs: Vec<HandedOutput>,
    pub(crate) streams: Vec<HandedStream>,
    pub(crate) sources: Vec<HandedSource>,
    pub(crate) held: Vec<HandedHeld>,
    pub(crate) asking: Vec<HandedAsking>,
    pub(crate) execs: Vec<HandedExec>,
}

/// What there is once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedSupervisor {
    pub(crate) next_ticket: u64,
    /// The group that the process was in before it made its tree.
    pub(crate) home: Option<PathBuf>,
    /// Soft and hard limit of descriptors before they were raised.
    pub(crate) nofile: Option<(u64, u64)>,
    /// The program of inits.
    pub(crate) init_image: Option<RawFd>,
    /// Where a keeper tells how processes have ended.
    pub(crate) exits: Option<RawFd>,
    /// What keeps others from the state.
    pub(crate) lock: Option<RawFd>,
    /// Names of what is stored with the service manager, and of what is to be removed there.
    pub(crate) stored: Vec<String>,
    pub(crate) forgotten: Vec<String>,
    pub(crate) turns: u64,
    pub(crate) wakeups: u64,
    pub(crate) longest_turn_us: u64,
    pub(crate) relayed: u64,
    /// Of the last group of a command.
    pub(crate) last_exec: u64,
}

/// A run: what is not in its [`Process`](super::Process).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedRun {
    pub(crate) launch: LaunchNumber,
    pub(crate) pidfd: Option<RawFd>,
    /// The main process has ended, and is not reaped.
    pub(crate) zombie: bool,
    /// It is reaped.
    pub(crate) gone: bool,
    /// An earlier supervisor, one that had died, has made it.
    pub(crate) adopted: bool,
    pub(crate) sessions: Vec<i32>,
    /// Its init: pid and pidfd.
    pub(crate) init: Option<(i32, RawFd)>,
    /// Only the end of the init is awaited. What is known of the OOM killer then.
    pub(crate) over: bool,
    pub(crate) oom_killed: Option<bool>,
}

/// An init that has outlived its run.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedInit {
    pub(crate) pid: i32,
    pub(crate) pidfd: RawFd,
}

/// A stream of a task that goes to a descriptor of the host's, which a task in JSON does not name.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct HandedSink {
    pub(crate) launch: LaunchNumber,
    pub(crate) kind: StreamKind,
    pub(crate) descriptor: RawFd,
}

/// The output of a task.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedOutput {
    pub(crate) launch: LaunchNumber,
    /// The run that has ends now.
    pub(crate) run: Option<u64>,
    pub(crate) owner: Option<(u32, u32)>,
    /// It was told of the last run's end that some of its output is on its way.
    pub(crate) behind: bool,
}

/// A relayed stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HandedStream {
    pub(crate) launch: LaunchNumber,
    pub(crate) kind: StreamKind,
    /// The FIFO or file that it goes to; absent where that is opened for each write.
    pub(crate) target: Option<RawFd>,
    /// Of a FIFO: that end only writes.
    pub(crate) write_only: bool,
    /// Of a file: what is written goes to its end.
    pub(crate) appending: bool,
    /// Of files that are counted: the number of the current one.
    pub(crate) number: u64,
    pub(crate) leftover: Vec<u8>,
    pub(crate) owed: u64,
    pub(crate) moved_at: Mono,
    pub(crate) closing: bool,
    pub(crate) alone_since: Mono,
    pub(crate) room_seen: bool,
    pub(crate) stall_told: bool,
    /// The run under whose number the FIFO is stored.
    pub(crate) stored_sink: Option<u64>,
}

/// The pipe of a run, for one stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HandedSource {
    pub(crate) launch: LaunchNumber,
    pub(crate) kind: StreamKind,
    pub(crate) run: u64,
    pub(crate) pipe: RawFd,
    /// It stands in the state directory.
    pub(crate) named: bool,
    pub(crate) orphaned: bool,
}

/// A task whose sinks could not be opened when it was adopted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedHeld {
    pub(crate) launch: LaunchNumber,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) pipes: Vec<RawFd>,
}

/// Somebody who waits for something of a task.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct HandedAsking {
    pub(crate) ticket: Ticket,
    pub(crate) launch: LaunchNumber,
    pub(crate) ask: Ask,
    pub(crate) deadline: Option<Mono>,
}

/// A command that runs in a task.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct HandedExec {
    /// As it was known.
    pub(crate) exec: ExecId,
    pub(crate) launch: LaunchNumber,
    pub(crate) pid: Pid,
    /// How its main process has ended, if it has.
    pub(crate) ended: Option<ExitStatus>,
    pub(crate) killing: bool,
    pub(crate) deadline: Option<Mono>,
    pub(crate) ends: Option<Mono>,
    pub(crate) timed_out: bool,
    pub(crate) streams: bool,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) unwanted: bool,
    pub(crate) pidfd: Option<RawFd>,
    /// The main process has ended, and is not reaped.
    pub(crate) zombie: bool,
    /// It is reaped.
    pub(crate) gone: bool,
    /// The name of its group.
    pub(crate) leaf: Option<String>,
    pub(crate) sessions: Vec<i32>,
    /// What it writes, where that is collected.
    pub(crate) output: Option<[HandedTail; 2]>,
}

/// What was collected of one stream of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HandedTail {
    pub(crate) pipe: Option<RawFd>,
    pub(crate) kept: Vec<u8>,
    pub(crate) truncated: bool,
}

impl HandedOver {
    /// The numbers of all descriptors; one may come twice.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let HandedSupervisor { init_image, exits, lock, .. } = &self.supervisor;
        let mut all: Vec<RawFd> = init_image.iter().chain(exits).chain(lock).copied().collect();
        for run in &self.runs {
            all.extend(run.pidfd.into_iter().chain(run.init.map(|(_, fd)| fd)));
        }
        all.extend(self.inits.iter().map(|init| init.pidfd));
        all.extend(self.sinks.iter().map(|sink| sink.descriptor));
        all.extend(self.streams.iter().filter_map(|stream| stream.target));
        all.extend(self.sources.iter().map(|source| source.pipe));
        all.extend(self.execs.iter().filter_map(|exec| exec.pidfd));
        let tails = self.execs.iter().filter_map(|exec| exec.output.as_ref()).flatten();
        all.extend(tails.filter_map(|tail| tail.pipe));
        all.extend(self.held.iter().flat_map(|held| held.pipes.iter().copied()));
        all
    }
}
