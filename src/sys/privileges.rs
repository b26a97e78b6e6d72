//! What a task gives up of what the supervisor may do, as steps of its child.

use super::capabilities::{self, Own};
use super::landlock;
use super::mounts::Mounts;
use super::program::Step;
use super::seccomp;
use crate::vocabulary::{CapabilitySet, Isolation, StartError};

/// The steps, by where they stand among those of a task without any.
#[derive(Debug, Default)]
pub(super) struct Privileges {
    /// While the child is still what the supervisor is.
    pub(super) first: Vec<Step>,
    /// Just before the change of user, which is done by then as far as groups go.
    pub(super) before_user: Vec<Step>,
    /// Right after it.
    pub(super) after_user: Vec<Step>,
    /// The last ones of all.
    pub(super) last: Vec<Step>,
}

impl Privileges {
    /// A change of capabilities in a child that shares our memory would be a change of who may
    /// look into it, and what is allowed to a child that is restricted is not known to be what the
    /// shared way needs. no_new_privs concerns the exec alone.
    pub(super) fn may_share(&self) -> bool {
        let is_harmless = |step: &Step| matches!(step, Step::NoNewPrivileges);
        self.first.is_empty()
            && self.after_user.is_empty()
            && self.last.is_empty()
            && self.before_user.iter().all(is_harmless)
    }
}

/// Whom a task runs as, in its own user namespace where it has one.
#[derive(Copy, Clone, Debug)]
pub(super) struct Whom {
    pub(super) uid: u32,
    /// It is not whom we run as.
    pub(super) changes: bool,
    pub(super) in_new_user_namespace: bool,
}

/// Lays out what `isolation` asks for.
pub(super) fn lay_out(
    isolation: &Isolation,
    whom: Whom,
    mounts: &mut Mounts,
) -> Result<Privileges, StartError> {
    let mut found = Privileges::default();
    let mut restrictions = Vec::new();
    if let Some(rules) = &isolation.landlock {
        found.first.push(Step::LandlockRules(landlock::rules(rules)?));
        restrictions.push(Step::LandlockRestrict);
    }
    let profile = isolation.seccomp.as_deref().filter(|profile| *profile != "none");
    let own = match isolation.capabilities.is_some() || profile.is_some() {
        true if whom.in_new_user_namespace => Some(Own::in_new_user_namespace()),
        true => Some(Own::find()?),
        false => None,
    };
    let mut kept = own.filter(|_| whom.uid == 0).map(|own| own.permitted).unwrap_or_default();
    if let (Some(names), Some(own)) = (&isolation.capabilities, &own) {
        kept = capabilities::wanted(names, own)?;
        found.set_capabilities(kept, own, whom.changes);
    }
    if let Some(profile) = profile {
        let filters = seccomp::filters(profile, kept, mounts)?;
        restrictions.extend(filters.into_iter().map(Step::Seccomp));
    }
    if isolation.no_new_privs {
        found.before_user.push(Step::NoNewPrivileges);
        found.last = restrictions;
    } else {
        // They need CAP_SYS_ADMIN, which goes with the change of user.
        found.before_user.extend(restrictions);
    }
    Ok(found)
}

impl Privileges {
    fn set_capabilities(&mut self, set: CapabilitySet, own: &Own, user_changes: bool) {
        let surplus = own.bounding.without(set);
        self.first.extend((!surplus.is_empty()).then_some(Step::DropFromBoundingSet(surplus)));
        if user_changes && !set.is_empty() {
            self.first.push(Step::KeepCapabilities);
        }
        self.after_user.push(Step::Capabilities(set));
    }
}
