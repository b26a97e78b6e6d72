//! What collectors are given, as `--stats-interval` and `--metrics` have it.

use super::settings::{MetricsTarget, Refusal};
use crate::control::{Metrics, Socket};
use crate::reactor::{Ready, Supervisor};
use crate::vocabulary::cause;
use std::time::Duration;

/// The figures for collectors, and the socket at which they ask.
#[derive(Debug)]
pub(super) struct Collected {
    metrics: Metrics,
    /// Removed at the end.
    _socket: Option<Socket>,
}

impl Collected {
    /// Members of the group `gid` may ask at the socket, as at that of the daemon.
    pub(super) fn new(
        supervisor: &mut Supervisor,
        interval: Option<Duration>,
        target: Option<MetricsTarget>,
        gid: Option<u32>,
    ) -> Result<Collected, Refusal> {
        let failed = |error| Refusal::failed(format_args!("--metrics: {}", cause(&error)));
        let mut metrics = Metrics::new(interval);
        let mut bound = None;
        match target {
            None => {}
            Some(MetricsTarget::File(path)) => {
                let shown = path.display().to_string();
                metrics.write_to(path).map_err(|error| {
                    Refusal::failed(format_args!("--metrics: write {shown}: {}", cause(&error)))
                })?;
            }
            Some(MetricsTarget::Socket(path)) => {
                let (socket, listener) = Socket::bind(&path, gid).map_err(failed)?;
                metrics.listen(supervisor, listener).map_err(failed)?;
                bound = Some(socket);
            }
        }
        Ok(Collected { metrics, _socket: bound })
    }

    pub(super) fn take_ready(&mut self, ready: &Ready) -> bool {
        self.metrics.take_ready(ready)
    }

    pub(super) fn dispatch(&mut self, supervisor: &mut Supervisor) {
        self.metrics.dispatch(supervisor);
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.metrics.timeout()
    }
}
