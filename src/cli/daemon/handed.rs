//! A daemon that goes on where another program of the same process stood.

use super::declared::HandedTask;
use super::memory::Memory;
use super::metrics::Collected;
use super::settings::{Refusal, Settings};
use super::tasks::Tasks;
use super::{CAUGHT, Daemon, Transitions};
use crate::cli::notify::Notifier;
use crate::cli::upgrade::{TakenOver, Upgrade};
use crate::control::Socket;
use crate::reactor::ProcessSignals;
use crate::sys::faults;
use crate::sys::successor::hold_signals;
use crate::vocabulary::cause;
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

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

impl Daemon {
    /// Goes on with all that was handed over.
    pub(super) fn go_on(
        settings: Settings,
        taken: TakenOver<HandedHost>,
    ) -> Result<Daemon, Refusal> {
        let failed = |what: &'static str| {
            move |error: std::io::Error| Refusal::failed(format_args!("{what}: {}", cause(&error)))
        };
        let TakenOver { handed, host, mut descriptors } = taken;
        let before = handed.version.clone();
        let has_state = settings.options.state_dir.is_some();
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
        let tasks = Tasks::go_on(settings.task_file, host.tasks, &mut supervisor);
        let version = supervisor.facts().version;
        log::info!(
            "ostler version={version} has taken over from version={before}: tasks={}",
            supervisor.tasks().len()
        );
        server.answer_upgrade(Ok(version));
        let notifier = Notifier::from_environment();
        notifier.ready();
        faults::heed_no_more();
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
            has_state,
            ending: None,
            upgrade: Upgrade::Idle,
        })
    }
}
