//! Files that need not be open between two writes, where descriptors are scarce.

use super::*;
use crate::sys::faults;

const TASKS: usize = 8;
const LINE: &[u8] = b"line\n";

/// Tasks with a file each, none of which need be open.
struct Files {
    rig: Rig,
    ends: Vec<File>,
    lines: [u64; TASKS],
}

fn task(number: usize) -> TaskId {
    TaskId::new(number as u32, 7)
}

impl Files {
    fn new() -> Files {
        let scarce = RelayOptions { scarce_from: Some(0), ..RelayOptions::default() };
        let mut rig = Rig::with_options(fifo, |_| scarce);
        let mut ends = Vec::new();
        for number in 0..TASKS {
            let path = rig.dir.path().join(number.to_string());
            let stdout = rotated(path.to_str().expect("path"), 1 << 20, 2, Numbering::Shift);
            let spec = TaskSpec { stdout: Some(stdout), ..TaskSpec::new("x") };
            rig.relay.open(task(number), &identity("x", &spec), None).expect("open");
            ends.push(file(rig.relay.begin_run(task(number), 1).expect("begin").stdout));
        }
        Files { rig, ends, lines: [0; TASKS] }
    }

    /// Lets so many files stay open; how many descriptors there are without them.
    fn let_stay(&mut self, files: usize) -> usize {
        self.rig.relay.give_back(TASKS);
        // The list itself takes one.
        let all = descriptors();
        let held = all.len() - 1;
        assert_eq!(all.iter().max().map(|&most| most as usize), Some(held), "there are holes");
        // Opening one again takes the lowest for a moment.
        self.rig.relay.options.files_until = (held + 1 + files) as i32;
        held
    }

    fn open(&self) -> usize {
        let open = |number: &usize| {
            let key = self.rig.relay.keys(task(*number)).next().expect("stream");
            match &self.rig.relay.streams.get(key).expect("stream").target {
                Target::File(file) => file.is_open(),
                Target::Fifo(_) => false,
            }
        };
        (0..TASKS).filter(open).count()
    }

    /// Writes a line of one task, and looks whether it has arrived: how often a file was opened.
    fn write(&mut self, number: usize) -> u64 {
        let before = faults::calls("reopen");
        let relayed = self.rig.relay.relayed_bytes();
        self.ends[number].write_all(LINE).expect("write");
        self.rig.until("a line", |rig| rig.relay.relayed_bytes() == relayed + LINE.len() as u64);
        self.lines[number] += 1;
        faults::calls("reopen") - before
    }

    fn write_all(&mut self) -> u64 {
        (0..TASKS).map(|number| self.write(number)).sum()
    }

    fn compare(&self) {
        for (number, &lines) in self.lines.iter().enumerate() {
            let path = self.rig.dir.path().join(number.to_string());
            assert_eq!(std::fs::read(path).expect("file"), LINE.repeat(lines as usize));
        }
    }
}

#[test]
fn as_many_files_stay_open_as_there_are_descriptors_for() {
    with_own_descriptors(|| {
        let mut files = Files::new();
        let held = files.let_stay(TASKS);
        files.write_all();
        assert_eq!(files.open(), TASKS);
        assert_eq!(files.write_all(), 0, "all of them are open");
        files.let_stay(TASKS / 2);
        for _ in 0..10 {
            files.write_all();
            assert_eq!(files.open(), TASKS / 2);
            assert_eq!(descriptors().len() - 1, held + TASKS / 2);
        }
        // All are written in turn: half of them are found open.
        let rounds = 50;
        let opened: u64 = (0..rounds).map(|_| files.write_all()).sum();
        assert!(opened <= rounds * (TASKS as u64 / 2 + 1), "{opened} in {rounds} rounds");
        files.compare();
    });
}

#[test]
fn files_that_are_not_written_make_room_for_those_that_are() {
    with_own_descriptors(|| {
        let mut files = Files::new();
        files.let_stay(TASKS / 2);
        files.write_all();
        // Half of the tasks fall silent, some of which have their files open.
        let busy = (1..TASKS).step_by(2);
        let mut rounds = 0;
        while busy.clone().map(|number| files.write(number)).sum::<u64>() > 0 {
            rounds += 1;
            assert!(rounds < 500, "they are never all open");
        }
        files.write_all();
        files.compare();
    });
}

#[test]
fn files_are_given_back_and_opened_again() {
    with_own_descriptors(|| {
        let mut files = Files::new();
        let held = files.let_stay(TASKS);
        files.write_all();
        assert_eq!(files.rig.relay.give_back(3), 3);
        assert_eq!((files.open(), descriptors().len() - 1), (TASKS - 3, held + TASKS - 3));
        assert_eq!(files.rig.relay.give_back(TASKS), TASKS - 3);
        assert_eq!(files.rig.relay.give_back(1), 0);
        files.write_all();
        files.compare();
        assert_eq!(files.rig.relay.descriptors(), TASKS as u64, "the pipes");
    });
}
