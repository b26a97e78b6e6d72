//! The pages of our own program and libraries that are mapped from files.

use super::faults;
use nix::libc;
use std::os::raw::{c_int, c_void};

/// Unmaps the pages of code and constants: they are in the page cache, and come back with the next
/// use. For a process that sleeps for long. A fault maps 64 KiB at once, most of them needlessly,
/// so that what is used while a process begins makes up most of what a small one has.
pub(crate) fn give_back() {
    if faults::check("madvise").is_ok() {
        // SAFETY: the function is called for each loaded object, and is not kept.
        unsafe { libc::dl_iterate_phdr(Some(give_back_object), std::ptr::null_mut()) };
    }
}

/// Gives back what of one object cannot be written: nothing of it can have been changed, the
/// tables that the loader has relocated included, which are part of a writable segment.
unsafe extern "C" fn give_back_object(
    object: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid object with as many headers as it says.
    let (base, headers) = unsafe {
        let object = &*object;
        if object.dlpi_phdr.is_null() {
            return 0;
        }
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into());
        (object.dlpi_addr, headers)
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
            // SAFETY: these pages are mapped from a file and were never written, so that what comes
            // back is what was there.
            unsafe { libc::madvise(first as *mut c_void, last - first, libc::MADV_DONTNEED) };
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
        let before = resident_file_kb();
        give_back();
        let after = resident_file_kb();
        assert!(after < before, "{before} kB before, {after} after");
        assert_eq!(format!("{:?}", std::time::Duration::from_millis(1500)), "1.5s");
    }
}
