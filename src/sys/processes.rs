//! Which processes there are, from /proc: for tasks that no cgroup holds together.

use super::faults;
use crate::vocabulary::{Pid, Signal};
use nix::errno::Errno;
use nix::libc;

/// What /proc/PID/stat says of a process's family.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Family {
    /// `Z` and `X` are dead.
    pub(crate) dead: bool,
    /// Its parent; 0 for none.
    pub(crate) parent: i32,
    /// Its process group.
    pub(crate) group: i32,
    /// Its session.
    pub(crate) session: i32,
}

/// The family of a process, if it is there.
pub(crate) fn family(pid: Pid) -> Option<Family> {
    faults::check("read(/proc/PID/stat)").ok()?;
    parse_stat(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The command name in the second field may hold anything, so the fields are counted behind the
/// last parenthesis (proc_pid_stat(5)).
pub(super) fn parse_stat(stat: &[u8]) -> Option<Family> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = || fields.next()?.parse().ok();
    Some(Family { dead, parent: number()?, group: number()?, session: number()? })
}

/// Our own children: those we made and the orphans we were given. Costs 0.7 us for each.
/// `None` where the kernel does not list them (no CONFIG_PROC_CHILDREN).
pub(crate) fn own_children() -> Option<Vec<Pid>> {
    children(nix::unistd::getpid().as_raw())
}

/// The children of a process, of all its threads.
fn children(pid: i32) -> Option<Vec<Pid>> {
    faults::check("read(/proc/PID/task/TID/children)").ok()?;
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).ok()?;
        found.extend(list.split_ascii_whitespace().filter_map(|n| Pid::new(n.parse().ok()?)));
    }
    Some(found)
}

/// Every descendant of a process, nearest first.
pub(crate) fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = children(pid.number()).unwrap_or_default();
    let mut next = 0;
    while let Some(&child) = found.get(next) {
        next += 1;
        for grandchild in children(child.number()).unwrap_or_default() {
            // A fork bomb may outrun us; what is missed is found by the next look.
            if found.len() < DESCENDANTS_MAX && !found.contains(&grandchild) {
                found.push(grandchild);
            }
        }
    }
    found
}

/// Most descendants that one look follows.
const DESCENDANTS_MAX: usize = 4096;

/// Every process of the system that we can see.
pub(crate) fn all() -> Vec<Pid> {
    if faults::check("getdents64(/proc)").is_err() {
        return Vec::new();
    }
    let Ok(proc) = std::fs::read_dir("/proc") else { return Vec::new() };
    proc.flatten().filter_map(|entry| Pid::new(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Whether a process has this number, a zombie included.
pub(crate) fn exists(pid: Pid) -> bool {
    kill_number(pid.number(), 0) != Err(Errno::ESRCH)
}

/// Signals a process by number: only for a child that is not reaped, or a member of a process
/// group or session that is known to be a task's.
pub(crate) fn kill(pid: Pid, signal: Signal) -> Result<(), Errno> {
    kill_number(pid.number(), signal.number())
}

/// Signals every member of the process group that this process leads.
pub(crate) fn kill_group(leader: Pid, signal: Signal) -> Result<(), Errno> {
    kill_number(-leader.number(), signal.number())
}

fn kill_number(pid: i32, signal: i32) -> Result<(), Errno> {
    faults::check("kill")?;
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_may_hold_anything() {
        let stat = b"7 (a) R 1 2 3) S 5 6 7 34816 7 4194304";
        let family = parse_stat(stat).unwrap();
        assert_eq!(family, Family { dead: false, parent: 5, group: 6, session: 7 });
        assert_eq!(parse_stat(b"7 (x) Z 1 2 3 0").map(|f| f.dead), Some(true));
        for torn in [&b""[..], b"7 (x", b"7 (x) S", b"7 (x) S 1 2", b"7 (x) S a b c"] {
            assert_eq!(parse_stat(torn), None);
        }
    }

    #[test]
    fn a_child_is_found_among_ours() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        assert!(own_children().unwrap().contains(&pid));
        assert!(all().contains(&pid));
        assert_eq!(family(pid).unwrap().parent, std::process::id() as i32);
        kill(pid, Signal::KILL).unwrap();
        child.wait().unwrap();
        assert_eq!(family(pid), None);
    }
}
