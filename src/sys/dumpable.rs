//! The dumpable flag of a host in which children with its memory change their user.
//!
//! Such a child clears the flag of the memory, which is the host's too. It may be set again only
//! when no child has the memory any more: else that child's user could write into it
//! (process_vm_writev(2)) while it is still the host's. Several supervisors and threads may make
//! children in one process, so the count is the process's: the one piece of global state.

use nix::sys::prctl;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Sharing {
    children: usize,
    /// Before the first of them.
    was_dumpable: bool,
}

static SHARING: Mutex<Sharing> = Mutex::new(Sharing { children: 0, was_dumpable: false });

/// While it lives, a child that changes its user may have our memory.
pub(super) struct SharedMemory(());

fn sharing() -> MutexGuard<'static, Sharing> {
    SHARING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedMemory {
    /// To be made before the clone, and dropped after the child's exec.
    pub(super) fn with_child() -> SharedMemory {
        let mut sharing = sharing();
        if sharing.children == 0 {
            sharing.was_dumpable = prctl::get_dumpable().unwrap_or(false);
        }
        sharing.children += 1;
        SharedMemory(())
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        let mut sharing = sharing();
        sharing.children = sharing.children.saturating_sub(1);
        if sharing.children == 0 && sharing.was_dumpable {
            // Cannot fail for this value.
            let _ = prctl::set_dumpable(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_back_with_the_last_child_only() {
        let before = prctl::get_dumpable().unwrap();
        let (first, second) = (SharedMemory::with_child(), SharedMemory::with_child());
        prctl::set_dumpable(false).unwrap();
        drop(first);
        assert!(!prctl::get_dumpable().unwrap());
        drop(second);
        assert_eq!(prctl::get_dumpable().unwrap(), before);
    }
}
