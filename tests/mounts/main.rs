//! Roots, mounts and devices through the program: what tasks see, every way out that is known, and
//! what is left behind. `vm.rs` runs all of it once more in a machine that has cgroup v2 alone, and
//! whose own root is an initramfs.

#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/executable.rs"]
mod executable;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/machine.rs"]
mod machine;

mod devices;
mod escape;
mod failures;
mod program;
mod support;
mod vm;
