//! What reads files of the kernel and of the user database, without the files, for fuzzing.

use super::process_list::Numbers;
use super::user::Who;
use super::{adopted, cgroup, mounts, process_usage, user};
use std::path::{Path, PathBuf};

/// As every program of Rust does at its start, and one whose main function is the fuzzer's does
/// not: writing to somebody who has left is an error and not the end.
pub fn ignore_broken_pipes() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: to ignore a signal runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// What /proc/PID/stat says: parent, group, session, microseconds of its own in user mode and in
/// the kernel, those of processes that it has reaped, threads, when it began.
pub fn process_stat(text: &[u8]) -> Option<[i128; 9]> {
    let exit_code =
        adopted::fields(text).and_then(|mut fields| fields.nth(49)?.parse::<i32>().ok());
    let stat = process_usage::parse_stat(text)?;
    let family = stat.family;
    assert!(exit_code.is_none() || adopted::fields(text).is_some());
    Some([
        family.parent.into(),
        family.group.into(),
        family.session.into(),
        stat.user_us.into(),
        stat.system_us.into(),
        stat.reaped_user_us.into(),
        stat.reaped_system_us.into(),
        stat.threads.into(),
        stat.began.into(),
    ])
}

/// What /proc/PID/status says: resident and swapped bytes, threads.
pub fn process_status(text: &[u8]) -> [u64; 3] {
    let memory = process_usage::parse_status(text);
    [memory.rss_bytes, memory.swap_bytes, memory.threads]
}

/// What /proc/PID/statm says: resident bytes.
pub fn process_statm(text: &[u8]) -> Option<u64> {
    process_usage::parse_statm(text)
}

/// What /proc/PID/io says: bytes read and written.
pub fn process_io(text: &[u8]) -> Option<[u64; 2]> {
    process_usage::parse_io(text).map(|io| [io.read_bytes, io.write_bytes])
}

/// What a file of a group says behind a name (memory.stat, cpu.stat).
pub fn number_behind(text: &[u8], name: &[u8]) -> Option<u64> {
    process_usage::number_behind(text, name)
}

/// What io.stat says of all devices together.
pub fn sum_of(text: &[u8], name: &[u8]) -> u64 {
    cgroup::usage::sum_of(text, name)
}

/// The processes of a list that comes in these pieces (cgroup.procs, children).
pub fn process_list(pieces: &[&[u8]]) -> Vec<i32> {
    let (mut numbers, mut found) = (Numbers::default(), Vec::new());
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        numbers.take(piece, &mut found);
    }
    numbers.take(&[], &mut found);
    found.into_iter().map(crate::vocabulary::Pid::number).collect()
}

/// What /proc/self/mountinfo and /proc/self/cgroup say: where v2 is mounted, and our own groups,
/// that of v2 first where there is one.
pub fn groups(mountinfo: &str, cgroup: &str) -> (Option<PathBuf>, Vec<PathBuf>) {
    let found = cgroup::parse_mounted(mountinfo, cgroup);
    let v1 = found.v1.into_iter().map(|(_, path)| path);
    (found.root, found.own.into_iter().chain(v1).collect())
}

/// Whether a path is below no file system whose server may keep us waiting, as this mountinfo says;
/// and where what it lies in is mounted.
pub fn mount_of(mountinfo: &[u8], path: &Path) -> (bool, PathBuf) {
    let local = mounts::Remote::parse(mountinfo).is_local(path);
    (local, mounts::peers_in(mountinfo, path).point)
}

/// Reads a line of passwd(5) and of group(5): whether it is this user's, and the group's id.
pub fn user_database(line: &str, name: &str, number: u32) -> (bool, Option<u32>) {
    let named = user::passwd_entry(line, &Who::Name(name)).is_some();
    let numbered = user::passwd_entry(line, &Who::Number(number)).is_some();
    (named || numbered, user::group_entry(line).map(|(_, gid, _)| gid))
}
