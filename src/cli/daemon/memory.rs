//! Memory that is not needed any more goes back to the system.

use crate::sys::code_pages::CodePages;
use crate::sys::own_process::give_back_free_memory;

/// So many tasks more or fewer have moved enough memory for the allocator to be asked.
const MANY: usize = 1024;

/// What is known of the memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Tasks when memory was last given back.
    settled: usize,
    /// Tasks in the turn before.
    before: usize,
}

impl Memory {
    /// The daemon is ready: most of the code that has run will never run again, and what does comes
    /// back from the page cache.
    pub(super) fn started() -> Memory {
        give_back_free_memory();
        CodePages::find().give_back();
        Memory::default()
    }

    /// After each turn: once many tasks have come or gone and no more do, what their coming and
    /// going has left free is given back.
    pub(super) fn look(&mut self, tasks: usize) {
        if self.is_settled(tasks) {
            give_back_free_memory();
        }
    }

    fn is_settled(&mut self, tasks: usize) -> bool {
        let rests = std::mem::replace(&mut self.before, tasks) == tasks;
        let now = rests && tasks.abs_diff(self.settled) >= MANY;
        if now {
            self.settled = tasks;
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_after_many_tasks_have_come_or_gone() {
        let mut memory = Memory::default();
        let told: Vec<usize> = [500, 500, 900, 2_000, 3_000, 3_000, 3_000, 2_500, 2_500, 1, 1, 0]
            .into_iter()
            .filter(|&tasks| memory.is_settled(tasks))
            .collect();
        assert_eq!(told, [3_000, 1]);
    }
}
