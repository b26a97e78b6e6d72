//! The file of the program that we are, and tasks that could write to it.
//!
//! Until its exec the main process of a task runs this program, and a task that sees it in its own
//! /proc gets at the file: a command or an interpreter in an image that is a link to
//! /proc/self/exe makes it run this program inside, and hand on the file (CVE-2019-5736 of runc). A
//! task that runs as the owner of the file could write to it. So a supervisor whose file could be
//! written to starts anew through a mount of the file that is read-only and nowhere else, or where
//! it may not make one from a sealed copy in memory, as runc and LXC do.

use super::mounting::tree;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{AccessFlags, access, fexecve};
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, Error, ErrorKind};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const OWN_FILE: &str = "/proc/self/exe";
/// The same.
const OWN_PATH: &CStr = c"/proc/self/exe";

/// `MFD_EXEC` of Linux 6.3: it may be executed whatever `vm.memfd_noexec` has as its default.
const MAY_EXECUTE: MFdFlags = MFdFlags::from_bits_retain(0x10);

/// Names the program on disk to whatever this process executes next: its own id, a colon and the
/// path. What a task inherits has it not, as no variable of ours.
pub(crate) const PATH_VARIABLE: &str = "OSTLER_PROGRAM";

/// Starts this program anew where a task of ours could write to its file: with the same arguments,
/// environment, descriptors and process id. Returns where that is not so, or has been done.
///
/// # Errors
/// It could not be done, and tasks could.
pub(crate) fn seal() -> io::Result<()> {
    let mut own = File::open(OWN_FILE)?;
    if access(OWN_FILE, AccessFlags::W_OK).is_err() || is_sealed(&own) {
        return rename();
    }
    let safe = match read_only_mount() {
        Ok(mounted) => mounted,
        Err(_) => sealed_copy(&mut own)?,
    };
    let arguments = strings(std::env::args_os())?;
    let own = path().map(|path| named(PATH_VARIABLE, path.into_os_string()));
    let environment = strings(environment_without(&[PATH_VARIABLE]).chain(own))?;
    Err(fexecve(&safe, &arguments, &environment).map_or_else(Error::from, |never| match never {}))
}

/// A variable of the environment for this process alone, whatever program it runs.
pub(crate) fn named(name: &str, value: OsString) -> OsString {
    let mut variable = OsString::from(format!("{name}={}:", std::process::id()));
    variable.push(value);
    variable
}

/// Its value, where it was set for this process.
pub(crate) fn value_of(name: &str) -> Option<OsString> {
    let value = std::env::var_os(name)?.into_vec();
    let own = format!("{}:", std::process::id());
    value.strip_prefix(own.as_bytes()).map(|value| OsString::from_vec(value.to_vec()))
}

/// Our environment, but for these variables.
pub(crate) fn environment_without(names: &[&str]) -> impl Iterator<Item = OsString> {
    std::env::vars_os().filter(move |(name, _)| !names.iter().any(|other| name == other)).map(
        |(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        },
    )
}

/// Where the program that we are stands on disk, or its successor by now: as it was called at the
/// start, so that a link that leads elsewhere by now is followed, else as the kernel knows it.
pub(crate) fn path() -> Option<PathBuf> {
    if let Some(known) = value_of(PATH_VARIABLE) {
        return Some(known.into());
    }
    let own = std::fs::metadata(OWN_FILE).ok()?;
    let is_own = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|f| (f.dev(), f.ino()) == (own.dev(), own.ino()))
    };
    let called = std::env::args_os().next().unwrap_or_default();
    let called = match called.as_bytes().contains(&b'/') {
        true => std::path::absolute(&called).ok().filter(is_own),
        false => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).map(|directory| directory.join(&called)).find(is_own)
        }
    };
    called.filter(|path| path.is_absolute()).or_else(link_text)
}

/// The path that /proc has of our file, which may be that of one that has been replaced.
fn link_text() -> Option<PathBuf> {
    let text = std::fs::read_link(OWN_FILE).ok()?.into_os_string().into_vec();
    let path = text.strip_suffix(b" (deleted)").unwrap_or(&text).to_vec();
    Some(OsString::from_vec(path).into())
}

/// Before Linux 6.14 the kernel calls what was executed by a descriptor by its number.
fn rename() -> io::Result<()> {
    let command = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&command).file_name().unwrap_or_default();
    Ok(nix::sys::prctl::set_name(&CString::new(name.as_bytes())?)?)
}

/// Linux 5.12, and it takes CAP_SYS_ADMIN. It is gone once nobody runs from it any more.
fn read_only_mount() -> Result<OwnedFd, Errno> {
    let mounted = tree::copy(libc::AT_FDCWD as usize, OWN_PATH).map_err(Errno::from_raw)?;
    // SAFETY: the descriptor is new and nobody else's.
    let mounted_fd = unsafe { OwnedFd::from_raw_fd(mounted as i32) };
    tree::set_attributes(mounted, tree::READ_ONLY, 0).map_err(Errno::from_raw)?;
    Ok(mounted_fd)
}

fn is_sealed(file: &File) -> bool {
    // EINVAL: no file that can be sealed.
    fcntl(file, FcntlArg::F_GET_SEALS).is_ok_and(|seals| seals & libc::F_SEAL_WRITE != 0)
}

fn sealed_copy(own: &mut File) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = match memfd_create("ostler", flags | MAY_EXECUTE) {
        // Kernels before 6.3 do not know the flag.
        Err(Errno::EINVAL) => memfd_create("ostler", flags),
        copy => copy,
    }?;
    let mut copy = File::from(copy);
    io::copy(own, &mut copy)?;
    let seals = SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE
        | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy.into())
}

fn strings(texts: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    let string = |text: OsString| CString::new(text.into_vec());
    texts
        .map(string)
        .collect::<Result<_, _>>()
        .map_err(|why| Error::new(ErrorKind::InvalidData, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_program_is_where_we_were_called() {
        let own = std::fs::canonicalize(path().unwrap()).unwrap();
        assert_eq!(own, std::env::current_exe().unwrap());
        assert_eq!(std::fs::canonicalize(link_text().unwrap()).unwrap(), own);
    }

    #[test]
    fn a_variable_is_for_one_process() {
        let variable = named("OSTLER_X", "a:b".into());
        assert_eq!(variable, OsString::from(format!("OSTLER_X={}:a:b", std::process::id())));
        assert_eq!(value_of("PATH"), None);
    }
}
