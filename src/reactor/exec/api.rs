//! What a host asks for about commands in tasks.

use crate::reactor::Supervisor;
use crate::sys::{clock, pty};
use crate::vocabulary::{
    Answer, ExecId, ExecSpec, Executed, Request, RequestError, Signal, TaskId, Ticket, WindowSize,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Our ends of the streams of a command. None of them ever blocks.
#[derive(Debug)]
pub enum ExecEnds {
    /// Pipes.
    Pipes {
        /// What the command reads. To close it is its end of file.
        stdin: OwnedFd,
        /// What it writes.
        stdout: OwnedFd,
        /// What it writes.
        stderr: OwnedFd,
    },
    /// The master side of a pseudo-terminal. A read of it fails with EIO once no process has the
    /// other side.
    Terminal(OwnedFd),
}

impl ExecEnds {
    /// Sets the size of the terminal; its foreground processes get SIGWINCH where it changes.
    ///
    /// # Errors
    /// ENOTTY of pipes.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let terminal = match self {
            ExecEnds::Terminal(terminal) => terminal,
            ExecEnds::Pipes { stdin, .. } => stdin,
        };
        Ok(pty::resize(terminal.as_fd(), size)?)
    }
}

impl Supervisor {
    /// Runs a command in the context of a task. The answer comes from
    /// [`Supervisor::next_reply`] under this ticket: [`Answer::Executed`] when all of it has
    /// ended, or for streams of its own [`Answer::ExecStarted`] when it runs. To
    /// [`abandon`](Supervisor::abandon) the ticket kills it.
    ///
    /// # Errors
    /// Why nothing is run, where that is known at once.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{Answer, ExecSpec, Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// let env = vec!["PATH=/usr/bin:/bin".into(), "COLOUR=red".into()];
    /// let args = vec!["60".into()];
    /// let task = supervisor.launch(TaskSpec { args, env, ..TaskSpec::new("sleep") })?;
    /// let args = vec!["-c".into(), "echo $COLOUR; exit 3".into()];
    /// let ticket = supervisor.exec(task, ExecSpec { args, ..ExecSpec::new("sh") })?;
    /// let executed = loop {
    ///     match supervisor.next_reply() {
    ///         Some((answered, Ok(Answer::Executed(executed)))) if answered == ticket => {
    ///             break executed;
    ///         }
    ///         Some((_, reply)) => drop(reply?),
    ///         None => supervisor.turn(None, &mut Vec::new())?,
    ///     }
    /// };
    /// assert_eq!(executed.stdout, b"red\n");
    /// assert_eq!(executed.status.exit_code(), 3);
    /// # supervisor.remove(task, true)?;
    /// # while supervisor.status(task).is_some() {
    /// #     supervisor.turn(None, &mut Vec::new())?;
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn exec(&mut self, task: TaskId, spec: ExecSpec) -> Result<Ticket, RequestError> {
        let Some(identity) = self.engine.identity(task) else {
            return Err(RequestError::NoSuchTask { name: task.to_string() });
        };
        let name = identity.name.to_string();
        let ticket = self.submit(Request::Exec { name, spec: Box::new(spec) });
        self.starts.refill();
        self.settle();
        let refused = |(answered, reply): &(Ticket, crate::vocabulary::Reply)| {
            *answered == ticket && reply.is_err()
        };
        match self.replies.iter().position(refused).and_then(|place| self.replies.remove(place)) {
            Some((_, Err(error))) => Err(error),
            Some((_, Ok(_))) | None => Ok(ticket),
        }
    }

    /// Our ends of the streams of a command that was answered with [`Answer::ExecStarted`], once.
    pub fn take_exec_ends(&mut self, exec: ExecId) -> Option<ExecEnds> {
        self.execs.ends.remove(&exec)
    }

    /// The next command with streams of its own of which all has ended. What it wrote may still be
    /// in the pipes: nobody writes to them any more.
    pub fn next_exec_end(&mut self) -> Option<Executed> {
        self.execs.ended.pop_front()
    }

    /// Sends a signal to the main process of a command, if it runs.
    pub fn signal_exec(&mut self, exec: ExecId, signal: Signal) {
        self.engine.signal_exec(exec, signal);
        self.settle();
    }

    /// Kills all of a command, whose end is not told then.
    pub fn kill_exec(&mut self, exec: ExecId) {
        self.now = clock::now();
        self.engine.kill_exec(self.now, exec);
        self.execs.ends.remove(&exec);
        self.execs.ended.retain(|executed| executed.exec != exec);
        self.settle();
    }

    /// Kills a command of which somebody is told that does not wait any more.
    pub(in crate::reactor) fn disown_exec(&mut self, answer: &Answer) {
        if let Answer::ExecStarted { exec, .. } = answer {
            self.kill_exec(*exec);
        }
    }

    /// Tells of the end of a command whose streams somebody has.
    pub(in crate::reactor) fn exec_ended(&mut self, executed: Executed) {
        self.execs.ended.push_back(executed);
    }
}
