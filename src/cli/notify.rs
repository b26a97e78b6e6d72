//! Telling a service manager how things stand: sd_notify(3), in as much as a daemon needs.

use crate::sys::clock;
use crate::sys::notify_socket::NotifySocket;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// How long a manager is waited for that does not read.
const PATIENCE_SECONDS: i32 = 1;

/// The socket of the service manager, where there is one.
#[derive(Debug)]
pub(crate) struct Notifier {
    socket: Option<NotifySocket>,
    /// How often the manager wants to hear of us, and when it is due.
    watchdog: Option<(Duration, Instant)>,
    /// The manager stores descriptors.
    has_store: bool,
    /// It was told that the configuration is read again, and not yet that this is done.
    reloading: bool,
}

impl Notifier {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` have it.
    pub(crate) fn from_environment() -> Notifier {
        let variable = |name: &str| std::env::var(name).ok();
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty());
        let socket = socket.and_then(|path| {
            let socket = NotifySocket::connect(path.as_bytes());
            let socket = socket.and_then(|s| s.set_patience(PATIENCE_SECONDS).map(|()| s));
            socket
                .inspect_err(|e| log::warn!("cannot reach NOTIFY_SOCKET {path:?}: {}", e.desc()))
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
        // As sd_notify(3) has it; docs/keeper.md says what to do before systemd 254.
        let has_store =
            variable("FDSTORE").is_some_and(|most| most.parse::<u64>().is_ok_and(|most| most > 0));
        Notifier { socket, watchdog, has_store, reloading: false }
    }

    /// The daemon serves.
    pub(crate) fn ready(&self) {
        self.send(&format!("READY=1\nMAINPID={}\n", std::process::id()));
    }

    /// Whether there is a manager, but no store of it.
    pub(crate) fn lacks_store(&self) -> bool {
        self.socket.is_some() && !self.has_store
    }

    /// Has a descriptor stored under this name, where the manager has a store.
    pub(crate) fn store(&self, name: &str, fd: BorrowedFd<'_>) {
        self.store_message(&format!("FDSTORE=1\nFDNAME={name}\n"), &[fd]);
    }

    /// Has what is stored under this name let go of.
    pub(crate) fn forget(&self, name: &str) {
        self.store_message(&format!("FDSTOREREMOVE=1\nFDNAME={name}\n"), &[]);
    }

    fn store_message(&self, message: &str, fds: &[BorrowedFd<'_>]) {
        if let Some(socket) = self.socket.as_ref().filter(|_| self.has_store)
            && let Err(errno) = socket.send(message.as_bytes(), fds)
        {
            let (message, why) = (message.trim_end(), errno.desc());
            log::warn!("cannot tell the service manager {message:?}: {why}");
        }
    }

    /// The daemon has begun to read its configuration again.
    pub(crate) fn reloading(&mut self) {
        // When it began tells the manager which of its signals this answers.
        let began = clock::now().mono.as_nanos() / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={began}\n"));
        self.reloading = true;
    }

    /// The configuration is in force.
    pub(crate) fn reloaded(&mut self) {
        if std::mem::take(&mut self.reloading) {
            self.send("READY=1\n");
        }
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
        if late && let Some(socket) = &self.socket {
            // One that is lost is followed by another in time.
            let _ = socket.send(b"WATCHDOG=1\n", &[]);
        }
        Some(wait)
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(errno) = socket.send_patiently(message.as_bytes()) {
            let (message, why) = (message.trim_end(), errno.desc());
            log::warn!("cannot tell the service manager {message:?}: {why}");
        }
    }
}
