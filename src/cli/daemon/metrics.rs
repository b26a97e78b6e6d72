//! What collectors are given, as `--stats-interval` and `--metrics` have it.

use super::settings::{MetricsTarget, Refusal};
use crate::control::{Metrics, Socket};
use crate::reactor::{Ready, Supervisor};
use crate::vocabulary::cause;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// The figures for collectors, and the socket at which they ask.
#[derive(Debug)]
pub(super) struct Collected {
    metrics: Metrics,
    /// Removed at the end.
    socket: Option<Socket>,
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
        Ok(Collected { metrics, socket: bound })
    }

    /// Goes on at the socket of the program before this one: its listener, and its name.
    pub(super) fn go_on(
        supervisor: &mut Supervisor,
        interval: Option<Duration>,
        target: Option<MetricsTarget>,
        gid: Option<u32>,
        handed: Option<(OwnedFd, String)>,
    ) -> Result<Collected, Refusal> {
        let (Some(MetricsTarget::Socket(path)), Some((listener, name))) = (&target, handed) else {
            return Collected::new(supervisor, interval, target, gid);
        };
        let failed = |error| Refusal::failed(format_args!("--metrics: {}", cause(&error)));
        let socket = Socket::go_on(path, &name).map_err(failed)?;
        let mut metrics = Metrics::new(interval);
        metrics.listen(supervisor, UnixListener::from(listener)).map_err(failed)?;
        Ok(Collected { metrics, socket })
    }

    /// For the program that goes on: the listener, and the name of the socket.
    pub(super) fn hand_over(&self) -> Option<(RawFd, String)> {
        self.metrics.listener().zip(self.socket.as_ref()?.stored_name().ok())
    }

    /// Whether a collector is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.metrics.is_busy()
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
