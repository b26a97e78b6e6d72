//! Signals of the process itself, in the loop.

use super::{Supervisor, WatchId};
use crate::vocabulary::Signal;
use signal_hook_mio::v1_0::Signals;
use std::fmt;
use std::io;

/// Signals that come to this process, caught and queued. For programs that are a supervisor: a
/// library leaves the signals of its host alone.
pub(crate) struct ProcessSignals {
    signals: Signals,
    watch: WatchId,
}

impl ProcessSignals {
    /// Catches these signals from now on, and has the loop wake up for them.
    ///
    /// # Errors
    /// When the system refuses descriptors.
    pub(crate) fn catch(supervisor: &mut Supervisor, signals: &[Signal]) -> io::Result<Self> {
        let mut signals = Signals::new(signals.iter().map(|signal| signal.number()))?;
        let watch = supervisor.watch_source(&mut signals)?;
        Ok(ProcessSignals { signals, watch })
    }

    /// Under which they become ready.
    pub(crate) fn watch(&self) -> WatchId {
        self.watch
    }

    /// What has come since the last call, each signal once.
    pub(crate) fn take(&mut self) -> Vec<Signal> {
        self.signals.pending().filter_map(Signal::new).collect()
    }
}

impl fmt::Debug for ProcessSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessSignals").field("watch", &self.watch).finish_non_exhaustive()
    }
}
