//! What it means when a child could not have or enter a namespace.

use super::failure::start_error;
use super::namespaces::{self, Namespaces};
use super::program::Step;
use crate::vocabulary::{Stage, StartError};
use nix::errno::Errno;

/// The error of a step that makes namespaces, or of one inside of them.
pub(super) fn step_failure(step: &Step, errno: Errno) -> StartError {
    let error = |stage: Stage, tried: &str| start_error(stage, errno, tried);
    let made = |stage: Stage, tried: &str| {
        with_hint(error(stage, tried), namespaces::hint(Namespaces::default(), errno))
    };
    match step {
        Step::Unshare(Namespaces::NET) => made(Stage::Network, "make a network namespace"),
        Step::Unshare(one) => not_made(*one, errno),
        Step::MapIds(_) => {
            error(Stage::Namespace, "map our user into the user namespace of the task")
        }
        Step::Hostname(name) => {
            let name = String::from_utf8_lossy(name);
            made(Stage::Namespace, &format!("set isolation.hostname to {name:?}"))
        }
        Step::Loopback => made(Stage::Network, "bring up the loopback interface"),
        Step::JoinNetwork(path) => {
            let tried = format!("join network namespace {:?}", path.to_string_lossy());
            let hint = match errno {
                Errno::EINVAL => Some("it is no network namespace"),
                Errno::EPERM => Some("it takes CAP_SYS_ADMIN where that was made"),
                _ => None,
            };
            with_hint(error(Stage::Network, &tried), hint)
        }
        Step::InitSignals => error(Stage::Namespace, "set the signals of the init"),
        _ => error(Stage::Clone, "set up the child"),
    }
}

/// The process that was to be the first one in these could not be made.
pub(super) fn not_made(namespaces: Namespaces, errno: Errno) -> StartError {
    let tried = format!("make a {} namespace", namespaces.names());
    with_hint(start_error(Stage::Namespace, errno, tried), namespaces::hint(namespaces, errno))
}

/// The init could not be executed.
pub(super) fn no_init(errno: Errno) -> StartError {
    let hint = match errno {
        Errno::EACCES => Some("does a security module forbid to execute files of memory?"),
        _ => None,
    };
    with_hint(start_error(Stage::Namespace, errno, "execute the init"), hint)
}

/// The namespaces of a living process could not be entered.
pub(super) fn not_entered(errno: Errno) -> StartError {
    let hint = match errno {
        Errno::ESRCH => Some("the process whose they are has ended"),
        Errno::EPERM => Some("it takes CAP_SYS_ADMIN, CAP_SYS_CHROOT and CAP_SYS_PTRACE"),
        _ => None,
    };
    with_hint(start_error(Stage::Namespace, errno, "enter the namespaces of the task"), hint)
}

fn with_hint(error: StartError, hint: Option<&str>) -> StartError {
    match hint {
        Some(hint) => StartError { message: format!("{} ({hint})", error.message), ..error },
        None => error,
    }
}
