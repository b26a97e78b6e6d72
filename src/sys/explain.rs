//! What a child's report means, in words.

use super::child::Place;
use super::explain_namespaces;
use super::explain_privileges;
use super::failure::start_error;
use super::mounting;
use super::program::{Limit, Program, Step, Target};
use crate::vocabulary::{Stage, StartError, Wall};
use nix::errno::Errno;
use std::ffi::CString;

/// The error of a start whose child failed at `place`.
pub(super) fn failure(program: &Program, place: Place, index: usize, errno: i32) -> StartError {
    let errno = Errno::from_raw(errno);
    let path = || {
        let path = program.candidates.get(index);
        format!("execute {:?}", path.map(|path| path.to_string_lossy()).unwrap_or_default())
    };
    let hint = |text: &str| {
        let error = start_error(Stage::Exec, errno, path());
        StartError { message: format!("{} ({text})", error.message), ..error }
    };
    let error = match place {
        Place::Unshare => {
            start_error(Stage::Clone, errno, "give the child a descriptor table of its own")
        }
        Place::Join => start_error(Stage::Cgroup, errno, "put the child into its cgroup"),
        Place::Step => match program.steps.get(index) {
            Some(step) => {
                let error = step_failure(program, step, errno);
                explain_privileges::after_filter(program, index, error)
            }
            None => start_error(Stage::Clone, errno, "set up the child"),
        },
        Place::Lookup => not_found(program, errno),
        Place::NotExecutable => hint(&format!(
            "no execute bit for user {}; chmod +x, or put it in task_dir",
            program.named.user()
        )),
        Place::IsDirectory => hint("it is a directory"),
        Place::Unsearchable => hint(&format!(
            "user {} may not search a directory on the way to it",
            program.named.user()
        )),
        Place::Rule => explain_privileges::rule_failure(program, index, errno),
        Place::Mount | Place::MountPoint => {
            mount_failure(program, index, place == Place::MountPoint, errno)
        }
        Place::Enter => explain_namespaces::not_entered(errno),
        Place::Exec if program.target == Target::Init => explain_namespaces::no_init(errno),
        Place::Exec => match exec_reason(program, errno) {
            Some(reason) => hint(reason),
            None => start_error(Stage::Exec, errno, path()),
        },
    };
    match &program.named.root {
        Some(root) if matches!(error.stage, Stage::Lookup | Stage::Directory | Stage::Exec) => {
            StartError { message: format!("{} (inside root {root:?})", error.message), ..error }
        }
        _ => error,
    }
}

fn mount_failure(program: &Program, index: usize, at_target: bool, errno: Errno) -> StartError {
    let failure = mounting::child::Failure { index, at_target, errno: errno as i32 };
    let layout = program.steps.iter().find_map(|step| match step {
        Step::Mounts(layout) => Some(layout),
        _ => None,
    });
    match layout {
        Some(layout) => mounting::explain::failure(layout, &failure),
        None => start_error(Stage::Mount, errno, "make the mounts of the task"),
    }
}

fn exec_reason(program: &Program, errno: Errno) -> Option<&'static str> {
    if let Some(reason) = explain_privileges::exec_reason(program, errno) {
        return Some(reason);
    }
    match errno {
        Errno::ENOENT | Errno::ENOTDIR => Some(
            "the file is there, but not the interpreter that its first line or its header names",
        ),
        Errno::ENOEXEC => Some("not a program: no #! line?"),
        Errno::EACCES => {
            Some("on a file system that is mounted noexec, or its interpreter cannot be executed")
        }
        Errno::E2BIG if program.named.memory_is_limited => Some(
            "arguments and environment do not fit the task's memory limit or stack limit; \
             raise memory_max or rlimits.stack",
        ),
        Errno::E2BIG => Some("arguments and environment are too long"),
        Errno::EAGAIN => Some("the user has as many processes as its limit nproc allows"),
        Errno::ENOMEM => Some("memory, or the task's memory limit, is used up"),
        Errno::ETXTBSY => Some("the file is open for writing"),
        _ => None,
    }
}

/// What was looked for was nowhere.
fn not_found(program: &Program, errno: Errno) -> StartError {
    let named = &program.named;
    let tried = format!("find command {:?}", named.command);
    if named.searched.is_empty() {
        let path = program.candidates.first().map(|path| path.to_string_lossy());
        let path = path.unwrap_or_default();
        let tried = match path == named.command.as_str() {
            true => tried,
            false => format!("{tried} as {path:?}"),
        };
        return start_error(Stage::Lookup, errno, tried);
    }
    nowhere(&named.command, &named.searched)
}

/// A command of one word that is nowhere.
pub(super) fn nowhere(command: &str, searched: &str) -> StartError {
    let error = start_error(Stage::Lookup, Errno::ENOENT, "");
    StartError { message: format!("find command {command:?}: not in {searched}"), ..error }
}

fn step_failure(program: &Program, step: &Step, errno: Errno) -> StartError {
    let error = |stage: Stage, tried: &str| start_error(stage, errno, tried);
    let user = program.named.user();
    match step {
        Step::NewSession => error(Stage::Clone, "start a session"),
        Step::NewGroup => error(Stage::Clone, "start a process group"),
        Step::Descriptors => error(Stage::Clone, "arrange the child's descriptors"),
        Step::ControllingTerminal => {
            error(Stage::Clone, "take the terminal as the controlling one of its session")
        }
        Step::Foreground => {
            error(Stage::Clone, "become the foreground group of the terminal on standard input")
        }
        Step::Umask(mask) => error(Stage::Limits, &format!("set umask to {mask:03o}")),
        Step::Scheduler => error(Stage::Limits, "set the scheduling policy to its default"),
        Step::Nice(nice) => error(Stage::Limits, &format!("set nice to {nice}")),
        Step::OomScore(score) => {
            let score = String::from_utf8_lossy(score);
            error(Stage::Limits, &format!("set oom_score_adj to {score} in /proc"))
        }
        Step::Affinity(_) => error(Stage::Limits, "set the CPU affinity to its default"),
        Step::TimerSlack(_) => error(Stage::Limits, "set the timer slack to its default"),
        Step::MemoryPolicy => error(Stage::Limits, "set the memory policy to its default"),
        Step::Keyring => error(Stage::Clone, "start a session keyring"),
        Step::Mounts(_) => error(Stage::Mount, "make the mounts of the task"),
        Step::TaskDirectory(directory) => {
            error(Stage::Directory, &format!("use task directory {}", quoted(&directory.path)))
        }
        Step::WorkDirectory(path) => {
            error(Stage::Directory, &format!("change to directory {}", quoted(path)))
        }
        Step::Securebits => error(Stage::Capabilities, "clear the securebits"),
        Step::Ambient => error(Stage::Capabilities, "clear the ambient capabilities"),
        Step::Limit(limit) => limit_failure(limit, errno),
        Step::Groups(_) => error(Stage::User, &format!("take the groups of user {user:?}")),
        Step::Group(gid) => error(Stage::User, &format!("change to group {gid} of user {user:?}")),
        Step::Signals => error(Stage::Clone, "set the signals to their default actions"),
        Step::User(uid) => error(Stage::User, &format!("change to user {user:?} (uid {uid})")),
        Step::DeathSignal(_) => error(Stage::Clone, "tie the task's life to the supervisor's"),
        Step::DropFromBoundingSet(_)
        | Step::KeepCapabilities
        | Step::Capabilities(_)
        | Step::NoNewPrivileges
        | Step::LandlockRules(_)
        | Step::LandlockRestrict
        | Step::Seccomp(_) => explain_privileges::step_failure(step, errno),
        Step::Unshare(_)
        | Step::MapIds(_)
        | Step::Hostname(_)
        | Step::Loopback
        | Step::JoinNetwork(_)
        | Step::InitSignals => explain_namespaces::step_failure(step, errno),
    }
}

fn limit_failure(limit: &Limit, errno: Errno) -> StartError {
    let one = |value: u64| match value {
        u64::MAX => "unlimited".to_owned(),
        value => value.to_string(),
    };
    let (soft, hard) = (one(limit.soft), one(limit.hard));
    let mut error =
        start_error(Stage::Limits, errno, format!("set rlimits.{} to {soft}:{hard}", limit.name));
    if errno == Errno::EPERM {
        error.message.push_str(" (above the hard limit of the supervisor)");
    }
    error
}

fn quoted(path: &CString) -> String {
    format!("{:?}", path.to_string_lossy())
}

/// The child ended before its exec and could not say why.
pub(super) fn died() -> StartError {
    StartError {
        stage: Stage::Clone,
        errno: 0,
        errno_name: String::new(),
        message: "set up the child: it was killed before it could execute the command \
                  (out of memory, or its cgroup is being killed)"
            .to_owned(),
        retry: true,
        time: Wall::default(),
    }
}

/// The process could not be made.
pub(super) fn clone_failure(errno: Errno, into_group: bool) -> StartError {
    match errno {
        Errno::EAGAIN => {
            let error = start_error(Stage::Clone, errno, "make the process");
            let hint = "a pids limit of a cgroup, the limit nproc of the user, or the system's \
                        limit of processes is reached";
            StartError { message: format!("{} ({hint})", error.message), ..error }
        }
        Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENODEV if into_group => {
            start_error(Stage::Cgroup, errno, "make the process in its cgroup")
        }
        _ => start_error(Stage::Clone, errno, "make the process"),
    }
}
