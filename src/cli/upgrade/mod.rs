//! Going on with the program that is on disk by now, in the same process: it is asked, as a child,
//! whether it can, then what is under way is brought to an end, then it is executed.

mod taken;

pub(super) use taken::{TakenOver, read, taken_over};

use crate::control::Server;
use crate::control::handover::Document;
use crate::reactor::{ProcessSignals, Ready, Supervisor, WatchId};
use crate::sys::handed_descriptors::let_through;
use crate::sys::own_program;
use crate::sys::successor::{Asked, Successor, hold_signals, sealed_file, send_again};
use crate::vocabulary::limits::{
    UPGRADE_ANSWER_BYTES_MAX, UPGRADE_ANSWER_PATIENCE, UPGRADE_SETTLE_PATIENCE,
};
use crate::vocabulary::{ExitStatus, Signal, cause};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use taken::TAKE_OVER_VARIABLE;

/// How often it is looked whether all that is under way has come to an end.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

const ENDING: &str = "it is ending";

/// A verb that supervises, and can be gone on with by another program.
pub(super) trait Upgradable {
    /// As far as it has come.
    fn upgrade(&mut self) -> &mut Upgrade;
    fn supervisor(&mut self) -> &mut Supervisor;
    fn server(&mut self) -> &mut Server;
    /// What it catches: that is held back while the next program has not begun.
    fn caught(&mut self) -> (&[Signal], &mut ProcessSignals);
    /// Its end has begun, so that there is nothing to go on with.
    fn is_ending(&self) -> bool;
    /// Tasks are still to be started before it can be handed over. Why.
    fn needs_starts(&self) -> Option<&'static str>;
    /// What else of its own has to come to an end before it can.
    fn is_busy(&self) -> Option<&'static str>;
    /// How everything stands; `program` is a descriptor of whoever goes on.
    ///
    /// # Errors
    /// What cannot be written down.
    fn document(&self, program: RawFd) -> Result<Document, String>;
    /// The other program is being asked.
    fn upgrade_begins(&mut self);
}

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

/// Begins an upgrade, unless one is under way.
pub(super) fn begin(host: &mut dyn Upgradable) {
    if !host.upgrade().is_idle() {
        return;
    }
    match ask(host) {
        Ok(asking) => {
            log::info!("upgrade: {:?} is asked whether it can take over", asking.path);
            host.upgrade_begins();
            *host.upgrade() = Upgrade::Asking(Box::new(asking));
        }
        Err(reason) => fail(host, &reason),
    }
}

/// Goes on with an upgrade that is under way. Does not return where that succeeds.
pub(super) fn proceed(host: &mut dyn Upgradable) {
    match std::mem::take(host.upgrade()) {
        Upgrade::Idle => {}
        Upgrade::Asking(asking) => hear(host, asking),
        Upgrade::Settling(settling) => settle(host, settling),
    }
}

fn ask(host: &mut dyn Upgradable) -> Result<Asking, String> {
    if host.is_ending() {
        return Err(ENDING.to_owned());
    }
    let path = own_program::path().ok_or("where the program is on disk is not known")?;
    let opened = Successor::open(&path);
    let successor = opened.map_err(|errno| format!("open {path:?}: {}", errno.desc()))?;
    // As it stands now: it shows whether the other one understands it.
    let document = host.document(successor.number())?;
    let state = sealed_file(&document.bytes).map_err(|e| keep_failed(&e))?;
    let own: Vec<OsString> = std::env::args_os().collect();
    let words = own.iter().take(1).cloned();
    let words = words.chain(["take-over", "--check", "--"].map(OsString::from));
    let words: Vec<OsString> = words.chain(own.iter().skip(1).cloned()).collect();
    let asked = successor.ask(&words, state);
    let asked = asked.map_err(|error| format!("execute {path:?}: {}", cause(&error)))?;
    host.supervisor().follow_helper(asked.pid);
    let watch = host.supervisor().watch(asked.answer.as_fd()).map_err(|error| {
        asked.kill();
        format!("watch the answer of {path:?}: {}", cause(&error))
    })?;
    let (said, silent) = (Vec::new(), false);
    let until = Instant::now() + UPGRADE_ANSWER_PATIENCE;
    Ok(Asking { path, successor, asked, watch, said, silent, until })
}

fn hear(host: &mut dyn Upgradable, mut asking: Box<Asking>) {
    let answer = match asking.hear(host.supervisor().helper_status()) {
        Answer::NotYet if host.is_ending() => Answer::No(ENDING.to_owned()),
        answer => answer,
    };
    if matches!(answer, Answer::NotYet) {
        *host.upgrade() = Upgrade::Asking(asking);
        return;
    }
    let Asking { path, successor, asked, watch, .. } = *asking;
    host.supervisor().unwatch(watch, asked.answer.as_fd());
    match answer {
        Answer::Yes(version) => {
            log::info!("upgrade: ostler {version} can take over");
            host.server().hold_calls(true);
            let until = Instant::now() + UPGRADE_SETTLE_PATIENCE;
            settle(host, Box::new(Settling { path, successor, until }));
        }
        Answer::No(reason) => {
            asked.kill();
            fail(host, &reason);
        }
        Answer::NotYet => {}
    }
}

fn settle(host: &mut dyn Upgradable, settling: Box<Settling>) {
    let unready = host.needs_starts();
    host.supervisor().hold_starts(unready.is_none());
    let starts = host.supervisor().unfinished_starts();
    let obstacle = if host.is_ending() {
        return fail(host, ENDING);
    } else if let Some(why) = unready {
        Some(why.to_owned())
    } else if !starts.is_empty() {
        Some(format!("the start of {} is under way", starts.join(", ")))
    } else if let Some(why) = host.is_busy() {
        Some(why.to_owned())
    } else {
        (!host.supervisor().is_quiet()).then(|| "there is no end of news".to_owned())
    };
    match obstacle {
        None => {
            let reason = execute(host, &settling);
            fail(host, &reason);
        }
        Some(why) if Instant::now() >= settling.until => {
            fail(host, &format!("{why}, after {UPGRADE_SETTLE_PATIENCE:?}"));
        }
        Some(_) => *host.upgrade() = Upgrade::Settling(settling),
    }
}

/// Returns only why it could not be done; then everything is as before.
fn execute(host: &mut dyn Upgradable, settling: &Settling) -> String {
    let Settling { path, successor, .. } = settling;
    if let Err(error) = host.supervisor().keep_state() {
        return format!("keep the state: {}", cause(&error));
    }
    let Document { bytes, mut descriptors } = match host.document(successor.number()) {
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
    let (caught, signals) = host.caught();
    if let Err(errno) = hold_signals(caught, true) {
        return format!("hold back signals: {}", errno.desc());
    }
    // Those that have come and were not heeded come to the next program.
    signals.take().into_iter().for_each(send_again);
    let words: Vec<OsString> = std::env::args_os().collect();
    let errno = successor.execute(&words, environment(path, state.as_raw_fd()));
    // Cannot fail: it has worked before.
    let _ = hold_signals(caught, false);
    format!("execute {path:?}: {}", errno.desc())
}

/// This program goes on, and whoever has asked is told so.
fn fail(host: &mut dyn Upgradable, reason: &str) {
    log::error!("upgrade failed: {reason}; this program goes on");
    *host.upgrade() = Upgrade::Idle;
    host.supervisor().hold_starts(false);
    host.server().hold_calls(false);
    host.server().answer_upgrade(Err(reason));
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
