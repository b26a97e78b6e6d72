//! What a child gives up before its exec. The rules of `child` hold here too.

use super::capabilities;
use super::landlock::{HANDLED, OF_FILES, PATH_BENEATH, Rule};
use super::program::Filter;
use super::raw::{Answer, call};
use crate::vocabulary::CapabilitySet;
use nix::libc;
use std::ffi::CStr;

fn prctl(option: i32, first: usize, second: usize) -> Answer {
    call(libc::SYS_prctl, [option as usize, first, second, 0, 0])
}

fn each(set: CapabilitySet, perform: impl Fn(usize) -> Answer) -> Result<(), i32> {
    for number in 0..64 {
        if set.has(number) {
            perform(usize::from(number))?;
        }
    }
    Ok(())
}

/// Takes these out of the bounding set: no program that is executed can give them.
pub(super) fn drop_from_bounding_set(set: CapabilitySet) -> Result<(), i32> {
    each(set, |number| prctl(libc::PR_CAPBSET_DROP, number, 0))
}

/// A change to another user leaves the permitted set as it is.
pub(super) fn keep_over_change_of_user() -> Result<(), i32> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0).map(drop)
}

/// These, and no others, in every set that outlives an exec. The ambient one makes them work for a
/// user that is not root.
pub(super) fn set(set: CapabilitySet) -> Result<(), i32> {
    let (low, high) = (set.0 as u32, (set.0 >> 32) as u32);
    let header = [capabilities::VERSION, 0];
    let data = [low, low, low, high, high, high];
    call(libc::SYS_capset, [header.as_ptr() as usize, data.as_ptr() as usize])?;
    let raise = libc::PR_CAP_AMBIENT_RAISE as usize;
    each(set, |number| prctl(libc::PR_CAP_AMBIENT, raise, number))
}

pub(super) fn set_no_new_privileges() -> Result<(), i32> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// A rule that failed, or none: the rules as a whole.
pub(super) struct RuleFailure {
    pub(super) rule: Option<usize>,
    pub(super) errno: i32,
}

/// The descriptor of a ruleset, which is closed by the exec.
pub(super) fn make_ruleset(rules: &[Rule]) -> Result<i32, RuleFailure> {
    // struct landlock_ruleset_attr as of ABI 1.
    let handled = HANDLED;
    let pointer = std::ptr::from_ref(&handled) as usize;
    let ruleset = call(libc::SYS_landlock_create_ruleset, [pointer, size_of::<u64>(), 0])
        .map_err(|errno| RuleFailure { rule: None, errno })?;
    for (index, rule) in rules.iter().enumerate() {
        add(ruleset, rule).map_err(|errno| RuleFailure { rule: Some(index), errno })?;
    }
    Ok(ruleset as i32)
}

fn add(ruleset: usize, rule: &Rule) -> Result<(), i32> {
    /// struct landlock_path_beneath_attr.
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    let (parent, access) = match open_path(&rule.path, libc::O_DIRECTORY) {
        Ok(directory) => (directory, rule.access),
        Err(libc::ENOTDIR) => (open_path(&rule.path, 0)?, rule.access & OF_FILES),
        Err(errno) => return Err(errno),
    };
    let beneath = PathBeneath { access, parent: parent as i32 };
    let pointer = std::ptr::from_ref(&beneath) as usize;
    let added = call(libc::SYS_landlock_add_rule, [ruleset, PATH_BENEATH, pointer, 0]);
    let _ = call(libc::SYS_close, [parent]);
    added.map(drop)
}

fn open_path(path: &CStr, flags: i32) -> Answer {
    let flags = (libc::O_PATH | libc::O_CLOEXEC | flags) as usize;
    call(libc::SYS_openat, [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags, 0])
}

pub(super) fn restrict_to(ruleset: i32) -> Result<(), i32> {
    call(libc::SYS_landlock_restrict_self, [ruleset as usize, 0])?;
    call(libc::SYS_close, [ruleset as usize]).map(drop)
}

/// One more filter of system calls, in force at once.
pub(super) fn load(filter: &Filter) -> Result<(), i32> {
    let program = libc::sock_fprog {
        len: filter.instructions.len() as u16,
        filter: filter.instructions.as_ptr().cast_mut().cast(),
    };
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER as usize, filter.flags as usize);
    let pointer = std::ptr::from_ref(&program) as usize;
    call(libc::SYS_seccomp, [mode, flags, pointer]).map(drop)
}
