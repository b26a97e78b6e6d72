//! One event in few bytes: about 20 instead of the 400 of its JSON, and without holding on to the
//! task's spec.

use super::bytes::{Reader, Writer};
use super::paths::{Beginning, GroupPath};
use super::ring::Stamp;
use crate::control::wire::{EventShape, ExitShape, StartErrorShape, StatusShape};
use crate::vocabulary::{Containment, Event, EventKind, StateName};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// An event, as it stands in its bytes.
pub(super) struct Record<'a> {
    /// The task's.
    pub(super) name: &'a str,
    pub(super) kind: EventKind,
    pub(super) state: StateName,
    pub(super) containment: Option<Containment>,
    /// What of the following there is, and what is so.
    pub(super) flags: u16,
    pub(super) cgroup: Option<GroupPath<'a>>,
    /// The rest in [`Record::unpack`]'s order, each time as the difference to the event's.
    pub(super) rest: &'a [u8],
}

const PID: u16 = 1;
const STARTED: u16 = 1 << 1;
const NEXT_START: u16 = 1 << 2;
const EXIT: u16 = 1 << 3;
const STATUS_KNOWN: u16 = 1 << 4;
const OOM_COUNTED: u16 = 1 << 5;
const OOM_KILLED: u16 = 1 << 6;
const ERROR: u16 = 1 << 7;
const RETRY: u16 = 1 << 8;
const GAVE_UP: u16 = 1 << 9;
const OUTPUT_PENDING: u16 = 1 << 10;
const ADOPTED: u16 = 1 << 11;
pub(super) const CGROUP: u16 = 1 << 12;
const DETAIL: u16 = 1 << 13;

/// In the order of their declaration.
pub(super) const CONTAINMENTS: [Containment; 3] =
    [Containment::CgroupV2, Containment::CgroupV1, Containment::Session];

/// Before a path says which of the two it is.
const WHOLE: u64 = 0;
const RUN: u64 = 1;

/// Packs an event; `cgroup` is the path of the run's group.
pub(super) fn pack(event: &Event, cgroup: Option<&str>, beginning: &mut Beginning) -> Vec<u8> {
    let (status, identity) = (&event.status, &event.status.identity);
    let mut bytes = Vec::with_capacity(128);
    let record = Record {
        name: &identity.name,
        kind: event.kind,
        state: status.state,
        containment: status.containment,
        flags: flags_of(event, cgroup),
        cgroup: cgroup.map(|path| beginning.shorten(path, &identity.name)),
        rest: &[],
    };
    record.write(&mut bytes);
    let mut writer = Writer(&mut bytes);
    writer.number(identity.number);
    writer.signed(identity.created.as_micros().wrapping_sub(event.time.as_micros()) as i64);
    writer.number(u64::from(status.restarts));
    let labels = identity.labels();
    writer.number(labels.len() as u64);
    labels.iter().for_each(|(key, value)| {
        writer.text(key);
        writer.text(value);
    });
    writer.optional_parts(event);
    bytes
}

/// The name of the task whose event is packed in `bytes`.
pub(super) fn name(bytes: &[u8]) -> &str {
    Reader(bytes).text()
}

impl<'a> Record<'a> {
    /// Adds it to `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer(bytes);
        writer.text(self.name);
        writer.number(self.kind as u64);
        let containment = self.containment.map_or(0, |containment| containment as u64 + 1);
        writer.number(containment * StateName::ALL.len() as u64 + self.state as u64);
        writer.number(u64::from(self.flags));
        match self.cgroup {
            None => {}
            Some(GroupPath::Whole(path)) => {
                writer.number(WHOLE);
                writer.text(path);
            }
            Some(GroupPath::Run(run)) => {
                writer.number(RUN);
                writer.text(run);
            }
        }
        bytes.extend_from_slice(self.rest);
    }

    /// What [`Record::write`] wrote; of anything else there is none.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Record<'a>> {
        let mut reader = Reader(bytes);
        let (name, kind, states) = (reader.text(), reader.number(), reader.number());
        let count = StateName::ALL.len() as u64;
        let (containment, state) = (states / count, states % count);
        let flags = u16::try_from(reader.number()).ok()?;
        let cgroup = (flags & CGROUP != 0).then(|| match reader.number() {
            RUN => GroupPath::Run(reader.text()),
            _ => GroupPath::Whole(reader.text()),
        });
        Some(Record {
            name,
            kind: nth(&EventKind::ALL, kind)?,
            state: nth(&StateName::ALL, state)?,
            containment: match containment {
                0 => None,
                known => Some(nth(&CONTAINMENTS, known - 1)?),
            },
            flags,
            cgroup,
            rest: reader.0,
        })
    }

    /// Hands the event to `take`.
    pub(super) fn unpack(
        &self,
        stamp: Stamp,
        instance: &str,
        beginning: &Beginning,
        take: &mut impl FnMut(&EventShape<'_>) -> bool,
    ) -> bool {
        let Stamp { sequence, time: time_us } = stamp;
        let flag = |bit: u16| self.flags & bit != 0;
        let mut reader = Reader(self.rest);
        let id = format!("{instance}-{}", reader.number());
        let created_us = time_us.wrapping_add_signed(reader.signed());
        let restarts = reader.number() as u32;
        let labels = reader.labels();
        let relative = |reader: &mut Reader<'_>| time_us.wrapping_add_signed(reader.signed());
        let status = StatusShape {
            name: Cow::Borrowed(self.name),
            id,
            state: self.state.as_str(),
            command: None,
            pid: flag(PID).then(|| reader.number() as i32),
            created_us,
            started_us: flag(STARTED).then(|| relative(&mut reader)),
            next_start_us: flag(NEXT_START).then(|| relative(&mut reader)),
            restarts,
            exit: flag(EXIT).then(|| ExitShape {
                pid: reader.number() as i32,
                exit_code: reader.signed() as i32,
                signal: reader.number() as i32,
                oom_killed: flag(OOM_COUNTED).then(|| flag(OOM_KILLED)),
                status_known: flag(STATUS_KNOWN),
                time_us: relative(&mut reader),
            }),
            error: flag(ERROR).then(|| StartErrorShape {
                stage: Cow::Borrowed(reader.text()),
                errno: reader.number() as i32,
                errno_name: Cow::Borrowed(reader.text()),
                message: Cow::Borrowed(reader.text()),
                retry: flag(RETRY),
                time_us: relative(&mut reader),
            }),
            gave_up: flag(GAVE_UP),
            containment: self.containment.map(Containment::as_str),
            cgroup: self.cgroup.map(|path| beginning.whole(path, self.name)),
            output_pending: flag(OUTPUT_PENDING),
            adopted: flag(ADOPTED),
            labels: Cow::Owned(labels),
            not_stored: Vec::new(),
            task: None,
        };
        take(&EventShape {
            sequence,
            time_us,
            name: self.name,
            id: &status.id,
            kind: self.kind.as_str(),
            status: &status,
            detail: flag(DETAIL).then(|| Cow::Borrowed(reader.text())),
        })
    }
}

fn nth<T: Copy>(all: &[T], number: u64) -> Option<T> {
    all.get(usize::try_from(number).ok()?).copied()
}

/// The rest up to the detail, and the detail: in what another program gets, the path of the group
/// is between them.
#[cfg(feature = "cli")]
pub(super) fn detail_apart(rest: &[u8], flags: u16) -> (&[u8], &[u8]) {
    let mut reader = Reader(rest);
    reader.pass_numbers(3);
    reader.labels();
    let plain = [PID, STARTED, NEXT_START].into_iter().filter(|bit| flags & bit != 0).count();
    reader.pass_numbers(plain);
    if flags & EXIT != 0 {
        reader.pass_numbers(4);
    }
    if flags & ERROR != 0 {
        reader.text();
        reader.pass_numbers(1);
        reader.text();
        reader.text();
        reader.pass_numbers(1);
    }
    rest.split_at(rest.len() - reader.0.len())
}

fn flags_of(event: &Event, cgroup: Option<&str>) -> u16 {
    let status = &event.status;
    let exit = status.exit.as_ref().map(ExitShape::of);
    let of = |set: bool, bit: u16| if set { bit } else { 0 };
    of(status.pid.is_some(), PID)
        | of(status.started.is_some(), STARTED)
        | of(status.next_start.is_some(), NEXT_START)
        | of(exit.is_some(), EXIT)
        | of(exit.is_some_and(|exit| exit.status_known), STATUS_KNOWN)
        | of(exit.is_some_and(|exit| exit.oom_killed.is_some()), OOM_COUNTED)
        | of(exit.is_some_and(|exit| exit.oom_killed == Some(true)), OOM_KILLED)
        | of(status.error.is_some(), ERROR)
        | of(status.error.as_ref().is_some_and(|error| error.retry), RETRY)
        | of(status.gave_up, GAVE_UP)
        | of(status.output_pending, OUTPUT_PENDING)
        | of(status.adopted, ADOPTED)
        | of(cgroup.is_some(), CGROUP)
        | of(event.detail.is_some(), DETAIL)
}

impl Writer<'_> {
    /// Writes what not every event has.
    fn optional_parts(&mut self, event: &Event) {
        let status = &event.status;
        let time = event.time.as_micros();
        let relative = |at: u64| at.wrapping_sub(time) as i64;
        if let Some(pid) = status.pid {
            self.number(pid.number() as u64);
        }
        if let Some(started) = status.started {
            self.signed(relative(started.as_micros()));
        }
        if let Some(next) = status.next_start {
            self.signed(relative(next.as_micros()));
        }
        if let Some(exit) = status.exit.as_ref().map(ExitShape::of) {
            self.number(exit.pid as u64);
            self.signed(i64::from(exit.exit_code));
            self.number(exit.signal as u64);
            self.signed(relative(exit.time_us));
        }
        if let Some(error) = &status.error {
            self.text(error.stage.as_str());
            self.number(error.errno as u64);
            self.text(&error.errno_name);
            self.text(&error.message);
            self.signed(relative(error.time.as_micros()));
        }
        if let Some(detail) = &event.detail {
            self.text(detail);
        }
    }
}

impl Reader<'_> {
    /// As many as were written: what comes from another program may claim any number of them.
    fn labels(&mut self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for _ in 0..self.number() {
            if self.is_at_end() {
                break;
            }
            labels.insert(self.text().to_owned(), self.text().to_owned());
        }
        labels
    }

    #[cfg(feature = "cli")]
    fn pass_numbers(&mut self, count: usize) {
        for _ in 0..count {
            self.number();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{
        Exit, ExitStatus, Identity, Pid, Stage, StartError, Status, TaskSpec, Wall,
    };
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn json_of(event: &Event, cgroup: Option<&str>) -> Value {
        let (mut beginning, mut unpacked) = (Beginning::default(), Value::Null);
        let bytes = pack(event, cgroup, &mut beginning);
        let stamp = Stamp { sequence: event.sequence, time: event.time.as_micros() };
        let record = Record::of(&bytes).expect("as it was written");
        record.unpack(stamp, "boot", &beginning, &mut |shape: &EventShape<'_>| {
            unpacked = serde_json::to_value(shape).expect("plain data");
            true
        });
        unpacked
    }

    /// An event whose status has every field.
    fn full_event() -> Event {
        let mut spec = TaskSpec::new("sleep");
        spec.labels = [("tier".to_owned(), "front".to_owned())].into();
        let error = StartError {
            stage: Stage::Exec,
            errno: 2,
            errno_name: "ENOENT".into(),
            message: "find command: not there".into(),
            retry: true,
            time: Wall::from_micros(1_000_000),
        };
        let status = Status {
            identity: Arc::new(Identity::new("web".into(), 300, Wall::from_micros(17), spec)),
            state: StateName::Backoff,
            pid: Pid::new(70_000),
            started: Some(Wall::from_micros(2_000_000)),
            next_start: Some(Wall::from_micros(u64::MAX >> 11)),
            restarts: 4,
            run: 9,
            exit: Some(Exit {
                pid: Pid::new(1).expect("positive"),
                status: ExitStatus::Unknown,
                oom_killed: Some(false),
                time: Wall::from_micros(1_999_999),
            }),
            error: Some(Arc::new(error)),
            gave_up: true,
            containment: Some(Containment::CgroupV2),
            output_pending: true,
            adopted: false,
        };
        Event {
            sequence: 12,
            time: Wall::from_micros(2_000_001),
            kind: EventKind::Backoff,
            status,
            detail: Some("later".into()),
        }
    }

    #[test]
    fn an_event_comes_out_as_it_went_in() {
        let mut event = full_event();
        let group = "/sys/fs/cgroup/ostler/web.9";
        let shape = StatusShape::of(&event.status, "boot-300".into(), Some(group.into()));
        let shape = StatusShape { command: None, ..shape };
        let expected = json!({
            "sequence": 12, "time_us": 2_000_001, "name": "web", "id": "boot-300",
            "kind": "backoff", "detail": "later", "status": shape,
        });
        assert_eq!(json_of(&event, Some(group)), expected);

        event.detail = None;
        event.status = Status {
            pid: None,
            started: None,
            next_start: None,
            exit: None,
            error: None,
            gave_up: false,
            containment: None,
            output_pending: false,
            adopted: true,
            ..event.status
        };
        let shape = StatusShape::of(&event.status, "boot-300".into(), None);
        let shape = StatusShape { command: None, ..shape };
        let plain = json_of(&event, None);
        assert_eq!(plain["status"], serde_json::to_value(shape).expect("plain data"));
        assert_eq!(plain.get("detail"), None);
    }

    #[test]
    fn every_kind_state_and_containment_comes_out_as_it_went_in() {
        let mut event = full_event();
        for kind in EventKind::ALL {
            event.kind = kind;
            assert_eq!(json_of(&event, None)["kind"], kind.as_str());
        }
        for state in StateName::ALL {
            for containment in CONTAINMENTS.map(Some).into_iter().chain([None]) {
                event.status.state = state;
                event.status.containment = containment;
                let status = json_of(&event, None)["status"].take();
                assert_eq!(status["state"], state.as_str());
                let named = status.get("containment").and_then(Value::as_str);
                assert_eq!(named, containment.map(Containment::as_str));
            }
        }
    }

    #[test]
    fn no_more_labels_than_there_can_be() {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        writer.number(u64::MAX);
        writer.text("tier");
        writer.text("front");
        let labels = Reader(&bytes).labels();
        assert_eq!(labels, [("tier".to_owned(), "front".to_owned())].into());
    }
}
