//! What it means when a child could not give up what it was to give up, or could not go on after
//! it.

use super::failure::start_error;
use super::program::{Program, Step};
use crate::vocabulary::{Stage, StartError};
use nix::errno::Errno;

const CAPABILITIES: Stage = Stage::Capabilities;

/// The error of a step that changes privileges.
pub(super) fn step_failure(step: &Step, errno: Errno) -> StartError {
    let error = |stage: Stage, tried: &str| start_error(stage, errno, tried);
    let needs_right = |error: StartError| match errno {
        Errno::EPERM | Errno::EACCES => {
            with_hint(error, "it takes CAP_SYS_ADMIN of the supervisor, or isolation.no_new_privs")
        }
        _ => error,
    };
    match step {
        Step::DropFromBoundingSet(set) => {
            error(CAPABILITIES, &format!("drop {} from the bounding set", set.names()))
        }
        Step::KeepCapabilities => error(CAPABILITIES, "keep capabilities over the change of user"),
        Step::Capabilities(set) if set.is_empty() => {
            error(CAPABILITIES, "give up every capability")
        }
        Step::Capabilities(set) => {
            error(CAPABILITIES, &format!("give the task exactly {}", set.names()))
        }
        Step::NoNewPrivileges => error(CAPABILITIES, "set no_new_privs"),
        Step::LandlockRules(_) => error(Stage::Landlock, "make landlock rules"),
        Step::LandlockRestrict => needs_right(error(Stage::Landlock, "apply landlock rules")),
        Step::Seccomp(_) => needs_right(error(Stage::Seccomp, "load the seccomp filter")),
        _ => error(Stage::Clone, "set up the child"),
    }
}

/// The landlock rule `index` was refused.
pub(super) fn rule_failure(program: &Program, index: usize, errno: Errno) -> StartError {
    let rules = program.steps.iter().find_map(|step| match step {
        Step::LandlockRules(rules) => rules.get(index),
        _ => None,
    });
    let path = rules.map(|rule| rule.path.to_string_lossy()).unwrap_or_default();
    let tried = format!("allow access to {path:?} (isolation.landlock[{index}])");
    start_error(Stage::Landlock, errno, tried)
}

/// Says so where a filter was in force before the step `index` failed.
pub(super) fn after_filter(program: &Program, index: usize, error: StartError) -> StartError {
    let filtered = program.steps.iter().take(index).any(|step| matches!(step, Step::Seccomp(_)));
    match filtered {
        true => with_hint(
            error,
            "the seccomp profile is in force by then: it has to allow setresuid, capset, prctl \
             and seccomp, or isolation.no_new_privs has to be set",
        ),
        false => error,
    }
}

/// Why an exec may be refused to a task with these restrictions.
pub(super) fn exec_reason(program: &Program, errno: Errno) -> Option<&'static str> {
    let has = |wanted: fn(&Step) -> bool| program.steps.iter().any(wanted);
    match errno {
        Errno::EPERM if has(|step| matches!(step, Step::Seccomp(_))) => {
            Some("does the seccomp profile allow execve?")
        }
        Errno::EACCES if has(|step| matches!(step, Step::LandlockRestrict)) => Some(
            "no rule of isolation.landlock allows x for it, or r and x for its interpreter or \
             dynamic linker, or it is on a file system that is mounted noexec",
        ),
        _ => None,
    }
}

fn with_hint(error: StartError, hint: &str) -> StartError {
    StartError { message: format!("{} ({hint})", error.message), ..error }
}
