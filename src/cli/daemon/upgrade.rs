//! What a daemon has that goes on as another program: see `cli/upgrade`.

use super::handed::HandedHost;
use super::{CAUGHT, Daemon};
use crate::cli::upgrade::{Upgradable, Upgrade};
use crate::control::Server;
use crate::control::handover::{self, Document};
use crate::reactor::{ProcessSignals, Supervisor};
use crate::vocabulary::Signal;
use std::os::fd::RawFd;

impl Upgradable for Daemon {
    fn upgrade(&mut self) -> &mut Upgrade {
        &mut self.upgrade
    }

    fn supervisor(&mut self) -> &mut Supervisor {
        &mut self.supervisor
    }

    fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    fn caught(&mut self) -> (&[Signal], &mut ProcessSignals) {
        (&CAUGHT, &mut self.signals)
    }

    fn is_ending(&self) -> bool {
        self.ending.is_some() || self.supervisor.is_ending()
    }

    fn needs_starts(&self) -> Option<&'static str> {
        // The tasks of a file are launched first.
        self.tasks.is_reloading().then_some("the task file is being read")
    }

    fn is_busy(&self) -> Option<&'static str> {
        self.metrics.is_busy().then_some("a collector is being served")
    }

    fn document(&self, program: RawFd) -> Result<Document, String> {
        let host = HandedHost {
            socket: self.socket.as_ref().and_then(|socket| socket.stored_name().ok()),
            metrics: self.metrics.hand_over(),
            tasks: self.tasks.hand_over(&self.supervisor),
        };
        let metrics = host.metrics.iter().map(|(listener, _)| *listener);
        let descriptors = metrics.chain([program]).collect();
        let host = serde_json::to_value(host).map_err(|error| error.to_string())?;
        handover::write(&self.supervisor, &self.server, (host, descriptors))
            .map_err(|why| format!("write down the state: {why}"))
    }

    fn upgrade_begins(&mut self) {
        self.notifier.reloading();
    }
}
