//! Commands in tasks that run on while the process goes on with another program.

use super::output::Collected;
use super::{Exec, Execs, key_of};
use crate::engine::Executing;
use crate::reactor::run::Main;
use crate::reactor::{HandedExec, Supervisor};
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::vocabulary::{ExecId, LaunchNumber, StreamKind, TaskId};
use std::os::fd::AsRawFd;

impl Execs {
    /// Of the last group.
    pub(in crate::reactor) fn last_number(&self) -> u64 {
        self.number
    }

    /// No group gets this number or a lower one.
    pub(in crate::reactor) fn number_from(&mut self, number: u64) {
        self.number = number;
    }

    /// A command for another program, as the engine knows it and as the kernel does.
    pub(in crate::reactor) fn hand_over(
        &self,
        exec: ExecId,
        launch: LaunchNumber,
        executing: &Executing,
    ) -> Option<HandedExec> {
        let found = self.all.get(&exec)?;
        let &Executing { ended, killing, deadline, ends, timed_out, streams, ticket, .. } =
            executing;
        Some(HandedExec {
            exec,
            launch,
            pid: found.pid,
            ended,
            killing,
            deadline,
            ends,
            timed_out,
            streams,
            ticket,
            unwanted: executing.unwanted,
            pidfd: found.pidfd.as_ref().map(AsRawFd::as_raw_fd),
            zombie: found.main == Main::Zombie,
            gone: found.main == Main::Gone,
            leaf: found.leaf.clone(),
            sessions: found.sessions.to_vec(),
            output: found.output.as_ref().map(|output| output.hand_over()),
        })
    }
}

impl Supervisor {
    /// Goes on with a command; what it is known as from now on.
    pub(in crate::reactor) fn take_over_exec(
        &mut self,
        task: TaskId,
        handed: HandedExec,
        descriptors: &mut HandedDescriptors,
    ) -> Option<ExecId> {
        let HandedExec { pid, ended, killing, deadline, ends, timed_out, .. } = handed;
        let exec = self.engine.execute_on(Executing {
            task,
            main: pid,
            ended,
            killing,
            deadline,
            ends,
            timed_out,
            streams: handed.streams,
            ticket: handed.ticket,
            unwanted: handed.unwanted,
        })?;
        let main = match (handed.gone, handed.zombie) {
            (true, _) => Main::Gone,
            (false, true) => Main::Zombie,
            (false, false) => Main::Alive,
        };
        let pidfd = handed.pidfd.and_then(|number| descriptors.take(number));
        let output = handed.output.map(|output| Box::new(Collected::go_on(output, descriptors)));
        let seen = self.watch_exec(key_of(exec), pidfd.as_ref(), None, output.as_deref());
        if let Err(error) = &seen {
            log::warn!("a command in a task is looked at from time to time: {error}");
        }
        if main != Main::Gone {
            self.execs.by_pid.insert(pid, exec);
        }
        let found = Exec {
            task,
            pid,
            watched: pidfd.is_some() && seen.is_ok(),
            pidfd,
            main,
            leaf: handed.leaf,
            killed: killing,
            empty: false,
            group: None,
            start: None,
            looks: 0,
            sessions: handed.sessions.into_boxed_slice(),
            output,
        };
        self.execs.all.insert(exec, found);
        for stream in [StreamKind::Stdout, StreamKind::Stderr] {
            self.exec_output_ready(exec, stream);
        }
        Some(exec)
    }
}
