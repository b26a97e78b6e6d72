//! The text for a collector, piece by piece.

use crate::control::openmetrics::{END, FAMILIES, write_supervisor};
use crate::reactor::Supervisor;
use crate::vocabulary::TaskId;

/// About the size of a piece; it takes 0.3 ms to make.
const PIECE_BYTES: usize = 64 << 10;
/// Tasks that are looked at for one piece, whether they have such figures or not.
const LOOKS: usize = 2048;

/// How far the text is.
#[derive(Debug)]
pub(super) struct Exposition {
    tasks: Vec<TaskId>,
    family: usize,
    next: usize,
    over: bool,
}

impl Exposition {
    /// The figures of these tasks, as they were last measured, and of the supervisor.
    pub(super) fn new(tasks: Vec<TaskId>) -> Exposition {
        Exposition { tasks, family: 0, next: 0, over: false }
    }

    /// The next piece; `None` after the last one.
    pub(super) fn next_piece(&mut self, supervisor: &Supervisor) -> Option<String> {
        if self.over {
            return None;
        }
        let mut text = String::with_capacity(PIECE_BYTES + 1024);
        let mut looks = 0;
        while let Some(family) = FAMILIES.get(self.family) {
            if self.next == 0 {
                family.write_head(&mut text);
            }
            while let Some(&task) = self.tasks.get(self.next) {
                if text.len() >= PIECE_BYTES || looks >= LOOKS {
                    return Some(text);
                }
                if let Some((name, usage)) = supervisor.usage_of(task) {
                    family.write_task(&mut text, name, usage);
                }
                self.next += 1;
                looks += 1;
            }
            self.family += 1;
            self.next = 0;
        }
        write_supervisor(&mut text, &supervisor.figures());
        text.push_str(END);
        self.over = true;
        Some(text)
    }
}
