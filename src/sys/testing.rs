//! A door for the tests and benches of this package: launches without a supervisor. No promise.

use super::reap::{self, Keep, Look};
use super::spawn::{Child, Spawned, Spawner, SpawnerOptions, Streams};
use crate::vocabulary::{ExitStatus, StartError, TaskSpec};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

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
        match self.0.spawn(&plan, Streams::default(), None)? {
            Spawned::Running(child) => Ok(wait(&child)),
            Spawned::Starting(child, mut pipe) => loop {
                match pipe.outcome() {
                    None => until_readable(pipe.as_fd()),
                    Some(Ok(())) => return Ok(wait(&child)),
                    Some(Err(error)) => {
                        child.reap();
                        return Err(error);
                    }
                }
            },
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
