//! FIFOs as sinks: readers that are there, late, slow, dead or many.

use super::*;
use crate::vocabulary::limits::{DRAIN_PATIENCE, PIPE_BYTES_DEFAULT, PIPE_IDLE_AFTER};
use nix::fcntl::{FcntlArg, fcntl};

fn relays_exactly(mut rig: Rig, bytes: usize, most: usize) {
    let data = noise(bytes as u64, bytes);
    let copy = data.clone();
    let writer = rig.run(move |end| write_in_pieces(end, &copy, most));
    let reader = read_all(rig.path());
    rig.join(writer);
    rig.finish();
    let read = rig.join(reader);
    assert!(read == data, "{} bytes of {}", read.len(), data.len());
    assert_eq!(rig.relay.relayed_bytes(), bytes as u64);
    assert!(!rig.news.iter().any(|input| matches!(input, Input::OutputLost { .. })));
}

#[test]
fn bulk_arrives_exactly() {
    relays_exactly(Rig::new(fifo), 64 << 20, 300_000);
}

#[test]
fn bulk_arrives_exactly_by_way_of_the_state_directory() {
    relays_exactly(Rig::with_state(fifo), 16 << 20, 5000);
}

#[test]
fn short_lines_arrive_exactly() {
    relays_exactly(Rig::with_state(fifo), 1 << 20, 60);
}

#[test]
fn the_pipe_of_a_run_has_a_name_until_it_is_done() {
    let mut rig = Rig::with_state(fifo);
    let mut end = file(rig.start().stdout);
    assert!(!is_nonblocking(&end), "a task's end blocks");
    let named = rig.dir.path().join("state/web.1.out");
    assert!(named.exists());
    let mut reader = open_reader(&rig.path());
    end.write_all(b"line\n").expect("write");
    rig.until("relayed", |rig| rig.relay.relayed_bytes() == 5);
    let mut line = [0; 5];
    reader.read_exact(&mut line).expect("read");
    assert_eq!(&line, b"line\n");
    drop(end);
    rig.until("removed", |_| !named.exists());
    assert_eq!(rig.relay.next_deadline(), None, "nothing waits, nothing is asked");
}

#[test]
fn a_late_reader_gets_everything_and_its_absence_is_told_once() {
    let mut rig = Rig::new(fifo);
    let data = noise(1, 400_000);
    let copy = data.clone();
    let writer = rig.run(move |end| write_in_pieces(end, &copy, 4000));
    rig.until("full", |rig| rig.is_full());
    rig.until("stalled", |rig| stalls(&rig.news) == 1);
    rig.skip(DRAIN_PATIENCE * 20);
    for _ in 0..5 {
        rig.turn();
    }
    assert_eq!(stalls(&rig.news), 1);
    assert!(!writer.is_finished(), "a full FIFO holds up its writer");
    let reader = read_all(rig.path());
    rig.join(writer);
    rig.finish();
    assert!(rig.join(reader) == data);
}

#[test]
fn a_slow_reader_is_not_a_missing_one() {
    let mut rig = Rig::new(fifo);
    let writer = rig.run(|end| write_in_pieces(end, &noise(2, 300_000), 4000));
    let reader = open_reader(&rig.path());
    rig.until("full", |rig| rig.is_full());
    rig.skip(DRAIN_PATIENCE);
    for _ in 0..5 {
        rig.turn();
    }
    assert_eq!(stalls(&rig.news), 0);
    drop(reader);
    let reader = read_all(rig.path());
    rig.join(writer);
    rig.finish();
    rig.join(reader);
}

#[test]
fn readers_that_die_lose_nothing_for_those_that_follow() {
    let mut rig = Rig::new(fifo);
    let data = noise(3, 2_000_000);
    let copy = data.clone();
    let writer = rig.run(move |end| write_in_pieces(end, &copy, 20_000));
    let path = rig.path();
    let reader = thread::spawn(move || {
        let mut read = Vec::new();
        for round in 1.. {
            // Each reader takes some and leaves.
            let mut reader = open_reader(&path);
            let mut piece = vec![0; 1000 * round % 50_000 + 1];
            let bytes = reader.read(&mut piece).expect("read");
            read.extend_from_slice(&piece[..bytes]);
            if read.len() == 2_000_000 {
                break;
            }
        }
        read
    });
    rig.join(writer);
    assert!(rig.join(reader) == data);
}

#[test]
fn both_streams_in_one_fifo_keep_the_order_of_writing() {
    let mut rig = Rig::with_state(fifo);
    rig.spec.stderr = rig.spec.stdout.clone();
    let ends = rig.start();
    let (ChildEnd::Fd(out), ChildEnd::Fd(err)) = (&ends.stdout, &ends.stderr) else {
        panic!("no descriptors")
    };
    assert!(Arc::ptr_eq(out, err));
    let (mut out, mut err) = (file(ends.stdout.clone()), file(ends.stderr));
    let reader = read_all(rig.path());
    let mut expected = Vec::new();
    for number in 0..2000 {
        let line = format!("line {number}\n");
        let end = if number % 3 == 0 { &mut err } else { &mut out };
        end.write_all(line.as_bytes()).expect("write");
        expected.extend_from_slice(line.as_bytes());
        if number % 100 == 0 {
            rig.turn();
        }
    }
    drop((out, err, ends.stdout));
    rig.finish();
    assert!(rig.join(reader) == expected);
}

#[test]
fn a_fifo_stays_open_over_restarts_and_old_output_comes_first() {
    let mut rig = Rig::new(fifo);
    let mut first = file(rig.start().stdout);
    let mut reader = open_reader(&rig.path());
    // The first run fills FIFO and pipe, so that its end is still on its way.
    let old = vec![b'a'; 100_000];
    first.write_all(&old[..PIPE_BYTES_DEFAULT]).expect("write");
    rig.until("moved", |rig| rig.relay.relayed_bytes() == PIPE_BYTES_DEFAULT as u64);
    first.write_all(&old[PIPE_BYTES_DEFAULT..]).expect("write");
    drop(first);
    rig.relay.finish_run(rig.now(), rig.task);
    rig.skip(DRAIN_PATIENCE);
    rig.until_news(&PENDING);
    let mut second = file(rig.start().stdout);
    second.write_all(b"new").expect("write");
    let reader = thread::spawn(move || {
        let mut read = vec![0; 100_003];
        reader.read_exact(&mut read).expect("no end of file between the runs");
        (reader, read)
    });
    let (mut reader, read) = rig.join(reader);
    assert!(read[..100_000] == old[..]);
    assert_eq!(&read[100_000..], b"new");
    rig.until_news(&Input::OutputDelivered);
    drop(second);
    rig.news.clear();
    rig.finish();
    assert_eq!(rig.news, [SETTLED]);
    rig.turn();
    assert_eq!(reader.read(&mut [0; 1]).expect("read"), 0, "end of file at the exit for good");
}

#[test]
fn what_remaining_processes_hold_does_not_hold_up_anything() {
    let mut rig = Rig::new(fifo);
    let mut left_behind = file(rig.start().stdout);
    let mut reader = open_reader(&rig.path());
    left_behind.write_all(b"1\n").expect("write");
    rig.relay.finish_run(rig.now(), rig.task);
    rig.until("settled", |rig| !rig.news.is_empty());
    let mut second = file(rig.start().stdout);
    second.write_all(b"2\n").expect("write");
    rig.until("relayed", |rig| rig.relay.relayed_bytes() == 4);
    left_behind.write_all(b"3\n").expect("write");
    rig.until("relayed", |rig| rig.relay.relayed_bytes() == 6);
    let mut read = [0; 6];
    reader.read_exact(&mut read).expect("read");
    assert_eq!(&read, b"1\n2\n3\n");
}

#[test]
fn a_task_that_holds_the_fifo_itself_may_block_and_what_it_wrote_lingers() {
    let mut rig = Rig::new(|path| Sink::Fifo { path: path.to_owned(), direct: true });
    let mut end = file(rig.start().stdout);
    assert!(!is_nonblocking(&end));
    end.write_all(b"direct\n").expect("write");
    drop(end);
    rig.relay.finish_run(rig.now(), rig.task);
    rig.until_news(&PENDING);
    rig.relay.close(rig.now(), rig.task);
    rig.turn();
    let reader = read_all(rig.path());
    assert_eq!(rig.join(reader), b"direct\n");
    rig.until_news(&Input::OutputDelivered);
}

#[test]
fn pipes_grow_under_bulk_and_shrink_when_idle() {
    let mut rig = Rig::new(fifo);
    let writer = rig.run(|mut end| {
        for _ in 0..400 {
            end.write_all(&[b'x'; 65_536]).expect("write");
        }
        // It lives on, idle.
        thread::park();
    });
    let mut reader = open_reader(&rig.path());
    let capacity = hold(&rig.path());
    let size = || fcntl(&capacity, FcntlArg::F_GETPIPE_SZ).expect("size") as usize;
    let reading = thread::spawn(move || {
        let mut left = 400 * 65_536;
        let mut buffer = vec![0; 65_536];
        while left > 0 {
            left -= reader.read(&mut buffer).expect("read");
        }
    });
    let mut largest = 0;
    rig.until("all read", |_| {
        largest = largest.max(size());
        reading.is_finished()
    });
    assert!(largest > PIPE_BYTES_DEFAULT, "never grown");
    rig.skip(PIPE_IDLE_AFTER);
    rig.until("small again", |_| size() == PIPE_BYTES_DEFAULT);
    writer.thread().unpark();
    rig.join(writer);
}

#[test]
fn floods_do_not_delay_a_quiet_line() {
    let mut rig = Rig::new(|path| rotated(path, 8 << 20, 2, Numbering::Shift));
    let err = rig.dir.path().join("err");
    rig.spec.stderr = Some(rotated(err.to_str().expect("path"), 8 << 20, 2, Numbering::Shift));
    let ends = rig.start();
    let quiet = TaskId::new(4, 0);
    let quiet_path = rig.dir.path().join("quiet");
    let spec =
        TaskSpec { stdout: Some(fifo(quiet_path.to_str().expect("path"))), ..TaskSpec::new("x") };
    rig.relay.open(quiet, &super::identity("quiet", &spec), None).expect("open");
    let mut line_end = file(rig.relay.begin_run(quiet, 99).expect("begin").stdout);
    let mut reader = hold(&quiet_path);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let floods: Vec<_> = [file(ends.stdout), file(ends.stderr)]
        .into_iter()
        .map(|mut end| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let lines = [[b'x'; 99].as_slice(), b"\n"].concat().repeat(600);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    end.write_all(&lines).expect("write");
                }
            })
        })
        .collect();
    rig.until("flood", |rig| rig.relay.relayed_bytes() > 4 << 20);
    let mut turns_most = 0;
    for _ in 0..50 {
        line_end.write_all(b"quiet\n").expect("write");
        let (mut turns, mut line) = (0, [0; 6]);
        while reader.read(&mut line).is_err() {
            rig.turn();
            turns += 1;
            assert!(turns < 100, "the line does not come");
        }
        assert_eq!(&line, b"quiet\n");
        turns_most = turns_most.max(turns);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for flood in floods {
        rig.join(flood);
    }
    assert!(turns_most <= 3, "a quiet line took {turns_most} turns");
}

#[test]
fn room_that_is_told_of_for_nothing_does_no_harm() {
    let mut rig = Rig::new(fifo);
    let end = rig.start();
    let key = rig.relay.keys(rig.task).next().expect("stream");
    rig.relay.target_ready(key);
    rig.relay.source_ready(key, true, true);
    rig.turn();
    let _ = rig.relay.forget(rig.task);
    rig.relay.source_ready(key, true, true);
    rig.relay.target_ready(key);
    rig.turn();
    drop(end);
    assert!(rig.news.is_empty());
}
