//! Connections that carry the streams of commands, as they stand.

use super::Taking;
use super::reactor::{EndedText, base64_text, exec_of, numbers};
use crate::control::server::Server;
use crate::control::upgraded::{Standing, Upgraded};
use crate::vocabulary::{ExecId, ExitStatus};
use serde::{Deserialize, Serialize};
use std::os::fd::RawFd;

/// A command and its client.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(in crate::control) struct HandedUpgraded {
    exec: (u32, u32),
    terminal: bool,
    streams: [Option<RawFd>; 3],
    #[serde(with = "base64_text")]
    input: Vec<u8>,
    input_ends: bool,
    last_input: Option<u8>,
    ended: Option<EndedText>,
    read_since: usize,
    told: bool,
}

impl HandedUpgraded {
    pub(super) fn descriptors(&self) -> [Option<RawFd>; 3] {
        self.streams
    }
}

impl Upgraded {
    pub(super) fn hand_over(&self) -> HandedUpgraded {
        let (standing, streams) = self.standing();
        HandedUpgraded {
            exec: numbers(standing.exec),
            terminal: standing.terminal,
            streams,
            input: standing.input,
            input_ends: standing.input_ends,
            last_input: standing.last_input,
            ended: standing.ended.map(EndedText::from),
            read_since: standing.read_since,
            told: standing.told,
        }
    }
}

impl Server {
    /// Goes on carrying the streams of a command.
    pub(super) fn upgrade_again(
        &mut self,
        taking: &mut Taking<'_>,
        key: usize,
        handed: HandedUpgraded,
    ) {
        let before = exec_of(handed.exec);
        // One that has ended is nobody any more.
        let exec = taking.execs.get(&before).copied().unwrap_or(ExecId::new(u32::MAX, 0));
        let standing = Standing {
            exec,
            terminal: handed.terminal,
            input: handed.input,
            input_ends: handed.input_ends,
            last_input: handed.last_input,
            ended: handed.ended.map(ExitStatus::from),
            read_since: handed.read_since,
            told: handed.told,
        };
        let descriptors = &mut *taking.descriptors;
        let streams =
            handed.streams.map(|number| number.and_then(|number| descriptors.take(number)));
        self.carry_on(taking.supervisor, key, standing, streams);
    }
}
