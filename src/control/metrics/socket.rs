//! The socket for collectors.

use super::client::{Client, Next};
use crate::reactor::{Ready, Supervisor, WatchId};
use crate::vocabulary::cause;
use crate::vocabulary::limits::{METRICS_CLIENTS_MAX, SINK_LOG_EVERY};
use slab::Slab;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
#[cfg(feature = "cli")]
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// How soon a failed accept is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Who listens, and who asks.
#[derive(Debug)]
pub(super) struct MetricsSocket {
    listener: UnixListener,
    watch: WatchId,
    /// When to accept: somebody is there, or an accept has failed.
    accept_at: Option<Instant>,
    clients: Slab<Client>,
    logged: Option<Instant>,
}

impl MetricsSocket {
    pub(super) fn new(
        supervisor: &mut Supervisor,
        listener: UnixListener,
    ) -> io::Result<MetricsSocket> {
        listener.set_nonblocking(true)?;
        let watch = supervisor.watch(listener.as_fd())?;
        let accept_at = Some(Instant::now());
        Ok(MetricsSocket { listener, watch, accept_at, clients: Slab::new(), logged: None })
    }

    #[cfg(feature = "cli")]
    pub(super) fn listener(&self) -> RawFd {
        self.listener.as_raw_fd()
    }

    #[cfg(feature = "cli")]
    pub(super) fn is_busy(&self) -> bool {
        !self.clients.is_empty()
    }

    pub(super) fn take_ready(&mut self, ready: &Ready) -> bool {
        if ready.id == self.watch {
            self.accept_at = Some(Instant::now());
            return true;
        }
        let client = self.clients.iter_mut().find(|(_, client)| client.watch() == ready.id);
        client.map(|(_, client)| client.take_ready(ready)).is_some()
    }

    pub(super) fn dispatch(&mut self, supervisor: &mut Supervisor) {
        let now = Instant::now();
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_all(supervisor);
        }
        let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            if client.serve(supervisor, now) == Next::Leave {
                let client = self.clients.remove(key);
                supervisor.unwatch(client.watch(), client.as_fd());
                // Another one may wait for its place.
                self.accept_at.get_or_insert(now);
            }
        }
    }

    /// Beyond the bound they wait where they are until one has left.
    fn accept_all(&mut self, supervisor: &mut Supervisor) {
        self.accept_at = None;
        while self.clients.len() < METRICS_CLIENTS_MAX {
            let made = match self.listener.accept() {
                Ok((stream, _)) => Client::new(supervisor, stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => Err(error),
            };
            match made {
                Ok(client) => drop(self.clients.insert(client)),
                Err(error) => {
                    self.accept_at = Some(Instant::now() + RETRY);
                    return self.log(&error);
                }
            }
        }
    }

    fn log(&mut self, error: &io::Error) {
        if self.logged.is_none_or(|at| at.elapsed() >= SINK_LOG_EVERY) {
            self.logged = Some(Instant::now());
            log::warn!("a collector is not served: {}", cause(error));
        }
    }

    /// When there is something to do that nothing else tells.
    pub(super) fn due(&self) -> Option<Instant> {
        let clients = self.clients.iter().map(|(_, client)| client.due());
        clients.chain(self.accept_at).min()
    }
}
