//! Rotation: whichever call fails, every byte comes once and in order, and nothing is left open.

use super::*;
use crate::sys::faults;
use crate::vocabulary::limits::SINK_RETRY_MAX;
use nix::errno::Errno;
use std::fs;

/// Each is a turn of its own; two of them fill a file.
const LINES: [&str; 8] = ["one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "7\n", "8\n"];
const FILE_BYTES_MAX: u64 = 10;
/// The kernel has no reason to refuse these to who holds the descriptor.
const SPARED: &[&str] = &["read", "ioctl", "poll"];

/// What is in all files of the sink, oldest first, and how many there are.
fn contents(rig: &Rig, numbering: Numbering) -> (String, usize) {
    let mut files: Vec<(u64, PathBuf)> = fs::read_dir(rig.dir.path())
        .expect("directory")
        .filter_map(|entry| {
            let path = entry.expect("entry").path();
            let rest = path.file_name()?.to_str()?.strip_prefix("out")?;
            let number = rest.strip_prefix('.').map_or(0, |number| number.parse().expect("number"));
            Some((number, path.clone()))
        })
        .collect();
    files.sort();
    if numbering == Numbering::Shift {
        // PATH is the newest, PATH.1 the one before.
        files.reverse();
    }
    let text = files.iter().map(|(_, path)| fs::read_to_string(path).expect("read")).collect();
    (text, files.len())
}

fn each_failing_call(numbering: Numbering, keeps_state: bool, scarce_from: Option<i32>) {
    with_own_descriptors(move || {
        let all = LINES.concat();
        let mut complaints = 0;
        for nth in 1.. {
            let before = descriptors().len();
            let mut rig = Rig::with_options(
                |path| rotated(path, FILE_BYTES_MAX, 100, numbering),
                |state| RelayOptions {
                    state_dir: keeps_state.then_some(state),
                    scarce_from,
                    ..RelayOptions::default()
                },
            );
            let mut out = file(rig.start().stdout);
            let injected = faults::fail_nth_but(nth, Errno::ENOMEM, SPARED);
            let mut written = 0;
            for line in LINES {
                out.write_all(line.as_bytes()).expect("write");
                written += line.len() as u64;
                rig.until(line, |rig| {
                    rig.skip(SINK_RETRY_MAX);
                    rig.relay.relayed_bytes() == written
                });
            }
            drop(out);
            rig.finish();
            let hit = injected.hit();
            drop(injected);
            let told = format!("{numbering:?}, call {nth} ({hit:?}) failed: {:?}", rig.news);
            let (text, files) = contents(&rig, numbering);
            assert_eq!(text, all, "{told}");
            assert!((3..=6).contains(&files), "{told}: {files} files");
            complaints += stalls(&rig.news);
            // That it cannot be opened, and that it cannot be written.
            assert!(stalls(&rig.news) <= 1 + usize::from(scarce_from.is_some()), "{told}");
            let _ = rig.relay.forget(rig.task);
            assert_eq!(rig.relay.descriptors(), 0, "{told}");
            drop(rig);
            assert_eq!(descriptors().len(), before, "{told}");
            if hit.is_none() {
                assert!(nth > 20, "{nth} calls");
                break;
            }
        }
        assert!(complaints > 3, "{complaints} were told of");
    });
}

#[test]
fn each_failing_call_of_counted_files() {
    each_failing_call(Numbering::Count, false, None);
    each_failing_call(Numbering::Count, true, None);
}

#[test]
fn each_failing_call_of_shifted_files() {
    each_failing_call(Numbering::Shift, false, None);
    each_failing_call(Numbering::Shift, true, None);
}

#[test]
fn each_failing_call_of_files_that_are_opened_for_each_write() {
    each_failing_call(Numbering::Shift, false, Some(0));
    each_failing_call(Numbering::Count, true, Some(0));
}
