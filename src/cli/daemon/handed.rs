//! A daemon that goes on where another program of the same process stood.

use super::declared::HandedTask;
use super::memory::Memory;
use super::metrics::Collected;
use super::settings::{Refusal, Settings};
use super::tasks::Tasks;
use super::upgrade::Upgrade;
use super::{CAUGHT, Daemon, Transitions};
use crate::cli::notify::Notifier;
use crate::control::Socket;
use crate::control::handover::{self, Handed};
use crate::reactor::ProcessSignals;
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::sys::own_program;
use crate::sys::successor::hold_signals;
use crate::vocabulary::cause;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::RawFd;

/// Names the descriptor of the state to the next program.
pub(super) const TAKE_OVER_VARIABLE: &str = "OSTLER_TAKE_OVER";

/// What the daemon itself has, beside its supervisor and server.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct HandedHost {
    /// The name of its own socket, by its file.
    pub(super) socket: Option<String>,
    /// The listener for collectors, and the name of its socket.
    pub(super) metrics: Option<(RawFd, String)>,
    /// The tasks that its task file declares.
    pub(super) tasks: Vec<HandedTask>,
}

/// What the program before this one has handed over.
#[derive(Debug)]
pub(super) struct TakenOver {
    handed: Handed,
    host: HandedHost,
    descriptors: HandedDescriptors,
}

/// What there is to go on with, if anything. Nothing else may have been opened before.
///
/// # Errors
/// It cannot be read, or not all of it is there.
pub(super) fn taken_over() -> Result<Option<TakenOver>, Refusal> {
    let Some(number) = own_program::value_of(TAKE_OVER_VARIABLE) else { return Ok(None) };
    let failed = |why: String| Refusal::failed(format_args!("cannot take over: {why}"));
    let number: RawFd = number
        .to_str()
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| failed(format!("{TAKE_OVER_VARIABLE} is no descriptor: {number:?}")))?;
    let closed = |(number, errno): (RawFd, nix::errno::Errno)| {
        failed(format!("descriptor {number}: {}", errno.desc()))
    };
    let state = HandedDescriptors::of(&[number]).map_err(closed)?.take(number);
    let mut bytes = Vec::new();
    let mut state = File::from(state.ok_or_else(|| failed("the state is gone".to_owned()))?);
    state
        .rewind()
        .and_then(|()| state.read_to_end(&mut bytes))
        .map_err(|error| failed(format!("read the state: {}", cause(&error))))?;
    drop(state);
    let (handed, host) = read(&bytes).map_err(failed)?;
    let descriptors = HandedDescriptors::of(&handed.descriptors).map_err(closed)?;
    Ok(Some(TakenOver { handed, host, descriptors }))
}

/// Reads a state whole.
///
/// # Errors
/// What of it is not understood.
pub(super) fn read(bytes: &[u8]) -> Result<(Handed, HandedHost), String> {
    let handed = handover::read(bytes)?;
    let host = serde_json::from_value(handed.host.clone());
    let host = host.map_err(|error| format!("what the daemon says: {error}"))?;
    Ok((handed, host))
}

impl Daemon {
    /// Goes on with all that was handed over.
    pub(super) fn go_on(settings: Settings, taken: TakenOver) -> Result<Daemon, Refusal> {
        let failed = |what: &'static str| {
            move |error: std::io::Error| Refusal::failed(format_args!("{what}: {}", cause(&error)))
        };
        let TakenOver { handed, host, mut descriptors } = taken;
        let before = handed.version.clone();
        let (mut supervisor, mut server) = handed
            .take_over(settings.options, settings.server, &mut descriptors)
            .map_err(failed("cannot take over"))?;
        let signals = ProcessSignals::catch(&mut supervisor, &CAUGHT)
            .map_err(failed("cannot catch signals"))?;
        // Those that have come meanwhile come now.
        hold_signals(&CAUGHT, false)
            .map_err(|errno| failed("cannot let signals come")(errno.into()))?;
        let socket = match (settings.socket.as_deref(), &host.socket) {
            (Some(path), Some(name)) => Socket::go_on(path, name).map_err(failed("the socket"))?,
            _ => None,
        };
        let listener = host
            .metrics
            .and_then(|(number, name)| descriptors.take(number).map(|listener| (listener, name)));
        let metrics = Collected::go_on(
            &mut supervisor,
            settings.stats_interval,
            settings.metrics,
            server.allowed_gid(),
            listener,
        )?;
        // What nobody has asked for is of no use to this program.
        drop(descriptors);
        let tasks = Tasks::go_on(settings.task_file, host.tasks, &supervisor);
        let version = supervisor.facts().version;
        log::info!(
            "ostler version={version} has taken over from version={before}: tasks={}",
            supervisor.tasks().len()
        );
        server.answer_upgrade(Ok(version));
        let notifier = Notifier::from_environment();
        notifier.ready();
        Ok(Daemon {
            supervisor,
            server,
            socket,
            metrics,
            signals,
            notifier,
            transitions: Transitions::default(),
            tasks,
            memory: Memory::started(),
            keep: settings.keep,
            ending: None,
            upgrade: Upgrade::Idle,
        })
    }
}
