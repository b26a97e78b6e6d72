//! Going on with the program that is on disk by now, in the same process: it is asked, as a child,
//! whether it can, then what is under way is brought to an end, then it is executed.

use super::handed::{HandedHost, TAKE_OVER_VARIABLE};
use super::{CAUGHT, Daemon};
use crate::control::handover::{self, Document};
use crate::reactor::{Ready, WatchId};
use crate::sys::handed_descriptors::let_through;
use crate::sys::own_program;
use crate::sys::successor::{Asked, Successor, hold_signals, sealed_file, send_again};
use crate::vocabulary::limits::{
    UPGRADE_ANSWER_BYTES_MAX, UPGRADE_ANSWER_PATIENCE, UPGRADE_SETTLE_PATIENCE,
};
use crate::vocabulary::{ExitStatus, cause};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often it is looked whether all that is under way has come to an end.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// An upgrade, as far as it has come.
#[derive(Debug, Default)]
pub(super) enum Upgrade {
    #[default]
    Idle,
    /// The other program is asked.
    Asking(Box<Asking>),
    /// It can: what is under way is waited for.
    Settling(Box<Settling>),
}

#[derive(Debug)]
pub(super) struct Asking {
    path: PathBuf,
    successor: Successor,
    asked: Asked,
    watch: WatchId,
    said: Vec<u8>,
    /// It says no more.
    silent: bool,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct Settling {
    path: PathBuf,
    successor: Successor,
    until: Instant,
}

impl Upgrade {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Upgrade::Idle)
    }

    /// Whether this is about it.
    pub(super) fn take_ready(&self, ready: &Ready) -> bool {
        matches!(self, Upgrade::Asking(asking) if asking.watch == ready.id)
    }

    /// How long the loop waits at most.
    pub(super) fn timeout(&self) -> Option<Duration> {
        match self {
            Upgrade::Idle => None,
            Upgrade::Asking(asking) => Some(asking.until.saturating_duration_since(Instant::now())),
            Upgrade::Settling(_) => Some(LOOK_INTERVAL),
        }
    }
}

/// What a program says that was asked whether it can take over.
enum Answer {
    NotYet,
    /// Its version.
    Yes(String),
    No(String),
}

impl Daemon {
    /// Begins an upgrade, unless one is under way.
    pub(super) fn begin_upgrade(&mut self) {
        if !self.upgrade.is_idle() {
            return;
        }
        match self.ask_successor() {
            Ok(asking) => {
                log::info!("upgrade: {:?} is asked whether it can take over", asking.path);
                self.notifier.reloading();
                self.upgrade = Upgrade::Asking(Box::new(asking));
            }
            Err(reason) => self.fail_upgrade(&reason),
        }
    }

    /// Goes on with an upgrade that is under way. Does not return where that succeeds.
    pub(super) fn continue_upgrade(&mut self) {
        match std::mem::take(&mut self.upgrade) {
            Upgrade::Idle => {}
            Upgrade::Asking(asking) => self.hear(asking),
            Upgrade::Settling(settling) => self.settle(settling),
        }
    }

    fn ask_successor(&mut self) -> Result<Asking, String> {
        if self.is_ending() {
            return Err("the daemon is ending".to_owned());
        }
        let path = own_program::path().ok_or("where the program is on disk is not known")?;
        let opened = Successor::open(&path);
        let successor = opened.map_err(|errno| format!("open {path:?}: {}", errno.desc()))?;
        // As it stands now: it shows whether the other one understands it.
        let document = self.document(successor.number())?;
        let state = sealed_file(&document.bytes).map_err(|e| keep_failed(&e))?;
        let own: Vec<OsString> = std::env::args_os().collect();
        let words = own.iter().take(1).cloned();
        let words = words.chain(["take-over", "--check", "--"].map(OsString::from));
        let words: Vec<OsString> = words.chain(own.iter().skip(1).cloned()).collect();
        let asked = successor.ask(&words, state);
        let asked = asked.map_err(|error| format!("execute {path:?}: {}", cause(&error)))?;
        self.supervisor.follow_helper(asked.pid);
        let watch = self.supervisor.watch(asked.answer.as_fd()).map_err(|error| {
            asked.kill();
            format!("watch the answer of {path:?}: {}", cause(&error))
        })?;
        let (said, silent) = (Vec::new(), false);
        let until = Instant::now() + UPGRADE_ANSWER_PATIENCE;
        Ok(Asking { path, successor, asked, watch, said, silent, until })
    }

    fn hear(&mut self, mut asking: Box<Asking>) {
        let answer = match asking.hear(self.supervisor.helper_status()) {
            Answer::NotYet if self.is_ending() => Answer::No("the daemon is ending".to_owned()),
            answer => answer,
        };
        if matches!(answer, Answer::NotYet) {
            self.upgrade = Upgrade::Asking(asking);
            return;
        }
        let Asking { path, successor, asked, watch, .. } = *asking;
        self.supervisor.unwatch(watch, asked.answer.as_fd());
        match answer {
            Answer::Yes(version) => {
                log::info!("upgrade: ostler {version} can take over");
                self.server.hold_calls(true);
                let until = Instant::now() + UPGRADE_SETTLE_PATIENCE;
                self.settle(Box::new(Settling { path, successor, until }));
            }
            Answer::No(reason) => {
                asked.kill();
                self.fail_upgrade(&reason);
            }
            Answer::NotYet => {}
        }
    }

    fn settle(&mut self, settling: Box<Settling>) {
        let reloading = self.tasks.is_reloading();
        // The tasks of a file are launched first.
        self.supervisor.hold_starts(!reloading);
        let starts = self.supervisor.unfinished_starts();
        let obstacle = if self.is_ending() {
            return self.fail_upgrade("the daemon is ending");
        } else if reloading {
            Some("the task file is being read".to_owned())
        } else if !starts.is_empty() {
            Some(format!("the start of {} is under way", starts.join(", ")))
        } else if self.metrics.is_busy() {
            Some("a collector is being served".to_owned())
        } else {
            (!self.supervisor.is_quiet()).then(|| "there is no end of news".to_owned())
        };
        match obstacle {
            None => {
                let reason = self.execute(&settling);
                self.fail_upgrade(&reason);
            }
            Some(why) if Instant::now() >= settling.until => {
                self.fail_upgrade(&format!("{why}, after {UPGRADE_SETTLE_PATIENCE:?}"));
            }
            Some(_) => self.upgrade = Upgrade::Settling(settling),
        }
    }

    /// Returns only why it could not be done; then everything is as before.
    fn execute(&mut self, settling: &Settling) -> String {
        let Settling { path, successor, .. } = settling;
        if let Err(error) = self.supervisor.keep_state() {
            return format!("keep the state: {}", cause(&error));
        }
        let Document { bytes, mut descriptors } = match self.document(successor.number()) {
            Ok(document) => document,
            Err(why) => return why,
        };
        let state = match sealed_file(&bytes) {
            Ok(state) => state,
            Err(error) => return keep_failed(&error),
        };
        drop(bytes);
        descriptors.push(state.as_raw_fd());
        let _through = match let_through(descriptors) {
            Ok(through) => through,
            Err((number, errno)) => return format!("keep descriptor {number}: {}", errno.desc()),
        };
        if let Err(errno) = hold_signals(&CAUGHT, true) {
            return format!("hold back signals: {}", errno.desc());
        }
        // Those that have come and were not heeded come to the next program.
        self.signals.take().into_iter().for_each(send_again);
        let words: Vec<OsString> = std::env::args_os().collect();
        let errno = successor.execute(&words, environment(path, state.as_raw_fd()));
        // Cannot fail: it has worked before.
        let _ = hold_signals(&CAUGHT, false);
        format!("execute {path:?}: {}", errno.desc())
    }

    /// This program goes on, and whoever has asked is told so.
    fn fail_upgrade(&mut self, reason: &str) {
        log::error!("upgrade failed: {reason}; this program goes on");
        self.upgrade = Upgrade::Idle;
        self.supervisor.hold_starts(false);
        self.server.hold_calls(false);
        self.server.answer_upgrade(Err(reason));
    }

    fn is_ending(&self) -> bool {
        self.ending.is_some() || self.supervisor.is_ending()
    }

    /// How everything stands; `program` is a descriptor of whoever goes on.
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
}

fn keep_failed(error: &std::io::Error) -> String {
    format!("keep the state in memory: {}", cause(error))
}

/// Ours, but for what was passed to this program alone.
fn environment(path: &std::path::Path, state: RawFd) -> Vec<OsString> {
    let ours = [own_program::PATH_VARIABLE, TAKE_OVER_VARIABLE];
    let without = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", ours[0], ours[1]];
    let path = own_program::named(own_program::PATH_VARIABLE, path.as_os_str().to_owned());
    let state = own_program::named(TAKE_OVER_VARIABLE, state.to_string().into());
    own_program::environment_without(&without).chain([path, state]).collect()
}

impl Asking {
    /// What it says; `status`: how it has ended.
    fn hear(&mut self, status: Option<ExitStatus>) -> Answer {
        let mut buffer = [0; 4096];
        while !self.silent && self.said.len() <= UPGRADE_ANSWER_BYTES_MAX {
            match (&self.asked.answer).read(&mut buffer) {
                Ok(0) => self.silent = true,
                Ok(count) => self.said.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.silent = true,
            }
        }
        let path = &self.path;
        let status = match status {
            Some(status) if self.silent => status,
            _ if self.said.len() > UPGRADE_ANSWER_BYTES_MAX => {
                return Answer::No(format!("{path:?} is no ostler: it says something else"));
            }
            _ if Instant::now() >= self.until => {
                let patience = UPGRADE_ANSWER_PATIENCE;
                return Answer::No(format!("{path:?} has not answered within {patience:?}"));
            }
            _ => return Answer::NotYet,
        };
        let said = String::from_utf8_lossy(&self.said);
        let last = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        let version = last.as_ref().and_then(|last: &Value| last.get("version")?.as_str());
        match (status, version) {
            (ExitStatus::Exited(0), Some(version)) => Answer::Yes(version.to_owned()),
            (ExitStatus::Exited(0), None) => {
                Answer::No(format!("{path:?} is no ostler: it does not say its version"))
            }
            (status, _) => Answer::No(format!("{path:?} cannot take over: {}", why(status, &said))),
        }
    }
}

/// The first thing that it has said, else how it has ended.
fn why(status: ExitStatus, said: &str) -> String {
    const SHOWN: usize = 300;
    match (said.lines().find(|line| !line.trim().is_empty()), status) {
        (Some(line), _) => line.chars().take(SHOWN).collect(),
        (None, ExitStatus::Exited(code)) => format!("it has exited with {code}"),
        (None, ExitStatus::Signaled(signal)) => format!("it was ended by signal {signal}"),
        (None, ExitStatus::Unknown) => "it has ended without a word".to_owned(),
    }
}
