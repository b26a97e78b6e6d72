//! Memory that is not needed any more goes back to the system.

use crate::sys::code_pages::CodePages;
use crate::sys::own_process::give_back_free_memory;

/// So many tasks more or fewer have moved enough memory for the allocator to be asked.
const MANY: usize = 100;

/// What is known of the memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Once the daemon is ready.
    code: Option<CodePages>,
    /// Tasks when memory was last given back.
    settled: usize,
    /// Tasks in the turn before.
    before: usize,
}

impl Memory {
    /// The daemon is ready: most of the code that has run will never run again, and what does comes
    /// back from the page cache, in small blocks.
    pub(super) fn started() -> Memory {
        let memory = Memory { code: Some(CodePages::divide()), ..Memory::default() };
        memory.give_back();
        memory
    }

    /// Asks the allocator for what it holds free.
    pub(super) fn give_back(&self) {
        give_back_free_memory();
        if let Some(code) = &self.code {
            code.give_back();
        }
    }

    /// After each turn: once many tasks have come or gone and no more do, what their coming and
    /// going has left free is given back. Not while a task file is `busy`: it holds all its tasks.
    pub(super) fn look(&mut self, tasks: usize, busy: bool) {
        if self.is_settled(tasks, busy) {
            self.give_back();
        }
    }

    fn is_settled(&mut self, tasks: usize, busy: bool) -> bool {
        let rests = std::mem::replace(&mut self.before, tasks) == tasks && !busy;
        let now = rests && tasks.abs_diff(self.settled) >= MANY.max(self.settled / 4);
        if now {
            self.settled = tasks;
        }
        now
    }
}

/// Before so many tasks are launched: what was needed to know them is free by now. Given back and
/// taken anew, it has what stays of them lie close together.
pub(super) fn make_room(launches: usize) {
    if launches >= MANY {
        give_back_free_memory();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_goes_back_after_many_tasks_have_come_or_gone() {
        let mut memory = Memory::default();
        let told: Vec<usize> = [90, 90, 2_000, 3_000, 3_000, 3_000, 2_500, 2_500, 1, 1, 0]
            .into_iter()
            .filter(|&tasks| memory.is_settled(tasks, false))
            .collect();
        assert_eq!(told, [3_000, 1]);
        let told = [500, 500, 500].map(|tasks| memory.is_settled(tasks, true));
        assert_eq!(told, [false; 3], "a task file is busy");
        assert!(memory.is_settled(500, false));
    }
}
