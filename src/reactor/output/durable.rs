//! Bytes on their way out of a pipe that outlives us. They do not pass through our memory, which
//! does not: what has left the pipe stands in the sink, even if we are killed in between.

use super::bulk::rest_of;
use super::look::Look;
use super::source::Source;
use super::stream::Step;
use super::target::{Refusal, Target};
use crate::sys::pipe;
use crate::vocabulary::Mono;
use crate::vocabulary::limits::PIPE_BYTES_DEFAULT;
use nix::errno::Errno;

/// Moves some, at most `budget` bytes: how many, and what is left. `None` where the system cannot.
pub(super) fn move_durably(
    source: &mut Source,
    target: &mut Target,
    budget: usize,
    look: &mut Look,
    now: Mono,
) -> Option<(usize, Step)> {
    let result = match target {
        Target::Fifo(fifo) => match fifo.writable_end() {
            Ok(end) => pipe::move_bytes(source.fd(), end, budget),
            Err(refusal) => return Some((0, Step::Stopped(refusal))),
        },
        Target::File(file) => file.take(source.fd(), budget, look, now),
    };
    let step = match result {
        Ok(0) => Step::End,
        Ok(bytes) => {
            source.seen_full |= bytes >= PIPE_BYTES_DEFAULT;
            return Some((bytes, rest_of(source, target)));
        }
        Err(Errno::EAGAIN) => rest_of(source, target),
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EPERM | Errno::EOPNOTSUPP) => return None,
        Err(errno) => Step::Stopped(Refusal::Failed(errno)),
    };
    Some((0, step))
}
