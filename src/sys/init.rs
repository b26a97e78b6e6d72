//! The built-in init: process 1 of a task's own pid namespace.
//!
//! The first process of a pid namespace gets no signal that it does not handle, and has to reap
//! what others leave. So it is not the task but this: a program of some dozen instructions, which
//! is executed from memory. It has ignored SIGCHLD since before its exec, so that the kernel reaps
//! for it, and sleeps. Told to leave by us (nobody inside can: see `LEAVE`), or by our death, it
//! waits until the main process has ended and it has no child, and ends, and with it the namespace.

use super::failure::start_error;
use super::faults;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::vocabulary::limits::LAUNCH_TIMEOUT_DEFAULT;
use crate::vocabulary::{Signal, Stage, StartError};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::stat::{Mode, fchmod};
use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};

/// Tells it to end as soon as nothing else is left in its namespace. It waits for this one
/// signal alone, blocked; every other one is dropped by the kernel. Only with `si_code` SI_USER and
/// `si_pid` 0 does it count, which is what comes from outside of the namespace: the kernel writes
/// both, and refuses others of the former.
pub(crate) const LEAVE: Signal = Signal::RTMAX;

/// Whether there is one for this processor.
pub(super) const EXISTS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// What it is called in lists of processes.
const NAME: &CStr = c"ostler-init";

/// `MFD_EXEC` of Linux 6.3: it may be executed whatever `vm.memfd_noexec` has as its default.
const MFD_EXEC: u32 = 0x10;

/// The program in a file of memory that nothing can change any more.
pub(super) fn image() -> Result<OwnedFd, StartError> {
    let failed = |errno: Errno| {
        let error = start_error(Stage::Namespace, errno, "make the program of the init");
        match errno {
            Errno::EACCES => StartError {
                message: format!("{} (is vm.memfd_noexec 2?)", error.message),
                ..error
            },
            _ => error,
        }
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let file = match create(flags | MFD_EXEC) {
        // Kernels before 6.3 do not know the flag.
        Err(Errno::EINVAL) => create(flags),
        file => file,
    };
    let file = file.map_err(failed)?;
    let program = elf(code());
    faults::check("write(memfd)").map_err(failed)?;
    let written = nix::unistd::write(&file, &program).map_err(failed)?;
    if written != program.len() {
        return Err(failed(Errno::ENOSPC));
    }
    // Whoever executes it cannot read it: so nobody may trace the process from its exec on
    // (execve(2), "not dumpable").
    faults::check("fchmod").map_err(failed)?;
    fchmod(&file, Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH).map_err(failed)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    faults::check("fcntl(F_ADD_SEALS)").map_err(failed)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(failed)?;
    Ok(file)
}

/// A descriptor above 2, as every stream of a child has to be before it is brought into place.
fn create(flags: u32) -> Result<OwnedFd, Errno> {
    faults::check("memfd_create")?;
    // SAFETY: a name with its NUL; the kernel hands back a new descriptor or -1.
    let fd = Errno::result(unsafe { libc::memfd_create(NAME.as_ptr(), flags) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Where it lies in memory: any place would do.
const BASE: u64 = 0x40_0000;
/// The file header and two program headers of ELF64.
const HEADER_BYTES: u16 = 64;
const SEGMENT_BYTES: u16 = 56;
const HEADERS_BYTES: usize = HEADER_BYTES as usize + 2 * SEGMENT_BYTES as usize;

/// The smallest executable around `code` (elf(5)): one segment to read and execute, and a stack
/// that cannot be executed.
fn elf(code: &[u8]) -> Vec<u8> {
    const LOAD: u32 = 1;
    const GNU_STACK: u32 = 0x6474_e551;
    const READ_EXECUTE: u32 = 5;
    const READ_WRITE: u32 = 6;
    let bytes = (HEADERS_BYTES + code.len()) as u64;
    let mut file = Vec::with_capacity(HEADERS_BYTES + code.len());
    // 64 bits, little-endian, version 1, System V.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable (2) for this machine, version 1.
    file.extend_from_slice(&2_u16.to_le_bytes());
    file.extend_from_slice(&MACHINE.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    // Entry, program headers, no section headers, flags.
    file.extend_from_slice(&(BASE + HEADERS_BYTES as u64).to_le_bytes());
    file.extend_from_slice(&u64::from(HEADER_BYTES).to_le_bytes());
    file.extend_from_slice(&0_u64.to_le_bytes());
    file.extend_from_slice(&0_u32.to_le_bytes());
    // Sizes and counts of headers, the last three of sections.
    for half in [HEADER_BYTES, SEGMENT_BYTES, 2, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    // Type, flags, offset, virtual and physical address, size in the file and in memory, alignment.
    for (kind, flags, address, size, align) in
        [(LOAD, READ_EXECUTE, BASE, bytes, 0x1_0000), (GNU_STACK, READ_WRITE, 0, 0, 16)]
    {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&u32::to_le_bytes(flags));
        for word in [0, address, address, size, size, align] {
            file.extend_from_slice(&u64::to_le_bytes(word));
        }
    }
    file.extend_from_slice(code);
    file
}

#[cfg(target_arch = "aarch64")]
const MACHINE: u16 = 183;
#[cfg(not(target_arch = "aarch64"))]
const MACHINE: u16 = 62;

/// The instructions, which may stand anywhere. In the order of what they do: no descriptor stays
/// open (close_range, where it is there); nobody without CAP_SYS_PTRACE looks into it or lends it
/// a hand (PR_SET_DUMPABLE), even where fs.suid_dumpable is 1; its name; sleep until told to leave
/// (or leave where nobody has come in time); wait for the end of the main process, which is
/// process 2 and no child of this one; reap until no child is left.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn code() -> &'static [u8] {
    let (start, end): (*const u8, *const u8);
    // SAFETY: two addresses of constant data are taken, nothing else is done here.
    unsafe {
        std::arch::asm!(
            ".pushsection .rodata.ostler_init,\"a\",@progbits",
            include_str!("init/x86_64.s"),
            ".popsection",
            "lea {start}, [rip + 2b]",
            "lea {end}, [rip + 5b]",
            start = out(reg) start, end = out(reg) end,
            mask = const MASK, signal = const SIGNAL, patience = const PATIENCE_S,
            options(nomem, nostack, preserves_flags),
        );
    }
    between(start, end)
}

/// See the one above.
#[cfg(target_arch = "aarch64")]
#[inline(never)]
fn code() -> &'static [u8] {
    let (start, end): (*const u8, *const u8);
    // SAFETY: two addresses of constant data are taken, nothing else is done here.
    unsafe {
        std::arch::asm!(
            ".pushsection .rodata.ostler_init,\"a\",@progbits",
            ".balign 4",
            include_str!("init/aarch64.s"),
            ".popsection",
            "adrp {start}, 2b",
            "add {start}, {start}, :lo12:2b",
            "adrp {end}, 5b",
            "add {end}, {end}, :lo12:5b",
            start = out(reg) start, end = out(reg) end,
            mask = const MASK, signal = const SIGNAL, patience = const PATIENCE_S,
            options(nomem, nostack, preserves_flags),
        );
    }
    between(start, end)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn code() -> &'static [u8] {
    &[]
}

/// Who has no main process to wait for after so many seconds ends: the supervisor has died before
/// it could make one, and before its death could be told. As long as a launch may take by default.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const PATIENCE_S: u64 = LAUNCH_TIMEOUT_DEFAULT.as_secs();

/// The number of `LEAVE`, and the mask with it alone.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const SIGNAL: i32 = LEAVE.number();
/// See [`SIGNAL`].
pub(super) const MASK: u64 = 1 << (LEAVE.number() - 1);

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn between(start: *const u8, end: *const u8) -> &'static [u8] {
    let length = (end as usize).saturating_sub(start as usize);
    // SAFETY: both are labels of the same constant data, which lies between them.
    unsafe { std::slice::from_raw_parts(start, length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_small_as_is_said() {
        let bytes = elf(code()).len();
        assert!((HEADERS_BYTES + 100..500).contains(&bytes), "{bytes}");
    }
}
