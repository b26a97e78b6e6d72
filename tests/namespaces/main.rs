//! Namespaces on real programs. `vm.rs` runs all of it once more on a kernel with cgroup v2 alone.

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

mod escapes;
mod life;
mod many;
mod network;
mod probe;
mod program;
mod rest;
mod rootless;
mod support;
mod vm;
