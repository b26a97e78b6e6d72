//! A child makes and enters namespaces. The rules of `child` hold here too.

use super::child::write_to;
use super::init;
use super::namespaces::Namespaces;
use super::program::IdMaps;
use super::raw::{Answer, call};
use nix::libc;
use std::ffi::CStr;

/// unshare(2) of one namespace.
pub(super) fn unshare(namespace: Namespaces) -> Result<(), i32> {
    call(libc::SYS_unshare, [namespace.flags() as usize]).map(drop)
}

/// setns(2) with the pidfd of a process whose namespaces these are (Linux 5.8).
pub(super) fn enter(process: i32, namespaces: Namespaces) -> Result<(), i32> {
    call(libc::SYS_setns, [process as usize, namespaces.flags() as usize]).map(drop)
}

/// Who is who in a user namespace just made (user_namespaces(7)). The kernel wants setgroups(2)
/// denied first: a group may also be what keeps somebody out.
pub(super) fn map_ids(maps: &IdMaps) -> Result<(), i32> {
    match write_to(c"/proc/self/setgroups", b"deny") {
        // Kernels before 3.19 do not have it.
        Ok(()) | Err(libc::ENOENT) => {}
        Err(errno) => return Err(errno),
    }
    write_to(c"/proc/self/uid_map", &maps.users)?;
    write_to(c"/proc/self/gid_map", &maps.groups)
}

pub(super) fn set_hostname(name: &[u8]) -> Result<(), i32> {
    call(libc::SYS_sethostname, [name.as_ptr() as usize, name.len()]).map(drop)
}

/// `struct ifreq` with the flags of an interface.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; libc::IFNAMSIZ],
    flags: i16,
    rest: [u8; 22],
}

/// The loopback interface of a new network comes up, and gets its addresses by that
/// (netdevice(7)). Any socket will do.
pub(super) fn bring_loopback_up() -> Result<(), i32> {
    let mut request =
        InterfaceFlags { name: [0; libc::IFNAMSIZ], flags: libc::IFF_UP as i16, rest: [0; 22] };
    request.name[0] = b'l';
    request.name[1] = b'o';
    let kind = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize;
    let socket = call(libc::SYS_socket, [libc::AF_UNIX as usize, kind, 0])?;
    let pointer = std::ptr::from_mut(&mut request) as usize;
    let up = call(libc::SYS_ioctl, [socket, libc::SIOCSIFFLAGS as usize, pointer]);
    let _ = call(libc::SYS_close, [socket]);
    up.map(drop)
}

/// Enters the network namespace that a path names. Nothing but such a namespace is ever opened: of
/// whatever else may stand there, opening it could do something. A symbolic link is not followed,
/// unless it is one of /proc, as in /proc/PID/ns/net.
pub(super) fn join_network(path: &CStr) -> Result<(), i32> {
    let mut place = open(path, libc::O_PATH | libc::O_NOFOLLOW)?;
    if kind_of_file_system(place) == Ok(libc::PROC_SUPER_MAGIC as u64) {
        let _ = call(libc::SYS_close, [place]);
        place = open(path, libc::O_PATH)?;
    }
    let joined = join_opened(place);
    let _ = call(libc::SYS_close, [place]);
    joined
}

fn join_opened(place: usize) -> Result<(), i32> {
    if kind_of_file_system(place)? != NSFS_MAGIC {
        return Err(libc::EINVAL);
    }
    let mut buffer = [0_u8; 32];
    let file = open(link_of(place, &mut buffer), libc::O_RDONLY)?;
    // EINVAL for a namespace of another kind.
    let joined = call(libc::SYS_setns, [file, libc::CLONE_NEWNET as usize]);
    let _ = call(libc::SYS_close, [file]);
    joined.map(drop)
}

const NSFS_MAGIC: u64 = 0x6e73_6673;

fn open(path: &CStr, flags: i32) -> Answer {
    let flags = (flags | libc::O_CLOEXEC) as usize;
    call(libc::SYS_openat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags, 0])
}

/// `f_type` of fstatfs(2).
fn kind_of_file_system(file: usize) -> Result<u64, i32> {
    // SAFETY: plain numbers, for which zeros are fine.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    call(libc::SYS_fstatfs, [file, std::ptr::from_mut(&mut found) as usize])?;
    Ok(found.f_type as u64)
}

/// `/proc/self/fd/N`.
fn link_of(mut file: usize, buffer: &mut [u8; 32]) -> &CStr {
    const START: &[u8] = b"/proc/self/fd/";
    // The digits are written from the end: the last byte stays NUL.
    let mut at = buffer.len() - 1;
    loop {
        at -= 1;
        buffer[at] = b'0' + (file % 10) as u8;
        file /= 10;
        if file == 0 || at == START.len() {
            break;
        }
    }
    at -= START.len();
    for (index, byte) in START.iter().enumerate() {
        buffer[at + index] = *byte;
    }
    CStr::from_bytes_until_nul(&buffer[at..]).unwrap_or(c"")
}

/// What the init has before its exec: it ignores SIGCHLD, so that the kernel reaps, and blocks the
/// one signal that it takes.
pub(super) fn set_signals_of_init() -> Result<(), i32> {
    // A struct sigaction that begins with its handler; no flags, empty mask.
    let ignore = [libc::SIG_IGN as u64, 0, 0, 0];
    let pointer = ignore.as_ptr() as usize;
    call(libc::SYS_rt_sigaction, [libc::SIGCHLD as usize, pointer, 0, 8])?;
    let mask = init::MASK;
    let pointer = std::ptr::from_ref(&mask) as usize;
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, pointer, 0, 8]).map(drop)
}
