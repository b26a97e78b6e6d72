//! Reading a journal: from its lines to what an earlier supervisor has left.
//!
//! A line that cannot be read is passed over, and said to be: the tasks that the others tell of
//! are worth more. The last line may be torn, since whoever wrote it was killed.

use super::FORMAT;
use super::line::{Header, Line};
use crate::engine::Saved;
use crate::reactor::{Counters, Kept, Process, new_instance};
use crate::sys::{adopted, own_process};
use crate::vocabulary::LaunchNumber;
use crate::vocabulary::limits::JOURNAL_LINE_BYTES_MAX;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn boot_id() -> String {
    own_process::boot_id()
}

pub(super) fn pid_namespace() -> u64 {
    adopted::pid_namespace()
}

/// What the journal at `path` tells; where there is none, that of a supervisor without a past.
///
/// # Errors
/// When it cannot be read, or is of a later format.
pub(super) fn read(path: &Path) -> io::Result<Kept> {
    let explain =
        |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("read {path:?}: {why}"));
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => {
            read.map_err(|error| io::Error::new(error.kind(), format!("read {path:?}: {error}")))?
        }
    };
    let mut complaints = Vec::new();
    let told = parse(&bytes, &mut complaints).map_err(explain)?;
    for complaint in complaints {
        log::error!("{path:?} {complaint}");
    }
    let same_boot =
        |header: &Header| header.boot_id == boot_id() && header.pid_namespace == pid_namespace();
    Ok(told.into_kept(same_boot))
}

/// What a journal tells.
#[derive(Debug, Default)]
pub(super) struct Told {
    header: Option<Header>,
    counters: Counters,
    tree: Option<PathBuf>,
    tasks: BTreeMap<LaunchNumber, Saved>,
    processes: HashMap<LaunchNumber, Process>,
    stopping: bool,
}

/// Reads every line; what cannot be read is added to the complaints.
///
/// # Errors
/// Of a later format.
pub(super) fn parse(bytes: &[u8], complaints: &mut Vec<String>) -> Result<Told, String> {
    let mut told = Told::default();
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let (text, whole) = match line.split_last() {
            Some((b'\n', text)) => (text, true),
            _ => (line, false),
        };
        // A torn last line was never acted upon.
        if text.is_empty() || !whole {
            continue;
        }
        if let Err(why) = told.take(text) {
            match why {
                Unread::Later(why) => return Err(why),
                Unread::Line(why) => complaints.push(format!("line {}: {why}", index + 1)),
            }
        }
    }
    if told.header.is_none() && !bytes.is_empty() {
        complaints.push("does not begin as a journal does: what it tells is not used".to_owned());
        return Ok(Told::default());
    }
    Ok(told)
}

/// Numbers rise by one each time: a larger one was never reached.
const NUMBER_MAX: u64 = 1 << 53;

/// Why a line was not read.
enum Unread {
    /// The whole journal cannot be.
    Later(String),
    Line(String),
}

impl Told {
    fn take(&mut self, text: &[u8]) -> Result<(), Unread> {
        if text.len() > JOURNAL_LINE_BYTES_MAX {
            return Err(Unread::Line("is longer than a line can be".to_owned()));
        }
        let line = serde_json::from_slice(text)
            .map_err(|error| Unread::Line(format!("is not understood: {error}")))?;
        match line {
            Line::Journal(header) => {
                if header.format > FORMAT {
                    return Err(Unread::Later(format!(
                        "it was written by ostler {}, in format {}, and this one, {}, knows \
                         formats up to {FORMAT}: start that version, or move the file away to \
                         start without its tasks",
                        header.version,
                        header.format,
                        env!("CARGO_PKG_VERSION")
                    )));
                }
                self.counters = Counters {
                    next_launch: header.next_launch.min(NUMBER_MAX),
                    next_run: header.next_run.min(NUMBER_MAX),
                    sequence: header.sequence.min(NUMBER_MAX),
                };
                self.header = Some(header);
            }
            Line::Task(task) => {
                let saved = task.saved().map_err(Unread::Line)?;
                if saved.identity.number >= NUMBER_MAX {
                    return Err(Unread::Line("no launch has such a number".to_owned()));
                }
                self.tasks.insert(saved.identity.number, saved);
            }
            Line::State(state) => {
                let known = self.tasks.get_mut(&state.launch);
                if !known.is_some_and(|saved| state.apply(saved)) {
                    return Err(Unread::Line("nothing can stand so".to_owned()));
                }
            }
            Line::Process(line) => {
                let process = line.process();
                let process = process.ok_or_else(|| Unread::Line("names no process".to_owned()))?;
                self.processes.insert(process.launch, process);
            }
            Line::Removed(number) => {
                self.tasks.remove(&number);
                self.processes.remove(&number);
                self.counters.next_launch = self.counters.next_launch.max(after(number));
            }
            Line::Tree(path) => self.tree = Some(path.into()),
            Line::Sequence(number) => self.counters.sequence = number.min(NUMBER_MAX),
            Line::Stopping(stopping) => self.stopping = stopping,
        }
        Ok(())
    }

    /// For the reactor. `same_boot` says whether a header is of where we run.
    pub(super) fn into_kept(self, same_boot: impl Fn(&Header) -> bool) -> Kept {
        let Told { header, mut counters, tree, tasks, processes, stopping } = self;
        for saved in tasks.values() {
            counters.next_launch = counters.next_launch.max(after(saved.identity.number));
            counters.next_run = counters.next_run.max(after(saved.run));
        }
        for process in processes.values() {
            counters.next_run = counters.next_run.max(after(process.run));
        }
        // Of two with one name the later one is right: the removal of the other was torn off.
        let mut names = HashSet::new();
        let mut tasks: Vec<Saved> = tasks.into_values().rev().collect();
        tasks.retain(|saved| names.insert(saved.identity.name.clone()));
        tasks.reverse();
        Kept {
            same_boot: header.as_ref().is_some_and(same_boot),
            instance: header
                .map(|header| header.instance)
                .filter(|instance| !instance.is_empty())
                .unwrap_or_else(new_instance),
            counters,
            tree,
            tasks,
            processes,
            stopping,
        }
    }
}

fn after(number: u64) -> u64 {
    number.saturating_add(1).min(NUMBER_MAX)
}
