//! Limits on real programs, with whatever controllers this machine has: v1 beside v2, or v2 alone.
//! `vm.rs` runs all of it once more in a machine that has v2 alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/executable.rs"]
mod executable;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/machine.rs"]
mod machine;

#[allow(dead_code)]
#[path = "../supervisor/fixture.rs"]
mod fixture;

mod delegated;
mod enforced;
#[cfg(feature = "stats")]
mod figures;
mod oom_group;
mod program;
mod refused;
mod support;
mod updated;
mod vm;
mod wanted;
