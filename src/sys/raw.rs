//! System calls without libc, for the child between clone and exec, and the clone itself.
//!
//! The child may share the memory of the supervisor or be the copy of a process whose other
//! threads held locks. `libc::syscall` would be wrong there: it writes errno, which is the parent's
//! own, and where symbols are bound lazily its first call takes the locks of the dynamic linker.

use nix::libc;
use std::ffi::CStr;

/// The result of a call: a number, or an errno.
pub(super) type Answer = Result<usize, i32>;

/// `struct clone_args` of linux/sched.h as of Linux 5.7.
#[repr(C)]
#[derive(Default)]
pub(super) struct CloneArgs {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// Flags of clone3 that do not fit the type that libc gives them.
pub(super) const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
/// See [`CLONE_CLEAR_SIGHAND`].
pub(super) const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// What a child runs; it never returns.
pub(super) type Entry = unsafe extern "C" fn(*const ()) -> !;

/// Whether a child that shares our memory can be made here at all.
pub(super) const CAN_SHARE: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

fn answer(result: isize) -> Answer {
    // The kernel answers with -4095 to -1 for an error.
    if (-4095..0).contains(&result) {
        Err((result as i32).wrapping_neg())
    } else {
        Ok(result as usize)
    }
}

/// One system call of up to five arguments. Pointers go in as numbers: every caller, all of them in
/// this layer, passes those of data that it holds and that is of the call's type.
pub(super) fn call<const N: usize>(number: libc::c_long, arguments: [usize; N]) -> Answer {
    const { assert!(N <= 5) };
    let mut all = [0; 5];
    for (slot, argument) in all.iter_mut().zip(arguments) {
        *slot = argument;
    }
    // SAFETY: see above.
    answer(unsafe { arch::call(number, all) })
}

/// `struct open_how` of linux/openat2.h.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// A rename or a mount that comes between takes microseconds.
const OPEN_TRIES: u32 = 1000;

/// openat2(2): `flags` are those of open(2), closed at an exec; `resolve` is RESOLVE_*. The kernel
/// answers EAGAIN where `..` met a rename or a mount anywhere on the system: tried again then, for
/// milliseconds at most.
pub(super) fn openat2(directory: usize, path: &CStr, flags: i32, resolve: u64) -> Answer {
    let how = OpenHow { flags: (flags | libc::O_CLOEXEC) as u64, mode: 0, resolve };
    let pointer = std::ptr::from_ref(&how) as usize;
    let arguments = [directory, path.as_ptr() as usize, pointer, size_of::<OpenHow>()];
    for _ in 1..OPEN_TRIES {
        match call(libc::SYS_openat2, arguments) {
            Err(libc::EAGAIN) => {}
            answer => return answer,
        }
    }
    call(libc::SYS_openat2, arguments)
}

/// clone3(2). In the child `entry(argument)` runs, on the stack that `arguments` names, or on a
/// copy of ours.
///
/// # Safety
/// `entry` must be fit to run on `argument` in such a child. With CLONE_VM the stack must be nobody
/// else's, and CLONE_VFORK must be set, so that what `argument` points to lives long enough.
pub(super) unsafe fn clone3(arguments: &CloneArgs, entry: Entry, argument: *const ()) -> Answer {
    // SAFETY: the caller's.
    answer(unsafe { arch::clone3(arguments, entry, argument) })
}

/// clone(2) for kernels without clone3: memory and descriptors are copied, these namespaces
/// (CLONE_NEW*) are new.
///
/// # Safety
/// `entry` must be fit to run on `argument` in such a child.
pub(super) unsafe fn fork(
    namespaces: u64,
    pidfd: &mut i32,
    entry: Entry,
    argument: *const (),
) -> Answer {
    let flags = namespaces as usize | libc::CLONE_PIDFD as usize | libc::SIGCHLD as usize;
    let pidfd = std::ptr::from_mut(pidfd) as usize;
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    // Without CLONE_VM the child has its own copy of this stack and may go on in it.
    let result = call(libc::SYS_clone, [first, second, pidfd, 0, 0]);
    if result == Ok(0) {
        // SAFETY: the caller's.
        unsafe { entry(argument) }
    }
    result
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{CloneArgs, Entry, libc};
    use std::arch::asm;

    pub(super) unsafe fn call(number: libc::c_long, [a, b, c, d, e]: [usize; 5]) -> isize {
        let result: isize;
        // SAFETY: the calling convention of Linux; rcx and r11 are lost. The rest is the caller's.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as isize => result,
                in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
                lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
        result
    }

    pub(super) unsafe fn clone3(args: &CloneArgs, entry: Entry, argument: *const ()) -> isize {
        let result: isize;
        // SAFETY: the parent comes back with its registers as they were. The child has 0 in rax, a
        // stack that is 16-byte aligned (ours is so inside asm!), and leaves by `entry` alone.
        unsafe {
            asm!(
                "syscall",
                "test rax, rax",
                "jnz 2f",
                "xor ebp, ebp",
                "and rsp, -16",
                "mov rdi, r8",
                "call r9",
                "ud2",
                "2:",
                inlateout("rax") libc::SYS_clone3 as isize => result,
                in("rdi") std::ptr::from_ref(args), in("rsi") size_of::<CloneArgs>(),
                in("r8") argument, in("r9") entry,
                lateout("rcx") _, lateout("r11") _,
            );
        }
        result
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{CloneArgs, Entry, libc};
    use std::arch::asm;

    pub(super) unsafe fn call(number: libc::c_long, [a, b, c, d, e]: [usize; 5]) -> isize {
        let result: isize;
        // SAFETY: the calling convention of Linux. The rest is the caller's.
        unsafe {
            asm!(
                "svc 0",
                in("x8") number,
                inlateout("x0") a => result,
                in("x1") b, in("x2") c, in("x3") d, in("x4") e,
                options(nostack),
            );
        }
        result
    }

    pub(super) unsafe fn clone3(args: &CloneArgs, entry: Entry, argument: *const ()) -> isize {
        let result: isize;
        // SAFETY: the parent comes back with its registers as they were. The child has 0 in x0, an
        // aligned stack, and leaves by `entry` alone.
        unsafe {
            asm!(
                "svc 0",
                "cbnz x0, 2f",
                "mov x29, xzr",
                "mov x30, xzr",
                "mov x0, x9",
                "blr x10",
                "brk 1",
                "2:",
                in("x8") libc::SYS_clone3,
                inlateout("x0") std::ptr::from_ref(args) => result,
                in("x1") size_of::<CloneArgs>(),
                in("x9") argument, in("x10") entry,
            );
        }
        result
    }
}

/// Elsewhere children always have memory of their own, where libc does no harm but for the lazy
/// binding, which the parent's own calls have done already.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    use super::{CloneArgs, Entry, libc};
    use nix::errno::Errno;

    pub(super) unsafe fn call(number: libc::c_long, [a, b, c, d, e]: [usize; 5]) -> isize {
        // SAFETY: the caller's.
        match unsafe { libc::syscall(number, a, b, c, d, e) } {
            -1 => -(Errno::last_raw() as isize),
            result => result as isize,
        }
    }

    pub(super) unsafe fn clone3(args: &CloneArgs, entry: Entry, argument: *const ()) -> isize {
        let pointer = std::ptr::from_ref(args) as usize;
        // SAFETY: without CLONE_VM (`CAN_SHARE`) the child has its own copy of this stack.
        let result = unsafe { call(libc::SYS_clone3, [pointer, size_of::<CloneArgs>(), 0, 0, 0]) };
        if result == 0 {
            // SAFETY: the caller's.
            unsafe { entry(argument) }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn an_answer_is_a_number_or_an_errno() {
        assert_eq!(call(libc::SYS_getpid, []), Ok(std::process::id() as usize));
        assert_eq!(call(libc::SYS_close, [usize::MAX]), Err(libc::EBADF));
    }

    #[test]
    fn a_rename_elsewhere_fails_no_open() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        std::fs::create_dir(&one).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::fs::rename(&one, &two).unwrap();
                    std::fs::rename(&two, &one).unwrap();
                }
            });
            let start = libc::AT_FDCWD as usize;
            let path = c"src/../src/../src/../src/../src/../src";
            let opened = (0..50_000).try_for_each(|_| {
                let fd = openat2(start, path, libc::O_PATH, libc::RESOLVE_BENEATH)?;
                // SAFETY: it was opened just now.
                drop(unsafe { OwnedFd::from_raw_fd(fd as i32) });
                Ok::<(), i32>(())
            });
            over.store(true, Ordering::Relaxed);
            assert_eq!(opened, Ok(()));
        });
    }
}
