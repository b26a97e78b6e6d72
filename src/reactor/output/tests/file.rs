//! Files as sinks: rotation, numbering, disks that are full.

use super::*;
use crate::sys::faults;
use crate::vocabulary::limits::SINK_RETRY_MAX;
use nix::errno::Errno;
use std::fs;

/// The contents of the files of a sink, oldest first, with their numbers.
fn kept(rig: &Rig) -> Vec<(Option<u64>, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(rig.dir.path())
        .expect("directory")
        .filter_map(|entry| {
            let path = entry.expect("entry").path();
            let name = path.file_name()?.to_str()?.to_owned();
            let rest = name.strip_prefix("out")?;
            let number = rest.strip_prefix('.').map(|digits| digits.parse().expect("number"));
            Some((number, fs::read(&path).expect("read")))
        })
        .collect();
    files.sort();
    files
}

fn names(rig: &Rig) -> Vec<Option<u64>> {
    kept(rig).into_iter().map(|(number, _)| number).collect()
}

fn write_and_finish(rig: &mut Rig, data: &[u8], most: usize) {
    let copy = data.to_vec();
    let writer = rig.run(move |end| write_in_pieces(end, &copy, most));
    rig.join(writer);
    rig.news.clear();
    rig.finish();
    rig.until_news(&SETTLED);
}

fn rotates_exactly(numbering: Numbering, bytes: usize, max_size: u64, most: usize) {
    let mut rig = Rig::with_state(|path| rotated(path, max_size, 10_000, numbering));
    let data = noise(9, bytes);
    write_and_finish(&mut rig, &data, most);
    let mut files = kept(&rig);
    if numbering == Numbering::Shift {
        // PATH is the newest, PATH.1 the one before.
        files.reverse();
    }
    for (index, (_, file)) in files.iter().enumerate() {
        assert!(file.len() as u64 <= max_size);
        if index + 1 < files.len() {
            assert_eq!(file.last(), Some(&b'\n'), "file {index} ends within a line");
        }
    }
    let all: Vec<u8> = files.into_iter().flat_map(|(_, file)| file).collect();
    assert!(all == data, "{} bytes of {}", all.len(), data.len());
    assert_eq!(rig.relay.relayed_bytes(), bytes as u64);
}

#[test]
fn bulk_is_rotated_exactly() {
    rotates_exactly(Numbering::Shift, 64 << 20, 3_000_000, 200_000);
}

#[test]
fn bulk_without_lines_fills_files_exactly() {
    let max_size = 1 << 20;
    let mut rig = Rig::new(|path| rotated(path, max_size, 10, Numbering::Count));
    let writer = rig.run(|mut end| {
        for _ in 0..80 {
            end.write_all(&[b'x'; 64 << 10]).expect("write");
        }
    });
    rig.join(writer);
    rig.finish();
    let sizes: Vec<usize> = kept(&rig).iter().map(|(_, data)| data.len()).collect();
    assert_eq!(sizes, [max_size as usize; 5]);
}

#[test]
fn small_files_are_counted_exactly() {
    rotates_exactly(Numbering::Count, 1 << 20, 10_000, 3000);
    rotates_exactly(Numbering::Shift, 1 << 18, 3000, 100);
}

#[test]
fn shift_keeps_so_many_and_the_current_one_is_the_path() {
    let mut rig = Rig::new(|path| rotated(path, 10, 3, Numbering::Shift));
    write_and_finish(&mut rig, b"aaaaaaa\nbbbbbbb\nccccccc\nddddddd\n", 64);
    let expected = [
        (None, b"ddddddd\n".to_vec()),
        (Some(1), b"ccccccc\n".to_vec()),
        (Some(2), b"bbbbbbb\n".to_vec()),
    ];
    assert_eq!(kept(&rig), expected);
    // Fewer are kept from now on.
    let _ = rig.relay.forget(rig.task);
    rig.spec.stdout = Some(rotated(rig.path().to_str().expect("path"), 10, 1, Numbering::Shift));
    write_and_finish(&mut rig, b"eeeeeee\n", 64);
    assert_eq!(kept(&rig), [(None, b"eeeeeee\n".to_vec())]);
    write_and_finish(&mut rig, b"fffffff\nggggggg\n", 64);
    assert_eq!(kept(&rig), [(None, b"ggggggg\n".to_vec())]);
}

#[test]
fn count_only_rises_and_goes_on_at_the_highest_found() {
    let mut rig = Rig::new(|path| rotated(path, 10, 2, Numbering::Count));
    fs::write(rig.dir.path().join("out.7"), "1234567\n").expect("write");
    fs::write(rig.dir.path().join("out.2"), "old\n").expect("write");
    write_and_finish(&mut rig, b"a\n", 64);
    assert_eq!(kept(&rig), [(Some(7), b"1234567\na\n".to_vec())]);
    write_and_finish(&mut rig, b"b\nccccccc\nddddddd\n", 64);
    assert_eq!(names(&rig), [Some(8), Some(9)]);
    assert_eq!(kept(&rig)[0].1, b"b\nccccccc\n");
}

#[test]
fn the_place_in_a_file_survives_restarts() {
    let mut rig = Rig::new(|path| rotated(path, 20, 5, Numbering::Shift));
    for line in [b"11111111\n", b"22222222\n", b"33333333\n"] {
        write_and_finish(&mut rig, line, 64);
    }
    let expected = [(None, b"33333333\n".to_vec()), (Some(1), b"11111111\n22222222\n".to_vec())];
    assert_eq!(kept(&rig), expected);
}

#[test]
fn without_rotation_the_task_gets_the_file_and_we_hold_nothing() {
    with_own_descriptors(|| {
        let mut rig = Rig::new(|path| Sink::File(FileSink::new(path)));
        rig.spec.stderr = rig.spec.stdout.clone();
        let before = descriptors().len();
        for run in ["one\n", "two\n"] {
            let ends = rig.start();
            let (mut out, mut err) = (file(ends.stdout), file(ends.stderr));
            assert!(!is_nonblocking(&out));
            out.write_all(run.as_bytes()).expect("write");
            err.write_all(b"err\n").expect("write");
            rig.relay.finish_run(rig.now(), rig.task);
        }
        rig.until("settled", |rig| rig.news == [SETTLED, SETTLED]);
        assert_eq!(fs::read(rig.path()).expect("read"), b"one\nerr\ntwo\nerr\n");
        assert_eq!(descriptors().len(), before);
        assert_eq!(Relay::descriptors_needed(&rig.spec, false), 0);
        assert_eq!(rig.relay.relayed_bytes(), 0);
    });
}

#[test]
fn a_write_that_fails_is_tried_again_and_told_once() {
    let mut rig = Rig::new(|path| rotated(path, 1 << 20, 5, Numbering::Shift));
    let mut end = file(rig.start().stdout);
    end.write_all(b"first\n").expect("write");
    // Calls of the pass: read, then the write that fails.
    let failing = faults::fail_nth(2, Errno::ENOSPC);
    rig.until("stalled", |rig| stalls(&rig.news) == 1);
    assert_eq!(failing.hit(), Some("write"));
    drop(failing);
    assert!(matches!(&rig.news[0], Input::OutputStalled { reason, .. }
        if reason.contains("No space left") && reason.contains("out")));
    end.write_all(b"second\n").expect("write");
    drop(end);
    rig.skip(SINK_RETRY_MAX);
    rig.finish();
    assert_eq!(fs::read(rig.path()).expect("read"), b"first\nsecond\n");
    assert_eq!(stalls(&rig.news), 1);
}

/// Runs in a mount namespace of its own with a disk of 64 KiB; false where that is not permitted.
fn on_a_small_disk(test: impl FnOnce(PathBuf) + Send + 'static) -> bool {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let thread = thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            return false;
        }
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).expect("private");
        let dir = tempfile::tempdir().expect("directory");
        mount(Some("disk"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k"))
            .expect("tmpfs");
        test(dir.path().to_owned());
        nix::mount::umount(dir.path()).expect("umount");
        true
    });
    thread.join().expect("test")
}

#[test]
fn a_full_disk_holds_up_its_task_and_nothing_is_dropped() {
    let ran = on_a_small_disk(|disk| {
        let ballast = disk.join("ballast");
        fs::write(&ballast, vec![0; 40 << 10]).expect("ballast");
        let path = disk.join("log").to_str().expect("path").to_owned();
        let mut rig = Rig::new(|_| rotated(&path, 1 << 20, 5, Numbering::Shift));
        let data = noise(4, 60 << 10);
        let copy = data.clone();
        let writer = rig.run(move |end| write_in_pieces(end, &copy, 1000));
        rig.until("stalled", |rig| stalls(&rig.news) == 1);
        for _ in 0..4 {
            rig.skip(SINK_RETRY_MAX);
            rig.turn();
        }
        assert_eq!(stalls(&rig.news), 1, "told once");
        rig.join(writer);
        rig.relay.finish_run(rig.now(), rig.task);
        rig.until_news(&PENDING);
        fs::remove_file(ballast).expect("remove");
        rig.skip(SINK_RETRY_MAX);
        rig.until_news(&Input::OutputDelivered);
        assert!(fs::read(&path).expect("read") == data);
    });
    assert!(ran || !nix::unistd::geteuid().is_root(), "root can mount");
}

#[test]
fn where_rotation_fails_the_file_grows_and_it_is_tried_again() {
    let mut rig = Rig::new(|path| rotated(path, 10, 2, Numbering::Shift));
    let obstacle = rig.dir.path().join("out.1");
    fs::create_dir(&obstacle).expect("directory");
    let mut end = file(rig.start().stdout);
    for line in [b"11111111\n", b"22222222\n", b"33333333\n"] {
        let before = rig.relay.relayed_bytes();
        end.write_all(line).expect("write");
        rig.until("written", |rig| rig.relay.relayed_bytes() == before + 9);
    }
    assert_eq!(stalls(&rig.news), 1);
    assert!(
        matches!(&rig.news[0], Input::OutputStalled { reason, .. }
        if reason.contains("cannot rotate")),
        "{:?}",
        rig.news
    );
    fs::remove_dir(&obstacle).expect("remove");
    rig.skip(SINK_RETRY_MAX);
    end.write_all(b"44444444\n").expect("write");
    drop(end);
    rig.finish();
    let expected =
        [(None, b"44444444\n".to_vec()), (Some(1), b"11111111\n22222222\n33333333\n".to_vec())];
    assert_eq!(kept(&rig), expected);
}

#[test]
fn a_file_is_open_only_while_it_is_written_where_descriptors_are_scarce() {
    for numbering in [Numbering::Shift, Numbering::Count] {
        with_own_descriptors(move || {
            let mut rig = Rig::with_options(
                |path| rotated(path, 12, 3, numbering),
                |_| RelayOptions { scarce_from: Some(0), ..RelayOptions::default() },
            );
            let mut out = file(rig.start().stdout);
            let held = descriptors().len();
            assert_eq!(rig.relay.descriptors(), 1, "the pipe");
            assert_eq!(Relay::descriptors_needed(&rig.spec, true), 1);
            let mut written = 0;
            for line in ["one\n", "two\n", "three\n", "four\n"] {
                out.write_all(line.as_bytes()).expect("write");
                written += line.len() as u64;
                rig.until(line, |rig| rig.relay.relayed_bytes() == written);
                assert_eq!(descriptors().len(), held, "after {line:?}");
            }
            let contents: Vec<Vec<u8>> = kept(&rig).into_iter().map(|(_, file)| file).collect();
            let (old, new) = (b"one\ntwo\n".to_vec(), b"three\nfour\n".to_vec());
            let expected = match numbering {
                Numbering::Shift => [new, old],
                Numbering::Count => [old, new],
            };
            assert_eq!(contents, expected);
            // One that was removed is made anew.
            let current = match numbering {
                Numbering::Shift => rig.path(),
                Numbering::Count => PathBuf::from(format!("{}.1", rig.path().display())),
            };
            fs::remove_file(&current).expect("remove");
            out.write_all(b"five\n").expect("write");
            rig.until("five", |rig| rig.relay.relayed_bytes() == written + 5);
            assert_eq!(fs::read(&current).expect("read"), b"five\n");
        });
    }
}
