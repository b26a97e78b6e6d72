//! Calls that are answered piece by piece, as they stand.

use super::Taking;
use super::reactor::base64_text;
use crate::control::calls::{
    EventStream, ListStream, LogStanding, LogStream, StatsStanding, StatsStream, Stream,
};
use crate::control::logs::{LogFiles, LogReader};
use crate::reactor::Supervisor;
use crate::sys::handed_descriptors::HandedDescriptors;
use crate::vocabulary::{LaunchNumber, StateName, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::RawFd;
use std::time::Duration;

/// One of them.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
pub(in crate::control) enum HandedPieces {
    Events { names: Option<Vec<String>>, cursor: u64, begun: bool },
    List(HandedList),
    Logs(HandedLog),
    Stats(HandedStats),
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(in crate::control) struct HandedList {
    launches: Vec<LaunchNumber>,
    labels: BTreeMap<String, String>,
    states: Option<Vec<String>>,
    sequence: u64,
    more: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(in crate::control) struct HandedLog {
    launch: LaunchNumber,
    path: String,
    task_dir: Option<String>,
    scheme: String,
    /// Descriptor, number in its name, and how much of it was read.
    current: Option<(RawFd, u64, u64)>,
    has_tail: bool,
    #[serde(with = "base64_text")]
    tail: Vec<u8>,
    more: bool,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(in crate::control) struct HandedStats {
    named: Option<Vec<LaunchNumber>>,
    by_pid: bool,
    interval_ms: Option<u64>,
    due_us: u64,
    left: Option<Vec<LaunchNumber>>,
}

/// The tasks by their launches.
pub(super) type Launches = HashMap<LaunchNumber, TaskId>;

pub(super) fn launches(supervisor: &Supervisor) -> Launches {
    let number = |task| Some((supervisor.status(task)?.identity.number, task));
    supervisor.tasks().filter_map(number).collect()
}

impl HandedPieces {
    pub(super) fn of(stream: &Stream, supervisor: &Supervisor) -> HandedPieces {
        let number = |task: &TaskId| Some(supervisor.status(*task)?.identity.number);
        let numbers = |tasks: &[TaskId]| tasks.iter().filter_map(number).collect();
        match stream {
            Stream::Events(stream) => {
                let (names, cursor, begun) = stream.standing();
                HandedPieces::Events { names: names.map(<[String]>::to_vec), cursor, begun }
            }
            Stream::List(list) => HandedPieces::List(HandedList {
                launches: numbers(&list.tasks),
                labels: list.labels.clone(),
                states: list
                    .states
                    .as_ref()
                    .map(|states| states.iter().map(|state| state.as_str().to_owned()).collect()),
                sequence: list.sequence,
                more: list.more,
            }),
            Stream::Logs(log) => {
                let (launch, tail, reader, more) = log.standing();
                let (files, current) = reader.standing();
                let (path, task_dir, scheme) = files.place();
                HandedPieces::Logs(HandedLog {
                    launch,
                    path: path.to_owned(),
                    task_dir: task_dir.map(str::to_owned),
                    scheme: scheme.to_owned(),
                    current,
                    has_tail: tail.is_some(),
                    tail: tail.unwrap_or_default().to_vec(),
                    more,
                })
            }
            Stream::Stats(stats) => {
                let StatsStanding { named, by_pid, interval, due, left } = stats.standing();
                HandedPieces::Stats(HandedStats {
                    named: named.map(|named| named.into_iter().map(|(_, launch)| launch).collect()),
                    by_pid,
                    interval_ms: interval.map(millis),
                    due_us: u64::try_from(due.as_micros()).unwrap_or(u64::MAX),
                    left: left.as_deref().map(numbers),
                })
            }
        }
    }

    pub(super) fn descriptor(&self) -> Option<RawFd> {
        match self {
            HandedPieces::Logs(log) => log.current.map(|(number, ..)| number),
            HandedPieces::Events { .. } | HandedPieces::List(_) | HandedPieces::Stats(_) => None,
        }
    }

    /// `None`: it cannot go on.
    pub(super) fn stream(self, taking: &mut Taking<'_>, launches: &Launches) -> Option<Stream> {
        let tasks = |numbers: Vec<LaunchNumber>| -> Vec<TaskId> {
            numbers.iter().filter_map(|number| launches.get(number).copied()).collect()
        };
        Some(match self {
            HandedPieces::Events { names, cursor, begun } => {
                Stream::Events(EventStream::go_on(names, cursor, begun))
            }
            HandedPieces::List(list) => Stream::List(ListStream {
                tasks: tasks(list.launches),
                labels: list.labels,
                states: list.states.map(|states| {
                    let named = |name: &String| {
                        StateName::ALL.into_iter().find(|state| state.as_str() == name)
                    };
                    states.iter().filter_map(named).collect()
                }),
                sequence: list.sequence,
                more: list.more,
            }),
            HandedPieces::Logs(log) => {
                Stream::Logs(Box::new(log.stream(launches, taking.descriptors)?))
            }
            HandedPieces::Stats(stats) => {
                let named = |numbers: Vec<LaunchNumber>| {
                    let known = |number| Some((*launches.get(&number)?, number));
                    numbers.into_iter().filter_map(known).collect()
                };
                let standing = StatsStanding {
                    named: stats.named.map(named),
                    by_pid: stats.by_pid,
                    interval: stats.interval_ms.map(Duration::from_millis),
                    due: Duration::from_micros(stats.due_us),
                    left: stats.left.map(tasks),
                };
                Stream::Stats(StatsStream::go_on(standing, taking.supervisor))
            }
        })
    }
}

impl HandedLog {
    fn stream(self, launches: &Launches, descriptors: &mut HandedDescriptors) -> Option<LogStream> {
        let current = match self.current {
            Some((file, number, offset)) => {
                Some((File::from(descriptors.take(file)?), number, offset))
            }
            None => None,
        };
        let files = LogFiles::at(self.path.clone(), self.task_dir, &self.scheme);
        Some(LogStream::go_on(LogStanding {
            // One that was removed has ended, as this one has.
            task: launches.get(&self.launch).copied().unwrap_or(TaskId::new(u32::MAX, 0)),
            number: self.launch,
            path: self.path,
            tail: self.has_tail.then_some(self.tail),
            reader: LogReader::go_on(files, current).ok()?,
            more: self.more,
        }))
    }
}

fn millis(interval: Duration) -> u64 {
    u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)
}
