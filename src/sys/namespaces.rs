//! The namespaces that a task has of its own (namespaces(7)): which they are, how they are made,
//! and why they cannot be had.
//!
//! They are made by the child itself, one after the other, while it is still what the supervisor
//! is; only a pid namespace has to be there when a process is born. Who is not root makes a user
//! namespace first, in which it has every capability, and makes the others inside.

use super::capabilities::{CAP_SYS_ADMIN, Own};
use super::failure::start_error;
use super::host::Host;
use super::init;
use super::mounting;
use super::own_process::kernel_is_at_least;
use super::program::{IdMaps, Step};
use crate::vocabulary::{Isolation, Stage, StartError, TaskSpec};
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::path::Path;

/// A set of namespaces, as the flags CLONE_NEW*.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Namespaces(u32);

impl Namespaces {
    pub(super) const MOUNT: Namespaces = Namespaces(libc::CLONE_NEWNS as u32);
    pub(super) const UTS: Namespaces = Namespaces(libc::CLONE_NEWUTS as u32);
    pub(super) const IPC: Namespaces = Namespaces(libc::CLONE_NEWIPC as u32);
    pub(super) const USER: Namespaces = Namespaces(libc::CLONE_NEWUSER as u32);
    pub(super) const PID: Namespaces = Namespaces(libc::CLONE_NEWPID as u32);
    pub(super) const NET: Namespaces = Namespaces(libc::CLONE_NEWNET as u32);

    /// Those that a task has of its own, the user namespace included that they take.
    pub(super) fn of(isolation: &Isolation, host: &Host) -> Namespaces {
        let wanted = [
            (isolation.pid, Namespaces::PID),
            (isolation.ipc, Namespaces::IPC),
            (isolation.uts, Namespaces::UTS),
            (own_net(isolation).is_some(), Namespaces::NET),
            (wants_mounts(isolation), Namespaces::MOUNT),
        ];
        let set = wanted.into_iter().filter(|(wanted, _)| *wanted);
        let set = set.fold(Namespaces::default(), |set, (_, one)| set.with(one));
        match set.is_empty() || !host.needs_user_namespace() {
            true => set,
            false => set.with(Namespaces::USER),
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, other: Namespaces) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn with(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }

    pub(super) fn and(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 & other.0)
    }

    pub(super) fn without(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 & !other.0)
    }

    /// CLONE_NEW*.
    pub(super) fn flags(self) -> u64 {
        u64::from(self.0)
    }

    /// As in `pid` and `user`, for texts.
    pub(super) fn names(self) -> String {
        let all = [
            (Namespaces::USER, "user"),
            (Namespaces::PID, "pid"),
            (Namespaces::IPC, "ipc"),
            (Namespaces::UTS, "uts"),
            (Namespaces::NET, "network"),
            (Namespaces::MOUNT, "mount"),
        ];
        let names: Vec<&str> =
            all.into_iter().filter(|(one, _)| self.has(*one)).map(|(_, name)| name).collect();
        names.join(" and ")
    }
}

/// The network that is not the supervisor's.
fn own_net(isolation: &Isolation) -> Option<&str> {
    isolation.net.as_deref().filter(|net| *net != "host")
}

/// A new pid namespace wants a /proc of its own.
fn wants_mounts(isolation: &Isolation) -> bool {
    isolation.pid || mounting::field(isolation).is_some()
}

/// How the namespaces of a task are made.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) all: Namespaces,
    /// What the process that makes them is born in.
    pub(super) born_in: Namespaces,
    /// What it does then.
    pub(super) steps: Vec<Step>,
}

/// Lays out what `isolation` asks for.
pub(super) fn lay_out(spec: &TaskSpec, host: &Host) -> Result<Layout, StartError> {
    let Some(isolation) = spec.isolation.as_deref() else { return Ok(Layout::default()) };
    let all = Namespaces::of(isolation, host);
    let born_in = match all.has(Namespaces::PID) {
        // A pid namespace belongs to the user namespace in which it was made.
        true => all.and(Namespaces::PID.with(Namespaces::USER)),
        false => Namespaces::default(),
    };
    let mut steps = Vec::new();
    let unshare = |namespace| (!born_in.has(namespace)).then_some(Step::Unshare(namespace));
    if all.has(Namespaces::USER) {
        steps.extend(unshare(Namespaces::USER));
        steps.push(Step::MapIds(maps(spec, host)));
    }
    if isolation.ipc {
        steps.extend(unshare(Namespaces::IPC));
    }
    if isolation.uts {
        steps.extend(unshare(Namespaces::UTS));
    }
    if let Some(hostname) = &isolation.hostname {
        steps.push(Step::Hostname(hostname.as_bytes().into()));
    }
    match own_net(isolation) {
        None => {}
        Some("none") => {
            steps.extend(unshare(Namespaces::NET));
            steps.push(Step::Loopback);
        }
        Some(path) => steps.push(Step::JoinNetwork(CString::new(path).map_err(|_| {
            let tried = format!("join network namespace {path:?}, which has a NUL byte");
            start_error(Stage::Network, Errno::EINVAL, tried)
        })?)),
    }
    if all.has(Namespaces::MOUNT) {
        steps.extend(unshare(Namespaces::MOUNT));
        steps.push(Step::Mounts(mounting::lay_out(isolation, all.has(Namespaces::USER))?));
    }
    Ok(Layout { all, born_in, steps })
}

/// One user and one group: the kernel lets nobody map more without help. The task is root inside,
/// or where it asks for the supervisor's own user, that.
fn maps(spec: &TaskSpec, host: &Host) -> IdMaps {
    let inside = |own: u32| if spec.user.is_some() { own } else { 0 };
    let line = |own: u32| format!("{} {own} 1", inside(own)).into_bytes().into();
    IdMaps { users: line(host.uid), groups: line(host.gid) }
}

/// Why a field cannot be had.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// Not here, for nobody.
    Unsupported(&'static str, String),
    /// Not for us.
    NotPermitted(&'static str, String),
}

/// The first field of these that is known to be impossible, and why. What else may be in the way
/// (a security module, a limit that is used up) is told by the launch.
pub(crate) fn refusal(isolation: &Isolation) -> Option<Refusal> {
    let mounts = mounting::field(isolation);
    let asked = [
        (mounts.is_some(), mounts.unwrap_or_default(), "mnt"),
        (isolation.pid, "isolation.pid", "pid"),
        (isolation.ipc, "isolation.ipc", "ipc"),
        (isolation.uts, "isolation.uts", "uts"),
        (own_net(isolation).is_some(), "isolation.net", "net"),
    ];
    let mut asked = asked.into_iter().filter(|(asked, ..)| *asked).peekable();
    let (_, first, _) = *asked.peek()?;
    for (_, field, name) in asked {
        if let Some(reason) = unknown(name) {
            return Some(Refusal::Unsupported(field, reason));
        }
    }
    if let Some(field) = mounts.or(isolation.pid.then_some("isolation.pid"))
        && let Some(reason) = mounting::why_unavailable()
    {
        return Some(Refusal::Unsupported(field, reason));
    }
    if isolation.pid
        && let Some(reason) = no_init()
    {
        return Some(Refusal::Unsupported("isolation.pid", reason));
    }
    if let Some(reason) = not_permitted() {
        return Some(Refusal::NotPermitted(first, reason));
    }
    match own_net(isolation) {
        None | Some("none") => None,
        Some(_) if own_right().is_ok_and(|right| right == Right::ByUserNamespace) => {
            let reason = "to join a network takes CAP_SYS_ADMIN where it was made: run the \
                          supervisor as root";
            Some(Refusal::NotPermitted("isolation.net", reason.to_owned()))
        }
        Some(_) => None,
    }
}

/// Whether tasks can have namespaces of their own.
pub(crate) fn are_available() -> bool {
    ["pid", "ipc", "uts", "net"].into_iter().all(|name| unknown(name).is_none())
        && no_init().is_none()
        && not_permitted().is_none()
}

fn unknown(name: &str) -> Option<String> {
    let path = format!("/proc/self/ns/{name}");
    (!Path::new(&path).exists()).then(|| format!("this kernel has no {path}, or /proc is missing"))
}

fn no_init() -> Option<String> {
    if !init::EXISTS {
        return Some("there is no init for this processor yet".to_owned());
    }
    let new_enough = kernel_is_at_least(5, 9);
    (!new_enough).then(|| "needs Linux 5.9 (setns with a pidfd, close_range)".to_owned())
}

/// What namespaces are made with.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Right {
    /// CAP_SYS_ADMIN.
    OfRoot,
    /// In a user namespace of their own.
    ByUserNamespace,
    /// None: root without CAP_SYS_ADMIN, as in a container.
    Missing,
}

/// Ours.
pub(super) fn own_right() -> Result<Right, StartError> {
    let is_admin = Own::find()?.effective.has(CAP_SYS_ADMIN);
    Ok(match (is_admin, nix::unistd::geteuid().is_root()) {
        (true, _) => Right::OfRoot,
        (false, false) => Right::ByUserNamespace,
        (false, true) => Right::Missing,
    })
}

fn not_permitted() -> Option<String> {
    match own_right() {
        Err(error) => Some(error.message),
        Ok(Right::OfRoot) => None,
        Ok(Right::Missing) => {
            Some("it takes CAP_SYS_ADMIN, which the supervisor does not have".to_owned())
        }
        Ok(Right::ByUserNamespace) => unknown("user").or_else(|| {
            let switches = ["user/max_user_namespaces", "kernel/unprivileged_userns_clone"];
            let off = switches.into_iter().find(|switch| is_zero(switch))?;
            Some(format!(
                "without root it takes a user namespace, and /proc/sys/{off} is 0: run the \
                 supervisor as root"
            ))
        }),
    }
}

fn is_zero(switch: &str) -> bool {
    let value = std::fs::read_to_string(Path::new("/proc/sys").join(switch));
    value.is_ok_and(|value| value.trim() == "0")
}

/// What may be in the way of a new namespace, beyond what its errno says.
pub(super) fn hint(namespaces: Namespaces, errno: Errno) -> Option<&'static str> {
    let user = namespaces.has(Namespaces::USER);
    match errno {
        Errno::ENOSPC | Errno::EUSERS => {
            Some("a limit of /proc/sys/user/max_*_namespaces is reached, or 32 of them are nested")
        }
        Errno::EPERM if user => Some(
            "user namespaces are forbidden to this user: by kernel.unprivileged_userns_clone, by \
             seccomp or a security module of the system, or because the supervisor is in a chroot",
        ),
        Errno::EPERM | Errno::EACCES => Some(
            "a security module may have taken the rights away that a user namespace gives: see \
             /proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        ),
        Errno::EINVAL | Errno::ENOSYS => Some("this kernel has none"),
        _ => None,
    }
}
