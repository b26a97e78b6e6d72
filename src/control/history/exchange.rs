//! The history as one program writes it for the next one, which may be older or newer: names
//! instead of what is short, and each event by itself.

use super::bytes::{Reader, Writer};
use super::packed::{CGROUP, CONTAINMENTS, Record, detail_apart};
use super::paths::Beginning;
use super::ring::{Ring, Stamp};
use crate::vocabulary::limits::EVENTS_KEPT;
use crate::vocabulary::{Containment, EventKind, StateName};

/// Raised where an older reader would go wrong.
const FORMAT: u64 = 1;

/// Adds all events to `bytes`; those up to `gone` are gone.
pub(super) fn write(bytes: &mut Vec<u8>, gone: u64, ring: &Ring, beginning: &Beginning) {
    let mut writer = Writer(bytes);
    [FORMAT, gone, ring.len() as u64].into_iter().for_each(|number| writer.number(number));
    let records = ring.after(0).filter_map(|(stamp, piece)| Some((stamp, Record::of(piece)?)));
    records.for_each(|(stamp, record)| write_event(bytes, stamp, &record, beginning));
}

fn write_event(bytes: &mut Vec<u8>, stamp: Stamp, record: &Record<'_>, beginning: &Beginning) {
    let mut writer = Writer(bytes);
    writer.number(stamp.sequence);
    writer.text(record.kind.as_str());
    writer.text(record.state.as_str());
    writer.text(record.containment.map_or("", Containment::as_str));
    writer.number(u64::from(record.flags));
    let (before, detail) = detail_apart(record.rest, record.flags);
    let mut fields = Vec::with_capacity(128);
    let mut of_fields = Writer(&mut fields);
    of_fields.text(record.name);
    of_fields.number(stamp.time);
    fields.extend_from_slice(before);
    if let Some(path) = record.cgroup {
        Writer(&mut fields).text(&beginning.whole(path, record.name));
    }
    fields.extend_from_slice(detail);
    Writer(bytes).piece(&fields);
}

/// What was written so, with the number up to which events are gone; `None` where not all of it is
/// understood.
pub(super) fn read(bytes: &[u8], beginning: &mut Beginning) -> Option<(u64, Ring)> {
    let mut reader = Reader(bytes);
    let (format, gone, count) = (reader.number(), reader.number(), reader.number());
    if format != FORMAT {
        return None;
    }
    let mut ring = Ring::default();
    for _ in 0..count {
        let (stamp, piece) = read_event(&mut reader, beginning)?;
        if stamp.sequence <= ring.newest().unwrap_or(gone) || ring.len() >= EVENTS_KEPT {
            return None;
        }
        ring.push(stamp, &piece);
    }
    Some((gone, ring))
}

fn read_event(reader: &mut Reader<'_>, beginning: &mut Beginning) -> Option<(Stamp, Vec<u8>)> {
    let sequence = reader.number();
    let (kind, state, containment) = (reader.text(), reader.text(), reader.text());
    let flags = u16::try_from(reader.number()).ok()?;
    // Every one has a name, so that none is empty.
    let fields = reader.piece().filter(|fields| !fields.is_empty())?;
    let mut fields = Reader(fields);
    let (name, time) = (fields.text(), fields.number());
    let (before, after) = detail_apart(fields.0, flags);
    let mut after = Reader(after);
    let mut piece = Vec::with_capacity(128);
    let record = Record {
        name,
        kind: EventKind::ALL.into_iter().find(|known| known.as_str() == kind)?,
        state: StateName::ALL.into_iter().find(|known| known.as_str() == state)?,
        containment: match containment {
            "" => None,
            name => Some(CONTAINMENTS.into_iter().find(|known| known.as_str() == name)?),
        },
        flags,
        cgroup: (flags & CGROUP != 0).then(|| beginning.shorten(after.text(), name)),
        rest: before,
    };
    record.write(&mut piece);
    piece.extend_from_slice(after.0);
    Some((Stamp { sequence, time }, piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// Two events in format 1, as the first program that knew it wrote them.
    const WRITTEN: &[u8] =
        b"\x01\x0b\x02\x0c\x07backoff\x07backoff\tcgroup_v2\xafot\x03web\x81\x89z\xac\x02\xdf\
        \x91\xf4\x01\x04\x01\x04tier\x05front\xf0\xa2\x04\x01\xfc\xed\x8b\xfe\xff\xff\xff\
        \x1f\x01\x01\x00\x03\x04exec\x02\x06ENOENT\x17find command: not there\x81\x89z\x1b/s\
        ys/fs/cgroup/ostler/web.9\x05later\x0f\x07removed\x07backoff\x00\x80\x10\x1a\x03web\
        \xe0\xfbs\xac\x02\x9d\xf7\xe7\x01\x04\x01\x04tier\x05front";

    fn events(ring: &Ring, beginning: &Beginning) -> Vec<Value> {
        let mut events = Vec::new();
        for (stamp, piece) in ring.after(0) {
            let record = Record::of(piece).expect("as it was written");
            record.unpack(stamp, "boot", beginning, &mut |event| {
                events.push(serde_json::to_value(event).expect("plain data"));
                true
            });
        }
        events
    }

    /// What is read of these bytes, and what is written of that.
    fn read_and_write(bytes: &[u8]) -> Option<(Vec<Value>, Vec<u8>)> {
        let mut beginning = Beginning::default();
        let (gone, ring) = read(bytes, &mut beginning)?;
        let mut written = Vec::new();
        write(&mut written, gone, &ring, &beginning);
        Some((events(&ring, &beginning), written))
    }

    #[test]
    fn an_earlier_program_is_understood_and_understands() {
        let (events, written) = read_and_write(WRITTEN).expect("format 1");
        assert_eq!(written.escape_ascii().to_string(), WRITTEN.escape_ascii().to_string());
        let error = json!({
            "stage": "exec", "errno": 2, "errno_name": "ENOENT", "retry": true,
            "message": "find command: not there", "time_us": 1_000_000,
        });
        let exit = json!({
            "pid": 1, "exit_code": -1, "signal": 0, "oom_killed": false, "status_known": false,
            "time_us": 1_999_999,
        });
        let full = json!({
            "name": "web", "id": "boot-300", "state": "backoff", "pid": 70_000, "created_us": 17,
            "started_us": 2_000_000, "next_start_us": u64::MAX >> 11, "restarts": 4, "exit": exit,
            "error": error, "gave_up": true, "containment": "cgroup_v2",
            "cgroup": "/sys/fs/cgroup/ostler/web.9", "output_pending": true, "adopted": false,
            "labels": {"tier": "front"},
        });
        let plain = json!({
            "name": "web", "id": "boot-300", "state": "backoff", "created_us": 17, "restarts": 4,
            "gave_up": false, "output_pending": false, "adopted": true,
            "labels": {"tier": "front"},
        });
        let expected = [
            json!({
                "sequence": 12, "time_us": 2_000_001, "name": "web", "id": "boot-300",
                "kind": "backoff", "status": full, "detail": "later",
            }),
            json!({
                "sequence": 15, "time_us": 1_900_000, "name": "web", "id": "boot-300",
                "kind": "removed", "status": plain,
            }),
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn no_more_events_than_there_are_bytes() {
        let mut bytes = Vec::new();
        let mut writer = Writer(&mut bytes);
        [FORMAT, 11, u64::MAX].into_iter().for_each(|number| writer.number(number));
        assert!(read_and_write(&bytes).is_none());
        let [_, later @ ..] = WRITTEN else { panic!("it is not empty") };
        assert!(read_and_write(&[&[2], later].concat()).is_none(), "another format");
    }

    proptest! {
        /// As many events as were understood are understood once more when they are written down.
        #[test]
        fn it_may_say_anything(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = WRITTEN.to_vec();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if let Some((events, written)) = read_and_write(&bytes) {
                let (again, _) = read_and_write(&written).expect("this program wrote it");
                prop_assert_eq!(again.len(), events.len());
            }
        }
    }
}
