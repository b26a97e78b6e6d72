//! `ostler keeper`, with a daemon of the tests' own and with the real one.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/machine.rs"]
mod machine;

mod descriptors;
mod exits;
mod fixture;
mod flood;
mod hostile;
mod life;
mod manager;
mod node;
mod scarce;
mod size;
#[path = "../foreground/support.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;
mod tasks;
mod times;
mod unit;
mod vm;
