//! Many streams with a line now and then: their lines gather, and nothing else has to wait. Time is
//! that of the test, so that no machine is too slow for it.

use super::*;
use crate::reactor::token::Key;
use crate::sys::faults;
use crate::vocabulary::limits::{
    GATHER_BYTES_MAX, GATHER_LEAN_LOOKS, GATHER_TIME, PIPE_BYTES_DEFAULT,
};
use nix::errno::Errno;

const TASKS: usize = 40;
const STEP: Duration = Duration::from_millis(1);
const LINE: &[u8] = b"line\n";

/// Tasks with a file each, whose output the test writes.
struct Crowded {
    rig: Rig,
    ends: Vec<File>,
    now: Mono,
    written: u64,
}

impl Crowded {
    fn new() -> Crowded {
        let mut rig = Rig::new(fifo);
        let mut ends = Vec::new();
        for number in 0..TASKS {
            let path = rig.dir.path().join(number.to_string());
            let stdout = rotated(path.to_str().expect("path"), 1 << 20, 2, Numbering::Shift);
            let spec = TaskSpec { stdout: Some(stdout), ..TaskSpec::new("x") };
            let task = task(number);
            rig.relay.open(task, &identity(&number.to_string(), &spec), None).expect("open");
            ends.push(file(rig.relay.begin_run(task, number as u64).expect("begin").stdout));
        }
        Crowded { rig, ends, now: Mono::from_nanos(1_000_000_000), written: 0 }
    }

    /// The same, after lines of all have come fast for so long that they gather.
    fn gathered() -> Crowded {
        let mut crowd = Crowded::new();
        crowd.grow();
        assert!((0..TASKS).all(|number| crowd.is_gathered(number)));
        assert!(crowd.rig.relay.crowd.next_deadline().is_some());
        crowd.assert_all_arrived();
        crowd
    }

    /// Lines of all come fast for a while.
    fn grow(&mut self) {
        for number in 0..10 * TASKS {
            self.write(number % TASKS, LINE);
            self.pass(STEP);
        }
        self.pass(GATHER_TIME);
    }

    fn write(&mut self, number: usize, data: &[u8]) {
        self.ends[number].write_all(data).expect("write");
        self.written += data.len() as u64;
    }

    /// Time passes, and the loop takes what it finds then: how much was ready.
    fn pass(&mut self, time: Duration) -> usize {
        self.now = self.now + time;
        let mut ready = 0;
        let mut events = Events::with_capacity(64);
        loop {
            self.rig.poll.poll(&mut events, Some(Duration::ZERO)).expect("poll");
            for event in &events {
                ready += 1;
                match Owner::of(event.token()) {
                    Some(Owner::Source(key)) => {
                        let closed = event.is_read_closed();
                        self.rig.relay.source_ready(key, event.is_readable(), closed);
                    }
                    Some(Owner::Crowd) => self.rig.relay.crowd_ready(),
                    other => panic!("whose is {other:?}"),
                }
            }
            let more = self.rig.relay.work(self.now);
            self.rig.relay.expire(self.now);
            if !more && events.is_empty() {
                return ready;
            }
        }
    }

    fn key(&self, number: usize) -> Key {
        self.rig.relay.keys(task(number)).next().expect("a stream")
    }

    fn is_gathered(&self, number: usize) -> bool {
        let stream = self.rig.relay.streams.get(self.key(number)).expect("stream");
        stream.sources.iter().all(|source| source.gathered)
    }

    #[track_caller]
    fn assert_all_arrived(&self) {
        assert_eq!(self.rig.relay.relayed_bytes(), self.written);
    }
}

fn task(number: usize) -> TaskId {
    TaskId::new(number as u32, 7)
}

#[test]
fn lines_of_a_crowd_gather_for_a_moment() {
    let mut crowd = Crowded::gathered();
    for number in 0..TASKS / 2 {
        crowd.write(number, LINE);
    }
    let due = crowd.rig.relay.next_deadline().expect("deadline");
    assert!(due.since(crowd.now) <= GATHER_TIME, "lines wait for {:?}", due.since(crowd.now));
    let before = crowd.rig.relay.relayed_bytes();
    assert_eq!(crowd.pass(GATHER_TIME / 2), 0, "a line of a crowd woke the loop");
    assert_eq!(crowd.rig.relay.relayed_bytes(), before);
    crowd.pass(due.since(crowd.now));
    crowd.assert_all_arrived();
}

#[test]
fn the_end_of_a_run_waits_for_nothing() {
    let mut crowd = Crowded::gathered();
    crowd.write(3, LINE);
    crowd.rig.relay.finish_run(crowd.now, task(3));
    crowd.pass(Duration::ZERO);
    assert_eq!(crowd.rig.relay.next_news(), Some((task(3), SETTLED)));
    crowd.assert_all_arrived();
    // What it has left behind goes as well once its last writer does.
    let before = crowd.rig.relay.streams.len();
    crowd.ends.remove(3);
    crowd.rig.relay.close(crowd.now, task(3));
    assert_eq!(crowd.rig.relay.streams.len(), before - 1);
}

#[test]
fn a_flood_is_out_of_the_crowd_at_once() {
    for bytes in [GATHER_BYTES_MAX, PIPE_BYTES_DEFAULT] {
        let mut crowd = Crowded::gathered();
        crowd.write(3, &noise(3, bytes));
        crowd.pass(GATHER_TIME);
        crowd.assert_all_arrived();
        assert!(!crowd.is_gathered(3) && crowd.is_gathered(4));
        for _ in 0..8 {
            // It is told of as if there were no crowd, for a while with its lines too.
            crowd.write(3, LINE);
            assert_eq!(crowd.pass(Duration::ZERO), 1);
            crowd.assert_all_arrived();
        }
    }
}

#[test]
fn who_writes_again_as_soon_as_it_is_served_leaves_the_crowd() {
    let mut crowd = Crowded::gathered();
    let mut looks = 0;
    while crowd.is_gathered(3) {
        crowd.write(3, LINE);
        crowd.pass(GATHER_TIME);
        crowd.assert_all_arrived();
        looks += 1;
        assert!(looks < 20, "it is never let go");
    }
    assert!(looks > 4, "a short burst is no reason: {looks}");
    crowd.write(3, LINE);
    assert_eq!(crowd.pass(Duration::ZERO), 1);
    crowd.assert_all_arrived();
}

#[test]
fn a_line_wakes_the_loop_again_once_they_come_slowly() {
    let mut crowd = Crowded::gathered();
    for _ in 0..GATHER_LEAN_LOOKS {
        assert!(crowd.rig.relay.next_deadline().is_some());
        crowd.pass(GATHER_TIME);
    }
    assert_eq!(crowd.rig.relay.next_deadline(), None, "nothing is to be looked at");
    for number in [5, 6, 5] {
        crowd.write(number, LINE);
        assert_eq!(crowd.pass(Duration::ZERO), 1);
        crowd.assert_all_arrived();
        assert_eq!(crowd.pass(Duration::from_secs(1)), 0);
        assert_eq!(crowd.rig.relay.next_deadline(), None);
    }
    // Many again: they gather as before.
    crowd.grow();
    assert!(crowd.rig.relay.next_deadline().is_some());
    crowd.assert_all_arrived();
}

#[test]
fn few_streams_are_no_crowd_however_much_they_say() {
    let mut crowd = Crowded::new();
    for step in 0..2000 {
        // One each millisecond, and another one now and then.
        crowd.write(0, LINE);
        if step % 20 == 0 {
            crowd.write(1, LINE);
        }
        crowd.pass(STEP);
        crowd.assert_all_arrived();
        assert_eq!(crowd.rig.relay.next_deadline(), None);
    }
    assert!(!crowd.is_gathered(0) && !crowd.is_gathered(1));
}

#[test]
fn whichever_call_fails_every_line_arrives() {
    let mut hits = Vec::new();
    for nth in 1.. {
        let mut crowd = Crowded::new();
        let spared = &["read", "write"];
        let injected = faults::fail_nth_but(nth, Errno::ENOMEM, spared);
        crowd.grow();
        let hit = injected.hit();
        drop(injected);
        crowd.grow();
        crowd.assert_all_arrived();
        assert!((0..TASKS).all(|number| crowd.is_gathered(number)), "call {nth} ({hit:?})");
        match hit {
            Some(hit) => hits.push(hit),
            None => break,
        }
    }
    hits.dedup();
    assert_eq!(hits, ["epoll_create1", "epoll_ctl"]);
}
