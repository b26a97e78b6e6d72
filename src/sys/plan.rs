//! From a task to what its child does. Everything is looked up and laid out here: the last
//! allocation of a launch.

use super::environment;
use super::executable::{self, Candidates};
use super::explain;
use super::failure::start_error;
use super::host::{Host, TIMER_SLACK_DEFAULT};
use super::mounting;
use super::mounts::Mounts;
use super::namespaces::{self, Layout, Namespaces};
use super::plan_init;
use super::privileges::{self, Privileges, Whom};
use super::program::{Limit, Named, Program, Step, Strings, Target, TaskDirectory};
use super::user::{self, User};
use crate::vocabulary::{Resources, Setting, Signal, Stage, StartError, TaskSpec, parse_rlimit};
use nix::errno::Errno;
use nix::sys::resource::Resource;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The umask of a task that does not say.
pub(super) const UMASK_DEFAULT: u32 = 0o022;

/// A launch, all but its streams and its group.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) program: Arc<Program>,
    /// The child may share our memory until its exec.
    pub(super) may_share: bool,
    pub(super) user: Option<(u32, u32)>,
    /// The only devices that the task may use, as the devices controller takes them.
    device_rules: Option<Box<[String]>>,
    /// Those of its own that it has, or that it enters.
    pub(super) namespaces: Namespaces,
    /// What has to be there first, where it has a pid namespace of its own.
    pub(super) init: Option<InitPlan>,
}

/// The init of a task. It makes all namespaces of the task, whose main process then enters them.
#[derive(Clone, Debug)]
pub(super) struct InitPlan {
    pub(super) program: Arc<Program>,
    pub(super) born_in: Namespaces,
}

/// Where a program runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In namespaces that are made for it.
    New,
    /// In those of a task that lives; with `terminal` its streams are one, which becomes the
    /// controlling one of its session.
    Inside { terminal: bool },
}

impl Plan {
    /// The only devices that the task may use, as the devices controller of cgroup v1 takes them.
    pub(crate) fn device_rules(&self) -> Option<&[String]> {
        self.device_rules.as_deref()
    }

    /// Uid and gid that what is made for the task has to belong to; `None`: our own.
    pub(crate) fn owner(&self) -> Option<(u32, u32)> {
        self.user
    }

    /// Whether what it is for has namespaces that are not ours.
    pub(crate) fn has_namespaces(&self) -> bool {
        !self.namespaces.is_empty()
    }
}

/// Lays out the launch of a task that has passed `TaskSpec::validate`.
pub(super) fn make(
    spec: &TaskSpec,
    place: Place,
    host: &Host,
    mounts: &mut Mounts,
) -> Result<Plan, StartError> {
    let environment = environment::of_task(spec, std::env::vars_os);
    let candidates = executable::candidates(spec, &environment, own_path);
    if candidates.paths.is_empty() {
        return Err(explain::nowhere(&spec.command, &candidates.searched));
    }
    let user = change_of_user(spec, host)?;
    let mut layout = namespaces::lay_out(spec, host)?;
    let namespaces = layout.all;
    let privileges = match spec.isolation.as_deref() {
        Some(isolation) => {
            let whom = whom(spec, host, user.as_ref(), namespaces);
            privileges::lay_out(isolation, whom, mounts)?
        }
        None => Privileges::default(),
    };
    let init =
        plan_init::take(spec, host, user.as_ref(), &mut layout)?.filter(|_| place == Place::New);
    if place != Place::New {
        layout.steps.clear();
    }
    let may_share = namespaces.is_empty()
        && privileges.may_share()
        && !(user.is_some() && (host.user_change_is_open || spec.die_with_supervisor))
        && mounts.are_local(paths(spec, &candidates));
    let mut steps = steps(spec, host, &candidates, user.as_ref(), layout, privileges)?;
    if place == (Place::Inside { terminal: true }) {
        take_terminal(&mut steps);
    }
    let program = Program {
        steps,
        target: Target::Command,
        candidates: strings("command", candidates.paths.iter().map(|p| p.as_os_str().as_bytes()))?,
        arguments: Strings::new(strings(
            "args",
            // The first one becomes the path that was found.
            std::iter::once(&spec.command).chain(&spec.args).map(String::as_bytes),
        )?),
        environment: Strings::new(strings("env", environment.iter().map(Vec::as_slice))?),
        ignored_signals: host.ignored_signals(),
        named: named(spec, host, candidates.searched),
    };
    let user = user.map(|user| (user.uid, user.gid));
    let devices = spec.isolation.as_deref().and_then(|isolation| isolation.devices.as_deref());
    let device_rules = devices.map(mounting::device_rules).transpose()?;
    if let Some(isolation) = spec.isolation.as_deref() {
        mounting::check_peers(isolation, namespaces.has(Namespaces::USER), mounts)?;
    }
    Ok(Plan { program: Arc::new(program), may_share, user, device_rules, namespaces, init })
}

/// Behind the step that brings the streams to their places.
fn take_terminal(steps: &mut Vec<Step>) {
    let streams = steps.iter().position(|step| matches!(step, Step::Descriptors));
    steps.insert(streams.map_or(0, |place| place + 1), Step::ControllingTerminal);
}

fn whom(spec: &TaskSpec, host: &Host, user: Option<&User>, namespaces: Namespaces) -> Whom {
    let in_new_user_namespace = namespaces.has(Namespaces::USER);
    let uid = match user {
        // See the maps of its user namespace.
        None if in_new_user_namespace && spec.user.is_none() => 0,
        None => host.uid,
        Some(user) => user.uid,
    };
    Whom { uid, changes: user.is_some_and(|user| user.uid != host.uid), in_new_user_namespace }
}

/// What the texts of errors name.
pub(super) fn named(spec: &TaskSpec, host: &Host, searched: String) -> Named {
    Named {
        command: spec.command.clone(),
        searched,
        user: spec.user.clone(),
        own_uid: host.uid,
        root: spec.root().map(str::to_owned),
        memory_is_limited: is_memory_limited(spec),
    }
}

fn own_path() -> Option<OsString> {
    std::env::var_os("PATH")
}

/// What the child resolves before its exec.
fn paths<'a>(spec: &'a TaskSpec, found: &'a Candidates) -> impl Iterator<Item = &'a Path> {
    let directories = [Some(spec.work_dir()), spec.task_dir.as_deref()];
    let directories = directories.into_iter().flatten().map(Path::new);
    directories.chain(found.paths.iter().map(|path| path.as_path()))
}

/// `None`: the child stays what we are.
fn change_of_user(spec: &TaskSpec, host: &Host) -> Result<Option<User>, StartError> {
    let Some(wanted) = &spec.user else { return Ok(None) };
    let user = user::SYSTEM.resolve(wanted)?;
    if host.can_change_user {
        return Ok(Some(user));
    }
    if (user.uid, user.gid) == (host.uid, host.gid) {
        return Ok(None);
    }
    let tried = format!(
        "change to user {wanted:?} (uid {}, gid {}) from uid {} without CAP_SETUID and CAP_SETGID; \
         run the supervisor as root",
        user.uid, user.gid, host.uid
    );
    Err(start_error(Stage::User, Errno::EPERM, tried))
}

pub(super) fn strings<'a>(
    field: &str,
    texts: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<CString>, StartError> {
    texts.map(|text| string(field, text)).collect()
}

fn string(field: &str, text: &[u8]) -> Result<CString, StartError> {
    CString::new(text).map_err(|_| {
        start_error(Stage::Exec, Errno::EINVAL, format!("pass {field}, which has a NUL byte in it"))
    })
}

/// In the order in which the child does them. See the variants for the reasons of that order.
fn steps(
    spec: &TaskSpec,
    host: &Host,
    candidates: &Candidates,
    user: Option<&User>,
    namespaces: Layout,
    privileges: Privileges,
) -> Result<Vec<Step>, StartError> {
    let mut steps = Vec::with_capacity(16);
    if spec.foreground {
        steps.extend([Step::NewGroup, Step::Descriptors, Step::Foreground]);
    } else {
        steps.extend([Step::NewSession, Step::Descriptors]);
    }
    match spec.umask {
        Setting::Default => steps.push(Step::Umask(UMASK_DEFAULT)),
        Setting::Inherit => {}
        Setting::To(mask) => steps.push(Step::Umask(mask)),
    }
    // A task on the caller's own stream stands in for the caller: it keeps what that has set up.
    if !spec.foreground && !spec.inherit_stdin {
        inherited(host, &mut steps);
    }
    steps.extend(priorities(spec, host));
    // Paths are looked up inside from here on.
    steps.extend(namespaces.steps);
    if let Some(task_dir) = &spec.task_dir {
        let commands = executable::in_task_directory(task_dir, candidates);
        steps.push(Step::TaskDirectory(TaskDirectory {
            path: string("task_dir", task_dir.as_bytes())?,
            commands: strings("command", commands.map(|path| path.as_os_str().as_bytes()))?,
            user: user.map_or(host.uid, |user| user.uid),
            own_user: host.uid,
        }));
    }
    steps.push(Step::WorkDirectory(string("work_dir", spec.work_dir().as_bytes())?));
    steps.extend(privileges.first);
    // After everything that opens a file: there may be no descriptor left then.
    steps.extend(limits(spec, host)?.into_iter().map(Step::Limit));
    if let Some(user) = user {
        steps.extend([Step::Groups(user.groups.clone().into()), Step::Group(user.gid)]);
    }
    steps.push(Step::Signals);
    steps.extend(privileges.before_user);
    steps.extend(user.map(|user| Step::User(user.uid)));
    steps.extend(privileges.after_user);
    if spec.die_with_supervisor {
        steps.push(Step::DeathSignal(Signal::KILL.number()));
    }
    steps.extend(privileges.last);
    Ok(steps)
}

pub(super) fn priorities(spec: &TaskSpec, host: &Host) -> impl Iterator<Item = Step> {
    let score = |score: i32| Step::OomScore(score.to_string().into_bytes().into());
    let nice = to_set(spec.nice, host.nice).map(Step::Nice);
    nice.into_iter().chain(to_set(spec.oom_score_adj, host.oom_score_adj).map(score))
}

/// What a task must not have from us by accident.
pub(super) fn inherited(host: &Host, steps: &mut Vec<Step>) {
    let unusual = &host.unusual;
    steps.extend(unusual.scheduler.then_some(Step::Scheduler));
    steps.extend(unusual.affinity.clone().map(Step::Affinity));
    steps.extend(unusual.timer_slack.then_some(Step::TimerSlack(TIMER_SLACK_DEFAULT)));
    steps.extend(unusual.memory_policy.then_some(Step::MemoryPolicy));
    steps.push(Step::Keyring);
    steps.extend(unusual.securebits.then_some(Step::Securebits));
    steps.extend(unusual.ambient.then_some(Step::Ambient));
}

/// The value to set, where it is not ours already. Without a wish a task does not share our
/// privilege over others, a value below 0; to lower one that is above needs rights that we may not
/// have.
fn to_set(wanted: Setting<i32>, own: i32) -> Option<i32> {
    match wanted {
        Setting::Default => (own < 0).then_some(0),
        Setting::Inherit => None,
        Setting::To(value) => (value != own).then_some(value),
    }
}

fn limits(spec: &TaskSpec, host: &Host) -> Result<Vec<Limit>, StartError> {
    let mut limits = Vec::new();
    if let Some((soft, hard)) = host.nofile_before
        && !spec.rlimits.contains_key("nofile")
    {
        let resource = Resource::RLIMIT_NOFILE as u32;
        limits.push(Limit { resource, name: "nofile".into(), soft, hard });
    }
    for (name, value) in &spec.rlimits {
        let refused = |reason: String| {
            let tried = format!("set rlimits.{name} to {value:?}, which {reason}");
            start_error(Stage::Limits, Errno::EINVAL, tried)
        };
        let (soft, hard) = parse_rlimit(value).map_err(refused)?;
        let resource = resource(name).ok_or_else(|| refused("is no limit".into()))?;
        limits.push(Limit { resource, name: name.clone(), soft, hard });
    }
    Ok(limits)
}

fn resource(name: &str) -> Option<u32> {
    let resource = match name {
        "as" => Resource::RLIMIT_AS,
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    };
    Some(resource as u32)
}

fn is_memory_limited(spec: &TaskSpec) -> bool {
    let by_group = |resources: &Resources| matches!(resources.memory_max, Some(Some(_)));
    spec.resources.as_deref().is_some_and(by_group)
        || ["as", "data", "stack"].iter().any(|name| spec.rlimits.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privilege_of_the_supervisor_is_not_passed_on() {
        assert_eq!(to_set(Setting::Default, -900), Some(0));
        assert_eq!(to_set(Setting::Default, 200), None);
        assert_eq!(to_set(Setting::Inherit, -900), None);
        assert_eq!(to_set(Setting::To(5), 5), None);
        assert_eq!(to_set(Setting::To(-5), 5), Some(-5));
    }

    #[test]
    fn every_limit_of_the_vocabulary_is_known() {
        for name in crate::vocabulary::RLIMIT_NAMES {
            assert!(resource(name).is_some(), "{name}");
        }
    }
}
