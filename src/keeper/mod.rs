//! The keeper: a small process that runs a daemon, restarts it when it dies, and keeps meanwhile
//! what would be lost with it: descriptors, and how orphaned tasks have ended.
//!
//! To the daemon it is a service manager (sd_notify(3), sd_listen_fds(3)), in two directions only:
//! messages come in, descriptors go out at a start. It looks into nothing else. docs/keeper.md has
//! the protocol.

mod environment;
mod exits;
mod message;
mod restart;
mod store;

pub use message::Message;

use crate::sys::blocked_signals::BlockedSignals;
use crate::sys::channel::Channel;
use crate::sys::code_pages::CodePages;
use crate::sys::inherited::{self, Passed};
use crate::sys::notify_receiver::{Datagram, NotifyReceiver};
use crate::sys::notify_socket::NotifySocket;
use crate::sys::readiness::{For, Readiness};
use crate::sys::reap::{self, Keep, Look};
use crate::sys::service::{self, Service};
use crate::sys::{own_process, processes};
use crate::vocabulary::{ExitStatus, Pid, Signal};
use environment::Manager;
use exits::{Exits, Swept};
use nix::errno::Errno;
use restart::{Next, Restarts};
use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};
use store::Store;

/// The name under which each daemon gets the statuses of processes that others have left.
pub(crate) const EXITS_NAME: &str = "ostler-exits";
/// Messages that are taken before anything else is looked at again.
const MESSAGES_AT_ONCE: usize = 256;
/// How long nothing happens before a sleep is taken for a long one.
const AWAKE: Duration = Duration::from_secs(1);
/// So many times when the daemon has ended.
const LAST_ROUNDS: usize = 16;
/// How long our own manager is waited for.
const PATIENCE_SECONDS: i32 = 1;

/// What becomes ready, by its number in the set.
const SIGNALS: u64 = 0;
const MESSAGES: u64 = 1;
const ROOM: u64 = 2;
/// From here on: descriptors that are kept and watched.
const KEPT: u64 = 16;

/// Signals that ask for the end of both, the daemon first; the fourth is that of systemd's
/// watchdog.
const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT];
/// Signals that mean something to the daemon alone.
const PASSED_ON: [Signal; 3] = [Signal::HUP, Signal::USR1, Signal::USR2];

/// Runs a daemon until it is meant to end; the exit code then. `longest_wait`: before it starts one
/// that has died again, where that is not to be 15 s.
///
/// # Errors
/// What kept it from beginning, in words.
pub(crate) fn keep(command: &[OsString], longest_wait: Option<Duration>) -> Result<u8, String> {
    let mut keeper = Keeper::new(command, Restarts::new(longest_wait))?;
    keeper.start();
    loop {
        if let Daemon::Ended(code) = keeper.daemon {
            return Ok(code);
        }
        keeper.turn().map_err(|errno| format!("wait: {}", errno.desc()))?;
    }
}

#[derive(Debug)]
struct Keeper {
    command: Vec<CString>,
    daemon: Daemon,
    restarts: Restarts,
    /// A daemon has been ready.
    served: bool,
    /// It was told to end.
    told: bool,
    signals: BlockedSignals,
    readiness: Readiness,
    receiver: NotifyReceiver,
    /// What `NOTIFY_SOCKET` is for the daemon.
    address: String,
    /// Our own manager, where there is one.
    above: Option<NotifySocket>,
    watchdog: Option<OsString>,
    /// What our own manager has passed: each daemon gets it.
    inherited: Vec<(String, OwnedFd)>,
    store: Store,
    most: usize,
    exits: Exits,
    /// Children may have ended that were not looked at.
    unswept: bool,
    /// There was no room for a status, and the set tells when there is.
    awaits_room: bool,
    code: CodePages,
    /// Something was done since the last long sleep.
    awake: bool,
    /// Limits of descriptors as they were.
    nofile: (u64, u64),
    stderr: Option<Channel>,
    /// It was said that there is no room, or that a stranger sends messages.
    full_told: bool,
    stranger_told: bool,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Daemon {
    Lives {
        pid: Pid,
        since: Instant,
    },
    /// It is started again then.
    Waits {
        until: Instant,
    },
    /// It was meant to end; so do we.
    Ended(u8),
}

impl Keeper {
    fn new(command: &[OsString], restarts: Restarts) -> Result<Keeper, String> {
        let failed = |what: &'static str| move |errno: Errno| format!("{what}: {}", errno.desc());
        let words: Option<Vec<CString>> = command.iter().map(|w| service::c_string(w)).collect();
        // First of all, since they are known by their numbers alone.
        let inherited = inherited::passed()
            .map_err(|(number, errno)| format!("take descriptor {number}: {}", errno.desc()))?;
        let name = |passed: Passed| (passed.name.unwrap_or_else(|| "unknown".into()), passed.fd);
        let inherited: Vec<(String, OwnedFd)> = inherited.into_iter().map(name).collect();
        own_process::become_subreaper().map_err(failed("become the reaper of orphans"))?;
        let nofile = service::raise_descriptor_limit().map_err(failed("raise the limit"))?;
        let taken: Vec<Signal> =
            ENDING.into_iter().chain(PASSED_ON).chain([Signal::CHLD]).collect();
        let signals = BlockedSignals::block(&taken).map_err(failed("catch signals"))?;
        let (receiver, address) = NotifyReceiver::bind().map_err(failed("make a socket"))?;
        let exits = Exits::new().map_err(failed("make a pipe"))?;
        let readiness = Readiness::new().map_err(failed("make an epoll set"))?;
        for (fd, key) in [(signals.as_fd(), SIGNALS), (receiver.as_fd(), MESSAGES)] {
            readiness.add(fd, For::Reading, key).map_err(failed("watch a descriptor"))?;
        }
        // The rest is for what has to be done with them.
        let most = usize::try_from(nofile.1 / 5 * 4).unwrap_or(usize::MAX);
        let most = most.saturating_sub(inherited.len());
        let names = inherited.iter().map(|(name, _)| name.len() + 1).sum::<usize>();
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok();
        let mut keeper = Keeper {
            command: words.ok_or("a word of the command has a NUL in it")?,
            daemon: Daemon::Ended(0),
            restarts,
            served: false,
            told: false,
            signals,
            readiness,
            receiver,
            address,
            above: None,
            watchdog: environment::watchdog(std::process::id()),
            inherited,
            store: Store::new(most, names + EXITS_NAME.len()),
            most,
            exits,
            unswept: true,
            awaits_room: false,
            code: CodePages::divide(),
            awake: true,
            nofile,
            stderr: stderr.and_then(|fd| Channel::new(fd).ok()),
            full_told: false,
            stranger_told: false,
        };
        keeper.connect_above();
        Ok(keeper)
    }

    fn connect_above(&mut self) {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return;
        };
        match NotifySocket::connect(path.as_bytes()) {
            Ok(socket) => {
                // At worst a manager that hangs holds us up as well.
                let _ = socket.set_patience(PATIENCE_SECONDS);
                self.above = Some(socket);
            }
            Err(errno) => {
                self.say(&format!("cannot reach NOTIFY_SOCKET {path:?}: {}", errno.desc()))
            }
        }
    }

    /// Waits for something to happen, and does what it asks for.
    fn turn(&mut self) -> Result<(), Errno> {
        let patience = match self.daemon {
            _ if self.unswept => Some(Duration::ZERO),
            Daemon::Waits { until } => Some(until.saturating_duration_since(Instant::now())),
            Daemon::Lives { .. } | Daemon::Ended(_) => self.awake.then_some(AWAKE),
        };
        let ready = self.readiness.wait(patience)?;
        if ready.is_empty() && patience == Some(AWAKE) {
            self.code.give_back();
        }
        // A wait that was only interrupted is nothing that happened.
        self.awake = !ready.is_empty() || (self.awake && patience != Some(AWAKE));
        for key in ready {
            match key {
                // What the daemon said last comes before its end.
                MESSAGES => {
                    self.take_messages();
                }
                SIGNALS => self.take_signals(),
                ROOM => {
                    self.readiness.remove(self.exits.writer());
                    self.awaits_room = false;
                    self.unswept = true;
                }
                key => self.end_of_kept(key.saturating_sub(KEPT) as u32),
            }
        }
        if self.unswept {
            self.look_at_daemon();
            self.sweep();
        }
        if let Daemon::Waits { until } = self.daemon
            && until <= Instant::now()
        {
            self.start();
        }
        Ok(())
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.take() {
            if signal == Signal::CHLD {
                self.unswept = true;
                continue;
            }
            let ending = ENDING.contains(&signal);
            self.told |= ending;
            match self.daemon {
                // It is not reaped, so that the number is its own.
                Daemon::Lives { pid, .. } => {
                    if let Err(errno) = processes::kill(pid, signal) {
                        self.say(&format!("pass {signal} on to {pid}: {}", errno.desc()));
                    }
                }
                Daemon::Waits { .. } if ending => self.daemon = Daemon::Ended(0),
                Daemon::Waits { .. } | Daemon::Ended(_) => {}
            }
        }
    }

    /// Whether there may be more.
    fn take_messages(&mut self) -> bool {
        for _ in 0..MESSAGES_AT_ONCE {
            match self.receiver.receive() {
                Ok(Some(datagram)) => self.take_message(datagram),
                Ok(None) => return false,
                Err(errno) => {
                    self.say(&format!("receive a message: {}", errno.desc()));
                    return false;
                }
            }
        }
        true
    }

    /// Whatever is not kept of it is closed with it.
    fn take_message(&mut self, datagram: Datagram) {
        let Datagram { text, pid, uid, fds, truncated } = datagram;
        if !matches!(self.daemon, Daemon::Lives { pid: daemon, .. } if daemon.number() == pid) {
            if !self.stranger_told {
                self.stranger_told = true;
                self.say(&format!(
                    "messages of others than the daemon are ignored: pid {pid}, user {uid}"
                ));
            }
            return;
        }
        if truncated {
            return self.say("a message of the daemon is ignored: it did not arrive whole");
        }
        let Some(message) = Message::parse(&text) else {
            return self.say("a message of the daemon is ignored: it is no text");
        };
        self.served |= message.ready;
        self.told |= message.stopping;
        if let Some(name) = message.forget {
            let readiness = &self.readiness;
            self.store.forget(name, |fd| readiness.remove(fd));
            self.full_told = false;
        }
        if let Some(name) = message.keep {
            for fd in fds {
                self.keep(name, fd, message.poll);
            }
        }
        self.pass_on(&message);
    }

    fn keep(&mut self, name: &str, fd: OwnedFd, poll: bool) {
        let readiness = &self.readiness;
        let watch = |fd: BorrowedFd<'_>, number: u32| {
            poll && readiness.add(fd, For::End, KEPT + u64::from(number)).is_ok()
        };
        match self.store.keep(name, fd, watch) {
            Ok(()) => {}
            Err(full) if !self.full_told => {
                self.full_told = true;
                let kept = full.kept;
                self.say(&format!("no more descriptors are kept: there are {kept}, {name} is not"));
            }
            Err(_) => {}
        }
    }

    fn end_of_kept(&mut self, number: u32) {
        let readiness = &self.readiness;
        if let Some(name) = self.store.ended(number, |fd| readiness.remove(fd)) {
            self.say(&format!("{name} is not kept any longer: it has come to its end"));
        }
    }

    /// To our own manager we are the main process.
    fn pass_on(&mut self, message: &Message<'_>) {
        let Some(above) = &self.above else { return };
        let mut text = message.passed_on.clone();
        if message.names_main {
            text.push_str(&format!("MAINPID={}\n", std::process::id()));
        }
        if text.is_empty() {
            return;
        }
        if let Err(errno) = above.send_patiently(text.as_bytes()) {
            self.say(&format!("pass on {:?}: {}", text.trim_end(), errno.desc()));
        }
    }

    fn look_at_daemon(&mut self) {
        let Daemon::Lives { pid, since } = self.daemon else { return };
        let status = match reap::look(pid, None, Keep::Zombie) {
            Look::Alive => return,
            Look::Ended(status) => status,
            Look::Gone => ExitStatus::Unknown,
        };
        // The last that it said. A queue is no longer than this unless others go on filling it.
        for _ in 0..LAST_ROUNDS {
            if !self.take_messages() {
                break;
            }
        }
        reap::look(pid, None, Keep::Nothing);
        let lived = since.elapsed();
        let next = self.restarts.after(status, lived, self.told, self.served);
        self.follow(next, &told(status));
    }

    fn follow(&mut self, next: Next, what: &str) {
        self.daemon = match next {
            Next::End(code) => Daemon::Ended(code),
            Next::Restart(wait) => {
                let kept = self.store.len();
                let text = format!(
                    "the daemon {what}: started again in {wait:?}, {kept} descriptors kept"
                );
                self.say(&text);
                if let Some(above) = &self.above {
                    // It is a nicety.
                    let _ = above.send_patiently(format!("STATUS={text}\n").as_bytes());
                }
                Daemon::Waits { until: Instant::now() + wait }
            }
        };
    }

    fn sweep(&mut self) {
        let daemon = match self.daemon {
            Daemon::Lives { pid, .. } => Some(pid),
            Daemon::Waits { .. } | Daemon::Ended(_) => None,
        };
        let swept = self.exits.sweep(daemon);
        self.unswept = swept == Swept::More;
        if swept == Swept::Full && !self.awaits_room {
            self.awaits_room = self.readiness.add(self.exits.writer(), For::Writing, ROOM).is_ok();
            self.say(
                "no more exit statuses can be kept until a daemon takes some: \
                 what ends stays a zombie",
            );
        }
    }

    fn start(&mut self) {
        let started = {
            let inherited = self.inherited.iter().map(|(name, fd)| (name.as_str(), fd.as_fd()));
            let exits = std::iter::once((EXITS_NAME, self.exits.reader()));
            let (names, fds): (Vec<&str>, Vec<BorrowedFd<'_>>) =
                inherited.chain(self.store.all()).chain(exits).unzip();
            let manager = Manager {
                address: &self.address,
                most: self.most,
                names: &names,
                watchdog: self.watchdog.as_deref(),
            };
            let service = Service {
                command: &self.command,
                environment: environment::environment(std::env::vars_os(), &manager),
                with_own_pid: environment::with_own_pid(self.watchdog.is_some()),
                fds,
                nofile: self.nofile,
            };
            service.start(&self.signals)
        };
        self.stranger_told = false;
        match started {
            Ok(pid) => self.daemon = Daemon::Lives { pid, since: Instant::now() },
            Err(errno) => {
                let next = self.restarts.failed();
                self.follow(next, &format!("cannot be started ({})", errno.desc()));
            }
        }
    }

    /// Where nobody reads the log, a line is lost.
    fn say(&self, text: &str) {
        if let Some(stderr) = &self.stderr {
            let _ = stderr.write(format!("ostler: keeper: {text}\n").as_bytes());
        }
    }
}

fn told(status: ExitStatus) -> String {
    match status {
        ExitStatus::Exited(code) => format!("has exited with {code}"),
        ExitStatus::Signaled(signal) => match Signal::new(i32::from(signal)) {
            Some(signal) => format!("was ended by {signal}"),
            None => format!("was ended by signal {signal}"),
        },
        ExitStatus::Unknown => "is gone".to_owned(),
    }
}
