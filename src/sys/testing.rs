//! A door for the tests and benches of this package: launches without a supervisor. No promise.

use super::failure::start_error;
use super::pidfd;
use super::plan::Plan;
use super::pty;
use super::reap::{self, Keep, Look};
use super::spawn::{Child, Entry, Spawned, Spawner, SpawnerOptions, StatusPipe, Streams};
use crate::vocabulary::{ExitStatus, Signal, Stage, StartError, TaskSpec, WindowSize};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Launches tasks and waits for them.
#[derive(Debug)]
pub struct Launcher(Spawner);

impl Launcher {
    /// With `copied` the child never shares our memory.
    ///
    /// # Errors
    /// What a launch needs could not be had.
    pub fn new(copied: bool) -> io::Result<Launcher> {
        Spawner::new(SpawnerOptions { own_process: false, always_copied: copied }).map(Launcher)
    }

    /// Runs the task with all streams at /dev/null. `None`: somebody else has reaped it.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run(&mut self, task: &TaskSpec) -> Result<Option<ExitStatus>, StartError> {
        let plan = self.0.plan(task)?;
        let spawned = self.0.spawn(&plan, Streams::default(), None)?;
        self.follow(&plan, spawned)
    }

    /// Runs a command as in the context of this task, on a terminal of its own.
    ///
    /// # Errors
    /// It could not be started.
    pub fn run_on_terminal(&mut self, task: &TaskSpec) -> Result<Option<ExitStatus>, StartError> {
        let plan = self.0.plan_inside(task, true)?;
        let failed = |errno| start_error(Stage::Output, errno, "make a terminal");
        let (_master, slave) = pty::open_pair(WindowSize::default(), None).map_err(failed)?;
        let all = Some(slave.as_raw_fd());
        let streams = Streams { stdin: all, stdout: all, stderr: all };
        let (child, pipe) = self.0.spawn_exec(&plan, &streams, None, None)?;
        self.follow(&plan, Spawned::Starting(child, pipe))
    }

    fn follow(&mut self, plan: &Plan, spawned: Spawned) -> Result<Option<ExitStatus>, StartError> {
        match spawned {
            Spawned::Running(child) => Ok(wait(&child)),
            Spawned::Starting(child, pipe) => match outcome(pipe) {
                Ok(()) => Ok(wait(&child)),
                Err(error) => {
                    child.reap();
                    Err(error)
                }
            },
            Spawned::Preparing(init, pipe) => {
                let followed = outcome(pipe).and_then(|()| self.enter(plan, &init));
                if let Some(pidfd) = &init.pidfd {
                    // It may have ended by itself.
                    let _ = pidfd::send_signal(pidfd.as_fd(), Signal::KILL);
                }
                init.reap();
                followed
            }
        }
    }

    fn enter(&mut self, plan: &Plan, init: &Child) -> Result<Option<ExitStatus>, StartError> {
        let Some(pidfd) = &init.pidfd else { return Ok(None) };
        let entry = Entry { process: pidfd.as_fd() };
        let spawned = self.0.spawn_inside(plan, Streams::default(), None, entry)?;
        self.follow(plan, spawned)
    }
}

fn outcome(mut pipe: StatusPipe) -> Result<(), StartError> {
    loop {
        match pipe.outcome() {
            None => until_readable(pipe.as_fd()),
            Some(outcome) => return outcome,
        }
    }
}

fn until_readable(fd: BorrowedFd<'_>) {
    // An interruption only makes the caller look again.
    let _ = poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::NONE);
}

fn wait(child: &Child) -> Option<ExitStatus> {
    loop {
        if let Some(pidfd) = &child.pidfd {
            until_readable(pidfd.as_fd());
        }
        match reap::look(child.pid, child.pidfd.as_ref(), Keep::Nothing) {
            Look::Alive => std::thread::yield_now(),
            Look::Ended(status) => return Some(status),
            Look::Gone => return None,
        }
    }
}
