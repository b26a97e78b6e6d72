//! Telling a service manager how things stand: sd_notify(3), in as much as a daemon needs.

use crate::vocabulary::cause;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::{Duration, Instant};

/// The socket of the service manager, where there is one.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: Option<UnixDatagram>,
    /// How often the manager wants to hear of us, and when it is due.
    watchdog: Option<(Duration, Instant)>,
}

impl Notifier {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` have it.
    pub(crate) fn from_environment() -> Notifier {
        let variable = |name: &str| std::env::var(name).ok();
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let socket = socket.and_then(|path| {
            connect(path.as_bytes())
                .inspect_err(|error| {
                    log::warn!("cannot reach NOTIFY_SOCKET {path:?}: {}", cause(error))
                })
                .ok()
        });
        let for_us =
            variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let interval = variable("WATCHDOG_USEC").filter(|_| for_us && socket.is_some());
        let interval = interval.and_then(|micros| micros.parse().ok()).filter(|&micros| micros > 0);
        let watchdog = interval.map(|micros: u64| {
            let half = Duration::from_micros(micros / 2);
            (half, Instant::now() + half)
        });
        Notifier { socket, watchdog }
    }

    /// The daemon serves.
    pub(crate) fn ready(&self) {
        self.send(&format!("READY=1\nMAINPID={}\n", std::process::id()));
    }

    /// The daemon is ending.
    pub(crate) fn stopping(&self) {
        self.send("STOPPING=1\n");
    }

    /// Tells the watchdog that we live, where that is due; says how long until it is again.
    pub(crate) fn keep_alive(&mut self) -> Option<Duration> {
        let (interval, due) = self.watchdog.as_mut()?;
        let now = Instant::now();
        let late = now >= *due;
        if late {
            *due = now + *interval;
        }
        let wait = due.saturating_duration_since(now);
        if late {
            self.send("WATCHDOG=1\n");
        }
        Some(wait)
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            log::warn!(
                "cannot tell the service manager {:?}: {}",
                message.trim_end(),
                cause(&error)
            );
        }
    }
}

fn connect(path: &[u8]) -> std::io::Result<UnixDatagram> {
    let address = match path {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)))?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read is not waited for.
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
