//! The stack of children that share our memory. One at a time uses it, while we wait for it.

use super::faults;
use nix::errno::Errno;
use nix::libc;
use std::io;

/// The child's frames take a few KiB, more in builds without optimisation.
const BYTES: usize = 64 << 10;
/// Pages have 64 KiB at most on the machines where it is used.
const GUARD_BYTES: usize = 64 << 10;

/// Memory with an inaccessible part beneath it.
#[derive(Debug)]
pub(super) struct ChildStack {
    start: *mut libc::c_void,
}

// SAFETY: the mapping belongs to this value alone, whichever thread has it.
unsafe impl Send for ChildStack {}

impl ChildStack {
    pub(super) fn new() -> io::Result<ChildStack> {
        faults::check("mmap")?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
        // SAFETY: a new mapping at a place of the kernel's choice touches nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), GUARD_BYTES + BYTES, libc::PROT_NONE, flags, -1, 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = ChildStack { start };
        faults::check("mprotect")?;
        // SAFETY: the upper part of the mapping just made.
        let result = unsafe {
            libc::mprotect(start.byte_add(GUARD_BYTES), BYTES, libc::PROT_READ | libc::PROT_WRITE)
        };
        Errno::result(result)?;
        Ok(stack)
    }

    /// Lowest address and size, as clone3(2) takes them.
    pub(super) fn range(&self) -> (u64, u64) {
        ((self.start as usize + GUARD_BYTES) as u64, BYTES as u64)
    }
}

impl Drop for ChildStack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no child lives on it: we wait for each.
        unsafe { libc::munmap(self.start, GUARD_BYTES + BYTES) };
    }
}
