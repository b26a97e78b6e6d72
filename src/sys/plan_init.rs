//! What the init of a task does before it is one.
//!
//! It makes the namespaces and mounts everything, as the supervisor; then it becomes the task's
//! user without any right. So it is nobody through whom a task could get out: it has the task's
//! own root, no descriptor, no capability, and nobody may trace it who has no CAP_SYS_PTRACE.

use super::host::Host;
use super::init;
use super::init_filter;
use super::namespaces::{Layout, Namespaces};
use super::plan::{self, InitPlan};
use super::program::{Program, Step, Strings, Target};
use super::user::User;
use crate::vocabulary::{CapabilitySet, Signal, StartError, TaskSpec};
use std::sync::Arc;

/// Takes the making of the namespaces out of the main process's part, where an init has to be there
/// before it.
pub(super) fn take(
    spec: &TaskSpec,
    host: &Host,
    user: Option<&User>,
    layout: &mut Layout,
) -> Result<Option<InitPlan>, StartError> {
    if !layout.all.has(Namespaces::PID) {
        return Ok(None);
    }
    let own = std::mem::take(&mut layout.steps);
    let program = Program {
        steps: steps(spec, host, user, own),
        target: Target::Init,
        candidates: Vec::new(),
        arguments: Strings::new(plan::strings("the init", [&b"ostler-init"[..]].into_iter())?),
        environment: Strings::new(Vec::new()),
        ignored_signals: host.ignored_signals(),
        named: plan::named(spec, host, String::new()),
    };
    Ok(Some(InitPlan { program: Arc::new(program), born_in: layout.born_in }))
}

fn steps(spec: &TaskSpec, host: &Host, user: Option<&User>, own: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![Step::NewSession, Step::Descriptors, Step::Umask(plan::UMASK_DEFAULT)];
    plan::inherited(host, &mut steps);
    steps.extend(plan::priorities(spec, host));
    steps.extend(own);
    if let Some(user) = user {
        steps.extend([Step::Groups(user.groups.clone().into()), Step::Group(user.gid)]);
    }
    // Without it root would have every capability again after its exec.
    steps.push(Step::NoNewPrivileges);
    steps.extend(user.map(|user| Step::User(user.uid)));
    steps.push(Step::Capabilities(CapabilitySet::default()));
    let of_death = if spec.die_with_supervisor { Signal::KILL } else { init::LEAVE };
    // Blocked before it can come: the kernel drops what the first process of a namespace does not
    // block, and it comes once.
    steps.extend([Step::Signals, Step::InitSignals, Step::DeathSignal(of_death.number())]);
    let profile = spec.isolation.as_deref().and_then(|isolation| isolation.seccomp.as_deref());
    if profile.is_some_and(|profile| profile != "none") {
        steps.push(Step::Seccomp(init_filter::filter()));
    }
    steps
}
