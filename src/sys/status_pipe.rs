//! How a child with memory of its own reports: a close-on-exec pipe.

use super::child::{EXECUTING, FAILED, Place, RECORD_BYTES};
use super::explain;
use super::failure::start_error;
use super::faults;
use super::program::Program;
use crate::vocabulary::{Stage, StartError};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{pipe2, read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

/// Our end. Readable when there is something to tell.
#[derive(Debug)]
pub(crate) struct StatusPipe {
    pipe: OwnedFd,
    program: Arc<Program>,
    /// The child was about to execute the command: end of file now means that it does.
    executing: bool,
}

impl AsFd for StatusPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl StatusPipe {
    /// The pipe and the child's end of it, which is above 2.
    pub(super) fn new(program: Arc<Program>) -> Result<(StatusPipe, OwnedFd), StartError> {
        let failed = |errno| start_error(Stage::Clone, errno, "make a pipe for the child's report");
        faults::check("pipe2").map_err(failed)?;
        let (pipe, mut end) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(failed)?;
        if end.as_raw_fd() < 3 {
            faults::check("fcntl(F_DUPFD_CLOEXEC)").map_err(failed)?;
            let fd = fcntl(&end, FcntlArg::F_DUPFD_CLOEXEC(3)).map_err(failed)?;
            // SAFETY: the descriptor is new and nobody else's.
            end = unsafe { OwnedFd::from_raw_fd(fd) };
        }
        Ok((StatusPipe { pipe, program, executing: false }, end))
    }

    /// Whether the child executes its command; `None`: not known yet, to be asked again when the
    /// descriptor is readable. After an error the child has ended or is about to, and is the
    /// caller's to reap.
    pub(crate) fn outcome(&mut self) -> Option<Result<(), StartError>> {
        loop {
            let mut record = [0_u8; RECORD_BYTES];
            let got =
                faults::check("read status pipe").and_then(|()| read(&self.pipe, &mut record));
            match got {
                Ok(RECORD_BYTES) => match words(&record) {
                    [EXECUTING, ..] => self.executing = true,
                    [FAILED, place, index, errno] => {
                        return Some(Err(self.failure(place, index, errno)));
                    }
                    _ => return Some(Err(explain::died())),
                },
                Ok(0) if self.executing => return Some(Ok(())),
                Ok(_) => return Some(Err(explain::died())),
                Err(Errno::EAGAIN) => return None,
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    let tried = "read the child's report";
                    return Some(Err(start_error(Stage::Clone, errno, tried)));
                }
            }
        }
    }

    /// The outcome for a child that has ended, and says no more. Its end of the pipe may still be
    /// open in a child that another thread has just made: end of file is not waited for.
    pub(crate) fn last_word(&mut self) -> Result<(), StartError> {
        match self.outcome() {
            Some(outcome) => outcome,
            None if self.executing => Ok(()),
            None => Err(explain::died()),
        }
    }

    fn failure(&self, place: u32, index: u32, errno: u32) -> StartError {
        match Place::of(place) {
            Some(place) => explain::failure(&self.program, place, index as usize, errno as i32),
            None => explain::died(),
        }
    }
}

fn words(record: &[u8; RECORD_BYTES]) -> [u32; RECORD_BYTES / 4] {
    let mut words = [0; RECORD_BYTES / 4];
    for (word, bytes) in words.iter_mut().zip(record.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::spawn::{Spawner, SpawnerOptions};
    use crate::vocabulary::TaskSpec;

    #[test]
    fn a_child_that_has_ended_is_not_waited_for_while_others_hold_its_pipe() {
        let mut spawner = Spawner::new(SpawnerOptions::default()).unwrap();
        let plan = spawner.plan(&TaskSpec::new("true")).unwrap();
        // As long as `end` is open there is no end of file.
        let (mut pipe, end) = StatusPipe::new(Arc::clone(&plan.program)).unwrap();
        assert!(pipe.outcome().is_none());
        assert!(pipe.last_word().is_err(), "it had not come to its exec");
        let mut record = [0; RECORD_BYTES];
        record[..4].copy_from_slice(&EXECUTING.to_ne_bytes());
        nix::unistd::write(&end, &record).unwrap();
        assert!(pipe.outcome().is_none());
        assert!(pipe.last_word().is_ok(), "it had");
        record[..4].copy_from_slice(&FAILED.to_ne_bytes());
        nix::unistd::write(&end, &record).unwrap();
        assert!(pipe.last_word().is_err(), "and its exec had failed");
    }
}
