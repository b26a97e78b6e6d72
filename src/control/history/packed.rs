//! One event in few bytes: about 90 instead of the 400 of its JSON, and without holding on to the
//! task's spec.

use crate::control::wire::{EventShape, ExitShape, StartErrorShape, StatusShape};
#[cfg(feature = "cli")]
use crate::vocabulary::limits::EVENTS_KEPT;
use crate::vocabulary::{Containment, Event, EventKind, StateName, Status};
use std::borrow::Cow;
use std::collections::BTreeMap;
#[cfg(feature = "cli")]
use std::collections::VecDeque;

/// An event. What most events have stands in `bytes`, each number as a varint.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) sequence: u64,
    kind: EventKind,
    state: StateName,
    containment: Option<Containment>,
    flags: u16,
    bytes: Box<[u8]>,
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
const CGROUP: u16 = 1 << 12;
const DETAIL: u16 = 1 << 13;

impl Record {
    pub(super) fn pack(event: &Event, cgroup: Option<&str>) -> Record {
        let (status, identity) = (&event.status, &event.status.identity);
        let time = event.time.as_micros();
        let mut writer = Writer(Vec::with_capacity(96));
        writer.text(&identity.name);
        writer.number(time);
        writer.number(identity.number);
        writer.signed(identity.created.as_micros().wrapping_sub(time) as i64);
        writer.number(u64::from(status.restarts));
        let labels = identity.labels();
        writer.number(labels.len() as u64);
        labels.iter().for_each(|(key, value)| {
            writer.text(key);
            writer.text(value);
        });
        let flags = writer.optional_parts(event, cgroup);
        Record {
            sequence: event.sequence,
            kind: event.kind,
            state: status.state,
            containment: status.containment,
            flags,
            bytes: writer.0.into_boxed_slice(),
        }
    }

    /// The task's name.
    pub(super) fn name(&self) -> &str {
        Reader(&self.bytes).text()
    }

    /// Hands the event to `take`.
    pub(super) fn unpack(
        &self,
        instance: &str,
        take: &mut impl FnMut(&EventShape<'_>) -> bool,
    ) -> bool {
        let flag = |bit: u16| self.flags & bit != 0;
        let mut reader = Reader(&self.bytes);
        let name = reader.text();
        let time_us = reader.number();
        let id = format!("{instance}-{}", reader.number());
        let created_us = time_us.wrapping_add_signed(reader.signed());
        let restarts = reader.number() as u32;
        let labels = reader.labels();
        let relative = |reader: &mut Reader<'_>| time_us.wrapping_add_signed(reader.signed());
        let status = StatusShape {
            name: Cow::Borrowed(name),
            id: id.clone(),
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
            cgroup: flag(CGROUP).then(|| reader.text().to_owned()),
            output_pending: flag(OUTPUT_PENDING),
            adopted: flag(ADOPTED),
            labels: Cow::Owned(labels),
            not_stored: Vec::new(),
            task: None,
        };
        take(&EventShape {
            sequence: self.sequence,
            time_us,
            name,
            id: &id,
            kind: self.kind.as_str(),
            status: &status,
            detail: flag(DETAIL).then(|| Cow::Borrowed(reader.text())),
        })
    }
}

/// Raised where an older reader would go wrong.
#[cfg(feature = "cli")]
const FORMAT: u64 = 1;

/// Begins a list of so many records.
#[cfg(feature = "cli")]
pub(super) fn write_head(bytes: &mut Vec<u8>, gone: u64, count: usize) {
    let mut writer = Writer(std::mem::take(bytes));
    [FORMAT, gone, count as u64].into_iter().for_each(|number| writer.number(number));
    *bytes = writer.0;
}

/// What stands in such a list; `None` where not all of it is understood.
#[cfg(feature = "cli")]
pub(super) fn read(bytes: &[u8]) -> Option<(u64, VecDeque<Record>)> {
    let mut reader = Reader(bytes);
    let (format, gone, count) = (reader.number(), reader.number(), reader.number());
    if format != FORMAT {
        return None;
    }
    let mut records = VecDeque::new();
    for _ in 0..count {
        let record = Record::read(&mut reader)?;
        let last = records.back().map_or(gone, |last: &Record| last.sequence);
        if record.sequence <= last || records.len() >= EVENTS_KEPT {
            return None;
        }
        records.push_back(record);
    }
    Some((gone, records))
}

#[cfg(feature = "cli")]
impl Record {
    /// Adds it to a list.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let mut writer = Writer(std::mem::take(bytes));
        writer.number(self.sequence);
        writer.text(self.kind.as_str());
        writer.text(self.state.as_str());
        writer.text(self.containment.map_or("", Containment::as_str));
        writer.number(u64::from(self.flags));
        writer.number(self.bytes.len() as u64);
        writer.0.extend_from_slice(&self.bytes);
        *bytes = writer.0;
    }

    fn read(reader: &mut Reader<'_>) -> Option<Record> {
        const CONTAINMENTS: [Containment; 3] =
            [Containment::CgroupV2, Containment::CgroupV1, Containment::Session];
        let sequence = reader.number();
        let (kind, state, containment) = (reader.text(), reader.text(), reader.text());
        let flags = u16::try_from(reader.number()).ok()?;
        // Every one has a name, so that none is empty.
        let length = usize::try_from(reader.number()).ok().filter(|&length| length > 0)?;
        let (bytes, rest) = reader.0.split_at_checked(length)?;
        reader.0 = rest;
        Some(Record {
            sequence,
            kind: EventKind::ALL.into_iter().find(|known| known.as_str() == kind)?,
            state: StateName::ALL.into_iter().find(|known| known.as_str() == state)?,
            containment: match containment {
                "" => None,
                name => Some(CONTAINMENTS.into_iter().find(|known| known.as_str() == name)?),
            },
            flags,
            bytes: bytes.into(),
        })
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn signed(&mut self, number: i64) {
        self.number((number << 1 ^ number >> 63) as u64);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes what not every event has; the result says what there was.
    fn optional_parts(&mut self, event: &Event, cgroup: Option<&str>) -> u16 {
        let status = &event.status;
        let time = event.time.as_micros();
        let relative = |at: u64| at.wrapping_sub(time) as i64;
        let mut flags = plain_flags(status);
        if let Some(pid) = status.pid {
            flags |= PID;
            self.number(pid.number() as u64);
        }
        if let Some(started) = status.started {
            flags |= STARTED;
            self.signed(relative(started.as_micros()));
        }
        if let Some(next) = status.next_start {
            flags |= NEXT_START;
            self.signed(relative(next.as_micros()));
        }
        if let Some(exit) = status.exit.as_ref().map(ExitShape::of) {
            flags |= EXIT;
            self.number(exit.pid as u64);
            self.signed(i64::from(exit.exit_code));
            self.number(exit.signal as u64);
            self.signed(relative(exit.time_us));
        }
        if let Some(error) = &status.error {
            flags |= ERROR;
            self.text(error.stage.as_str());
            self.number(error.errno as u64);
            self.text(&error.errno_name);
            self.text(&error.message);
            self.signed(relative(error.time.as_micros()));
        }
        if let Some(cgroup) = cgroup {
            flags |= CGROUP;
            self.text(cgroup);
        }
        if let Some(detail) = &event.detail {
            flags |= DETAIL;
            self.text(detail);
        }
        flags
    }
}

fn plain_flags(status: &Status) -> u16 {
    let exit = status.exit.as_ref().map(ExitShape::of);
    let of = |set: bool, bit: u16| if set { bit } else { 0 };
    of(exit.is_some_and(|exit| exit.status_known), STATUS_KNOWN)
        | of(exit.is_some_and(|exit| exit.oom_killed.is_some()), OOM_COUNTED)
        | of(exit.is_some_and(|exit| exit.oom_killed == Some(true)), OOM_KILLED)
        | of(status.error.as_ref().is_some_and(|error| error.retry), RETRY)
        | of(status.gave_up, GAVE_UP)
        | of(status.output_pending, OUTPUT_PENDING)
        | of(status.adopted, ADOPTED)
}

/// What a [`Writer`] wrote. Past the end, which is never reached, there is 0 and "".
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0_u64, 0);
        while let Some((&byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        number
    }

    fn signed(&mut self) -> i64 {
        let number = self.number();
        (number >> 1) as i64 ^ -((number & 1) as i64)
    }

    fn text(&mut self) -> &'a str {
        let length = self.number() as usize;
        let (text, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// As many as were written: what comes from another program may claim any number of them.
    fn labels(&mut self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for _ in 0..self.number() {
            if self.0.is_empty() {
                break;
            }
            labels.insert(self.text().to_owned(), self.text().to_owned());
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{Exit, ExitStatus, Identity, Pid, Stage, StartError, TaskSpec, Wall};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn json_of(event: &Event, cgroup: Option<&str>) -> Value {
        let mut unpacked = Value::Null;
        Record::pack(event, cgroup).unpack("boot", &mut |shape: &EventShape<'_>| {
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
    fn no_more_labels_than_there_can_be() {
        let mut writer = Writer(Vec::new());
        writer.number(u64::MAX);
        writer.text("tier");
        writer.text("front");
        let labels = Reader(&writer.0).labels();
        assert_eq!(labels, [("tier".to_owned(), "front".to_owned())].into());
    }

    #[test]
    fn numbers_of_every_size() {
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        for number in numbers {
            let mut writer = Writer(Vec::new());
            writer.number(number);
            writer.signed(number as i64);
            writer.signed((number as i64).wrapping_neg());
            let mut reader = Reader(&writer.0);
            assert_eq!(reader.number(), number);
            assert_eq!(reader.signed(), number as i64);
            assert_eq!(reader.signed(), (number as i64).wrapping_neg());
            assert_eq!(reader.number(), 0, "past the end");
            assert_eq!(reader.text(), "");
        }
    }
}
