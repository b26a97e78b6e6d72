//! The pages of our own program and libraries that are mapped from files.

use super::faults;
use nix::libc;
use std::ops::Range;
use std::os::raw::{c_int, c_void};

/// How much of them one fault maps at most, in pages. Left alone it is 64 KiB or, from Linux 6.18
/// on, as much as lies together in the page cache: most of a program, for one function of it.
const BLOCK_PAGES: usize = 4;

/// The parts of a program and its libraries that are never written, as they are mapped.
#[derive(Debug)]
pub(crate) struct CodePages(Vec<Range<usize>>);

impl CodePages {
    /// Finds them.
    pub(crate) fn find() -> CodePages {
        let mut found: Vec<Range<usize>> = Vec::new();
        let data = std::ptr::from_mut(&mut found).cast();
        // SAFETY: called for each loaded object with the vector, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(find), data) };
        CodePages(found)
    }

    /// Finds them, and has them mapped in small blocks from now on: a fault does not go beyond a
    /// mapping, and neighbours with different advice are different mappings.
    pub(crate) fn divide() -> CodePages {
        let CodePages(found) = CodePages::find();
        let block = BLOCK_PAGES * page_size();
        for range in &found {
            for start in range.clone().step_by(2 * block) {
                // The advice itself is about reading ahead, of which there is little here.
                advise(start..range.end.min(start + block), libc::MADV_RANDOM);
            }
        }
        CodePages(found)
    }

    /// Unmaps them: they are in the page cache, and come back with the next use. For a process that
    /// is about to sleep for long.
    pub(crate) fn give_back(&self) {
        for range in &self.0 {
            advise(range.clone(), libc::MADV_DONTNEED);
        }
    }
}

/// Advice that fails changes nothing.
fn advise(range: Range<usize>, advice: c_int) {
    if faults::check("madvise").is_ok() {
        // SAFETY: these pages are mapped from a file and were never written, so that what comes
        // back of those that are dropped is what was there.
        unsafe { libc::madvise(range.start as *mut c_void, range.len(), advice) };
    }
}

/// Adds what of one object cannot be written: nothing of it can have been changed. The tables that
/// the loader has relocated are part of a writable segment.
unsafe extern "C" fn find(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    found: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid object with as many headers as it says, and `divide` the
    // vector.
    let (base, headers, found) = unsafe {
        let object = &*object;
        if object.dlpi_phdr.is_null() {
            return 0;
        }
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object.dlpi_addr, headers, &mut *found.cast::<Vec<Range<usize>>>())
    };
    let page = page_size();
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        if header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = base.wrapping_add(header.p_vaddr) as usize;
        let end = start.wrapping_add(header.p_memsz as usize);
        // Only whole pages: the last one may be shared with what can be written.
        let (first, last) = (start.next_multiple_of(page), end & !(page - 1));
        if first < last {
            found.push(first..last);
        }
    }
    0
}

fn page_size() -> usize {
    // SAFETY: plain numbers.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_file_kb() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    #[test]
    fn what_was_given_back_is_there_when_it_is_needed() {
        let pages = CodePages::divide();
        let before = resident_file_kb();
        pages.give_back();
        let after = resident_file_kb();
        assert!(after < before, "{before} kB before, {after} after");
        assert_eq!(format!("{:?}", std::time::Duration::from_millis(1500)), "1.5s");
    }
}
