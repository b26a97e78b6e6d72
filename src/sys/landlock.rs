//! Landlock (landlock(7)): what is laid out before the clone.

use super::failure::start_error;
use super::raw::call;
use crate::vocabulary::{PathRule, Stage, StartError};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;

/// The first version that has all that `rwx` speaks of: without truncation, a file that may not be
/// written could still be emptied. Later ones add devices, sockets and signals.
const ABI_NEEDED: usize = 3;
/// The release that brought it.
const ABI_NEEDED_SINCE: &str = "Linux 6.2";

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;

/// Everything that ABI 3 can deny.
pub(super) const HANDLED: u64 = (1 << 15) - 1;
/// Rights that a rule about something other than a directory may give.
pub(super) const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;

/// LANDLOCK_RULE_PATH_BENEATH.
pub(super) const PATH_BENEATH: usize = 1;

/// A path below which a task has some rights.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) path: CString,
    /// LANDLOCK_ACCESS_FS_*.
    pub(super) access: u64,
}

/// Why there are no landlock rules here; `None`: there are.
pub(crate) fn why_unavailable() -> Option<String> {
    const VERSION: usize = 1;
    let found = match call(libc::SYS_landlock_create_ruleset, [0, 0, VERSION]) {
        Ok(abi) if abi >= ABI_NEEDED => return None,
        Ok(abi) => format!("this kernel has ABI {abi}"),
        Err(libc::EOPNOTSUPP) => {
            "it is disabled in this kernel (boot with lsm=landlock,...)".into()
        }
        Err(_) => "this kernel has none".into(),
    };
    Some(format!("needs landlock ABI {ABI_NEEDED} ({ABI_NEEDED_SINCE}), {found}"))
}

/// The rules of a task.
pub(super) fn rules(rules: &[PathRule]) -> Result<Box<[Rule]>, StartError> {
    rules
        .iter()
        .map(|rule| {
            let path = CString::new(rule.path.as_str()).map_err(|_| {
                let tried = format!("allow access to {:?}, which has a NUL byte", rule.path);
                start_error(Stage::Landlock, Errno::EINVAL, tried)
            })?;
            Ok(Rule { path, access: access(&rule.access) })
        })
        .collect()
}

fn access(letters: &str) -> u64 {
    letters.chars().fold(0, |access, letter| {
        access
            | match letter {
                'r' => READ_FILE | READ_DIR,
                'x' => EXECUTE,
                'w' => HANDLED & !(READ_FILE | READ_DIR | EXECUTE),
                _ => 0,
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_disjoint_and_whole() {
        assert_eq!(access("r") & access("w") | access("w") & access("x"), 0);
        assert_eq!(access("xwr"), HANDLED);
        for letter in ["r", "w", "x"] {
            assert_ne!(access(letter) & OF_FILES, 0, "{letter}");
        }
    }
}
