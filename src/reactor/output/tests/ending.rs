//! The end of runs and tasks: settled, pending, delivered, lost.

use super::*;
use crate::vocabulary::StreamKind;
use crate::vocabulary::limits::{DRAIN_PATIENCE, LINGER, LINGER_LOOK};

fn lost(rig: &Rig) -> Vec<Option<u64>> {
    rig.news
        .iter()
        .filter_map(|input| match input {
            Input::OutputLost { bytes, .. } => Some(*bytes),
            _ => None,
        })
        .collect()
}

/// One large piece first: of short ones the FIFO may take as few as 16, and then the pipe of the
/// run not all the others.
fn write_more_than_a_fifo_takes(mut end: File, data: &[u8]) {
    let (first, rest) = data.split_at(60_000);
    end.write_all(first).expect("write");
    write_in_pieces(end, rest, 5000);
}

#[test]
fn unread_output_waits_for_a_reader_after_the_exit() {
    let mut rig = Rig::with_state(fifo);
    let writer = rig.run(|end| write_in_pieces(end, &noise(5, 5000), 100));
    rig.join(writer);
    rig.relay.finish_run(rig.now(), rig.task);
    let asked = rig.now();
    rig.until_news(&PENDING);
    assert!(rig.now().since(asked) < DRAIN_PATIENCE, "a missing reader delays no exit");
    rig.relay.close(rig.now(), rig.task);
    rig.skip(LINGER - Duration::from_secs(10));
    rig.turn();
    let reader = read_all(rig.path());
    assert!(rig.join(reader) == noise(5, 5000), "and then end of file");
    rig.until_news(&Input::OutputDelivered);
    assert_eq!(lost(&rig), []);
    assert_eq!(rig.relay.next_deadline(), None);
}

#[test]
fn what_nobody_reads_is_lost_in_the_end_and_counted() {
    let mut rig = Rig::with_state(fifo);
    // Some of it waits in the pipe of the run.
    let writer = rig.run(|end| write_more_than_a_fifo_takes(end, &noise(6, 100_000)));
    rig.join(writer);
    rig.relay.finish_run(rig.now(), rig.task);
    rig.skip(DRAIN_PATIENCE);
    rig.until_news(&PENDING);
    rig.relay.close(rig.now(), rig.task);
    rig.skip(LINGER - Duration::from_secs(1));
    for _ in 0..5 {
        rig.turn();
    }
    assert_eq!(lost(&rig), []);
    rig.skip(LINGER_LOOK + Duration::from_secs(1));
    rig.until_news(&Input::OutputDelivered);
    assert_eq!(lost(&rig), [Some(100_000)]);
    assert!(
        rig.news.contains(&Input::OutputLost { stream: StreamKind::Stdout, bytes: Some(100_000) })
    );
    let state = std::fs::read_dir(rig.dir.path().join("state")).expect("directory");
    assert_eq!(state.count(), 0);
    assert_eq!(rig.relay.next_deadline(), None);
}

#[test]
fn what_was_read_and_what_was_lost_is_all_there_was() {
    let mut rig = Rig::new(fifo);
    let writer = rig.run(|end| write_in_pieces(end, &noise(7, 90_000), 5000));
    rig.join(writer);
    rig.relay.finish_run(rig.now(), rig.task);
    rig.skip(DRAIN_PATIENCE);
    rig.until_news(&PENDING);
    rig.relay.close(rig.now(), rig.task);
    let mut reader = open_reader(&rig.path());
    let mut read = vec![0; 12_345];
    reader.read_exact(&mut read).expect("read");
    assert!(read[..] == noise(7, 90_000)[..12_345]);
    // It goes on holding the FIFO: nothing is given up.
    rig.skip(LINGER * 2);
    for _ in 0..5 {
        rig.turn();
    }
    assert_eq!(lost(&rig), []);
    drop(reader);
    for _ in 0..200 {
        rig.skip(LINGER_LOOK);
        rig.turn();
    }
    assert_eq!(lost(&rig), [Some(90_000 - 12_345)]);
}

#[test]
fn patience_ends_where_a_sink_does_not_move() {
    let mut rig = Rig::new(fifo);
    let writer = rig.run(|end| write_in_pieces(end, &noise(8, 90_000), 5000));
    rig.join(writer);
    rig.until("full", |rig| rig.is_full());
    rig.relay.finish_run(rig.now(), rig.task);
    for _ in 0..3 {
        rig.turn();
    }
    assert_eq!(rig.news, [], "not yet");
    rig.skip(DRAIN_PATIENCE);
    rig.until_news(&PENDING);
    let reader = read_all(rig.path());
    rig.until_news(&Input::OutputDelivered);
    rig.relay.close(rig.now(), rig.task);
    assert!(rig.join(reader) == noise(8, 90_000));
}

#[test]
fn forgetting_drops_all_at_once() {
    with_own_descriptors(|| {
        let mut rig = Rig::with_state(fifo);
        let before = descriptors().len();
        let writer = rig.run(|end| write_more_than_a_fifo_takes(end, &noise(8, 90_000)));
        rig.join(writer);
        let lost = Input::OutputLost { stream: StreamKind::Stdout, bytes: Some(90_000) };
        assert_eq!(rig.relay.forget(rig.task), [lost]);
        assert_eq!(descriptors().len(), before);
        let state = std::fs::read_dir(rig.dir.path().join("state")).expect("directory");
        assert_eq!(state.count(), 0);
        rig.skip(LINGER);
        rig.turn();
        assert_eq!(rig.relay.next_deadline(), None);
        assert!(!rig.news.iter().any(|input| matches!(input, Input::OutputSettled { .. })));
    });
}

#[test]
fn a_task_started_again_after_its_exit_goes_on_with_its_sinks() {
    let mut rig = Rig::new(fifo);
    let mut end = file(rig.start().stdout);
    end.write_all(b"one\n").expect("write");
    drop(end);
    rig.finish();
    rig.until_news(&PENDING);
    let mut end = file(rig.start().stdout);
    end.write_all(b"two\n").expect("write");
    let mut reader = open_reader(&rig.path());
    let mut read = [0; 8];
    rig.until("relayed", |rig| rig.relay.relayed_bytes() == 8);
    reader.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"one\ntwo\n");
    rig.until_news(&Input::OutputDelivered);
    drop(end);
    rig.news.clear();
    rig.finish();
    rig.turn();
    assert_eq!(reader.read(&mut read).expect("read"), 0);
    // Everything was closed; it can be opened once more.
    rig.news.clear();
    drop(rig.start());
    rig.finish();
    assert_eq!(rig.news, [SETTLED]);
}

#[test]
fn a_place_used_again_belongs_to_the_new_task() {
    let mut rig = Rig::new(fifo);
    let old = rig.start();
    let (first, second) = (rig.task, TaskId::new(3, 8));
    rig.task = second;
    let new = rig.start();
    rig.relay.finish_run(rig.now(), first);
    let _ = rig.relay.forget(first);
    assert_eq!(rig.relay.next_news(), Some((first, SETTLED)));
    let mut end = file(new.stdout);
    end.write_all(b"new\n").expect("write");
    rig.until("relayed", |rig| rig.relay.relayed_bytes() == 4);
    drop(old);
}

#[test]
fn a_flood_from_remaining_processes_does_not_delay_the_exit() {
    let mut rig = Rig::new(|path| rotated(path, 1 << 20, 2, Numbering::Shift));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopped, mut end) = (Arc::clone(&stop), file(rig.start().stdout));
    let flood = thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            end.write_all(&[b'\n'; 4096]).expect("write");
        }
    });
    rig.until("flood", |rig| rig.relay.relayed_bytes() > 1 << 20);
    rig.relay.finish_run(rig.now(), rig.task);
    rig.until_news(&SETTLED);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    rig.join(flood);
}
