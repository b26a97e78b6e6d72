//! Bulk: moved inside the kernel, without a copy in our memory.

use super::look::Look;
use super::rotation::RotatedFile;
use super::source::Source;
use super::stream::Step;
use super::target::{Fifo, Refusal, Target};
use crate::sys::pipe::{self, OwnPipe};
use crate::vocabulary::limits::{PIPE_BYTES_DEFAULT, RELAY_BUFFER_BYTES, SPLICE_BYTES_MIN};
use nix::errno::Errno;

/// What became of an attempt.
pub(super) enum Bulk {
    /// So many bytes are in the target now.
    Moved(usize, Step),
    /// So many, and these have left the pipe and are in the file yet to be.
    Left(usize, Vec<u8>),
    /// Not now.
    Not,
    /// The system does not let us.
    Refused,
}

/// From pipe to pipe. Each piece takes a slot of the FIFO however short it is, so only while much
/// comes at a time.
pub(super) fn into_fifo(source: &mut Source, fifo: &mut Fifo, budget: usize) -> Bulk {
    let end = match fifo.writable_end() {
        Ok(end) => end,
        Err(refusal) => return Bulk::Moved(0, Step::Stopped(refusal)),
    };
    match pipe::move_bytes(source.fd(), end, budget) {
        Ok(0) => Bulk::Moved(0, Step::End),
        Ok(bytes) => {
            source.bulk = bytes >= SPLICE_BYTES_MIN;
            source.seen_full |= bytes >= PIPE_BYTES_DEFAULT;
            Bulk::Moved(
                bytes,
                if bytes < budget { what_is_left(source, Some(fifo)) } else { Step::More },
            )
        }
        Err(Errno::EAGAIN) => Bulk::Moved(0, what_is_left(source, Some(fifo))),
        Err(_) => Bulk::Refused,
    }
}

/// From a pipe into a file, by way of a pipe of our own: a task can write on while the file is
/// written, since its pipe is locked only while pages change hands.
pub(super) fn into_file(
    source: &mut Source,
    file: &mut RotatedFile,
    look: &mut Look,
    budget: usize,
) -> Bulk {
    let most = match file.takes_bulk(budget) {
        Ok(Some(most)) => most,
        Ok(None) => return Bulk::Not,
        Err(Errno::EINVAL) => return Bulk::Refused,
        Err(errno) => return Bulk::Moved(0, Step::Stopped(Refusal::Failed(errno))),
    };
    let Ok(way) = look.take_pipe() else { return Bulk::Not };
    let bytes = match way.take(source.fd(), most) {
        Ok(bytes) => bytes,
        Err(errno) => {
            look.give_back(way);
            return match errno {
                Errno::EAGAIN => Bulk::Moved(0, what_is_left(source, None)),
                _ => Bulk::Refused,
            };
        }
    };
    source.bulk = bytes >= RELAY_BUFFER_BYTES;
    source.seen_full |= bytes >= PIPE_BYTES_DEFAULT;
    let (moved, result) = file.take_all(way.reader(), bytes);
    if result.is_err() {
        return Bulk::Left(moved, what_stands_in(&way, bytes - moved));
    }
    look.give_back(way);
    match bytes {
        0 => Bulk::Moved(0, Step::End),
        _ if bytes == most => Bulk::Moved(bytes, Step::More),
        _ => Bulk::Moved(bytes, what_is_left(source, None)),
    }
}

fn what_stands_in(way: &OwnPipe, bytes: usize) -> Vec<u8> {
    let mut rest = vec![0; bytes];
    let mut got = 0;
    while let Some(room) = rest.get_mut(got..).filter(|room| !room.is_empty()) {
        match pipe::read(way.reader(), room) {
            Ok(more) if more > 0 => got += more,
            result => {
                log::error!(
                    "output lost: {} bytes: cannot read our own pipe: {result:?}",
                    bytes - got
                );
                break;
            }
        }
    }
    rest.truncate(got);
    rest
}

/// What is left in a pipe after all of it, or all that its target would take, was moved.
pub(super) fn rest_of(source: &mut Source, target: &Target) -> Step {
    match target {
        Target::Fifo(fifo) => what_is_left(source, Some(fifo)),
        Target::File(_) => what_is_left(source, None),
    }
}

/// Both ends are asked, since meanwhile more may have come into a pipe that was empty. The next
/// byte after that comes with news of it.
fn what_is_left(source: &mut Source, fifo: Option<&Fifo>) -> Step {
    match pipe::readiness(source.fd(), fifo.map(Fifo::fd)) {
        Ok((false, _)) => {
            source.read_on = false;
            Step::Empty
        }
        Ok((true, true)) => Step::More,
        Ok((true, false)) => Step::Stopped(Refusal::Full),
        Err(errno) => Step::Stopped(Refusal::Failed(errno)),
    }
}
