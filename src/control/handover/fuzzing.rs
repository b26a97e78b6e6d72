//! The reader of states without a program before it, for fuzzing.

use super::connections::HandedConnection;
use crate::control::history::History;
use crate::reactor::Kept;
use std::os::fd::RawFd;

/// What a state says.
#[derive(Debug)]
pub struct State {
    /// The tasks.
    pub kept: Kept,
    /// All descriptors that are to be taken.
    pub descriptors: Vec<RawFd>,
    /// Calls and replies of its connections, one behind the other.
    pub calls: usize,
    /// Sequence of the last event that it remembers.
    pub last: u64,
}

/// Reads a state, and goes on with its connections and its events as far as that needs no kernel.
///
/// # Errors
/// What of it is not understood.
pub fn read(bytes: &[u8]) -> Result<State, String> {
    let handed = super::read(bytes)?;
    let sequence = handed.kept.counters.sequence;
    let history = History::of_bytes(handed.kept.instance.clone(), sequence, &handed.history);
    let mut remembered = 0;
    history.read(0, None, usize::MAX, |_| {
        remembered += 1;
        true
    });
    let calls = handed.connections.into_iter().map(HandedConnection::calls).sum();
    let (kept, descriptors) = (handed.kept, handed.descriptors);
    Ok(State { kept, descriptors, calls, last: history.last() })
}
