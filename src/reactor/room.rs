//! Room in tables, which is given back once most of many tasks are gone.

use super::Supervisor;
use std::collections::VecDeque;

/// Fewer tasks have never taken enough to be worth it.
const MANY: usize = 1024;

/// Room in queues that is kept for the next turn.
const ROOM_KEPT: usize = 256;

/// When there is room to be given back.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Once there are so few tasks or fewer; a table that is not empty at its end may keep its
    /// room, so that it is tried again until there is no task.
    at: Option<usize>,
}

impl Room {
    /// Whether most of many tasks are gone.
    fn is_wide(&mut self, tasks: usize) -> bool {
        if tasks >= MANY {
            self.at = self.at.max(Some(tasks / 4));
        }
        let wide = self.at.is_some_and(|at| tasks <= at);
        if wide {
            self.at = (tasks > 0).then_some(tasks / 4);
        }
        wide
    }
}

impl Supervisor {
    /// After each turn.
    pub(super) fn give_back_room(&mut self) {
        if self.room.is_wide(self.engine.len()) {
            self.engine.shrink();
            self.relay.shrink();
            self.runs.shrink();
        }
        // What many starts or ends at once have taken: events are the largest of all.
        if self.events.capacity() > ROOM_KEPT {
            self.events.shrink_to(ROOM_KEPT);
        }
        give_back(&mut self.inputs);
        give_back(&mut self.replies);
        give_back(&mut self.ended);
        give_back(self.starts.queue());
    }
}

/// Once most of it is room.
fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > ROOM_KEPT && queue.len() < queue.capacity() / 4 {
        queue.shrink_to(ROOM_KEPT.max(queue.len() * 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_when_most_of_many_are_gone() {
        let mut room = Room::default();
        let told: Vec<usize> = [1_000, 10, 4_000, 1_001, 1_000, 900, 2_000, 400, 3, 0, 0]
            .into_iter()
            .filter(|&tasks| room.is_wide(tasks))
            .collect();
        assert_eq!(told, [1_000, 400, 3, 0]);
    }
}
