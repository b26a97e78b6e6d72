//! An `up` that goes on as another program: see `cli/upgrade`.

use super::control::{self, Control, HandedControl};
use super::pipes::{HandedPipe, Pipes};
use super::screen::Screen;
use super::{Up, caught, options};
use crate::cli::upgrade::{self as next_program, TakenOver, Upgradable, Upgrade};
use crate::control::Server;
use crate::control::handover::{self, Document, base64_text};
use crate::reactor::{ProcessSignals, Supervisor};
use crate::sys::faults;
use crate::sys::successor::hold_signals;
use crate::vocabulary::{Signal, Ticket};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::RawFd;

/// What an `up` has, beside its supervisor and server.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct HandedUp {
    control: HandedControl,
    /// What is on its way to standard output.
    #[serde(with = "base64_text")]
    queued: Vec<u8>,
    pipes: Vec<HandedPipe>,
    /// Launches that are not answered.
    launches: Vec<(u64, String)>,
    living: Vec<String>,
    good: bool,
}

/// Reads the state of another `up`, to say whether this program could go on with it.
///
/// # Errors
/// What of it is not understood.
pub(crate) fn check_state(bytes: &[u8]) -> Result<(), String> {
    let read = next_program::read::<HandedUp>(bytes);
    read.map(drop).map_err(|why| format!("the state: {why}"))
}

impl Up {
    /// Goes on with all that was handed over.
    pub(super) fn go_on(taken: TakenOver<HandedUp>) -> io::Result<Up> {
        let TakenOver { handed, host, mut descriptors } = taken;
        let (mut supervisor, server) =
            handed.take_over(options(), control::options(), &mut descriptors)?;
        let caught = caught();
        let signals = ProcessSignals::catch(&mut supervisor, &caught)?;
        // Those that have come meanwhile come now.
        hold_signals(&caught, false)?;
        let mut control = Control::go_on(server, host.control)?;
        let mut screen = Screen::open(&mut supervisor)?;
        screen.go_on(host.queued);
        let pipes = Pipes::go_on(&mut supervisor, host.pipes, &mut descriptors)?;
        // What nobody has asked for is of no use to this program.
        drop(descriptors);
        let version = supervisor.facts().version;
        screen.print(&[b"goes on as ostler ", version.as_bytes()]);
        control.server.answer_upgrade(Ok(version));
        let launches = host.launches.into_iter();
        faults::heed_no_more();
        Ok(Up {
            supervisor,
            signals,
            caught,
            control,
            screen,
            pipes,
            launches: launches.map(|(ticket, name)| (Ticket(ticket), name)).collect(),
            living: host.living.into_iter().map(String::into_boxed_str).collect(),
            stopping: false,
            good: host.good,
            upgrade: Upgrade::Idle,
        })
    }
}

impl Upgradable for Up {
    fn upgrade(&mut self) -> &mut Upgrade {
        &mut self.upgrade
    }

    fn supervisor(&mut self) -> &mut Supervisor {
        &mut self.supervisor
    }

    fn server(&mut self) -> &mut Server {
        &mut self.control.server
    }

    fn caught(&mut self) -> (&[Signal], &mut ProcessSignals) {
        (&self.caught, &mut self.signals)
    }

    fn is_ending(&self) -> bool {
        self.stopping || self.supervisor.is_ending()
    }

    fn needs_starts(&self) -> Option<&'static str> {
        None
    }

    fn is_busy(&self) -> Option<&'static str> {
        None
    }

    fn document(&self, program: RawFd) -> Result<Document, String> {
        let host = HandedUp {
            control: self.control.hand_over(),
            queued: self.screen.queued(),
            pipes: self.pipes.hand_over(),
            launches: self.launches.iter().map(|(ticket, name)| (ticket.0, name.clone())).collect(),
            living: self.living.iter().map(|name| name.to_string()).collect(),
            good: self.good,
        };
        let pipes = host.pipes.iter().filter_map(|pipe| pipe.pipe);
        let descriptors = pipes.chain([program]).collect();
        let host = serde_json::to_value(host).map_err(|error| error.to_string())?;
        handover::write(&self.supervisor, &self.control.server, (host, descriptors))
            .map_err(|why| format!("write down the state: {why}"))
    }

    fn upgrade_begins(&mut self) {}
}
