//! Commands in tasks: through the protocol, and at a terminal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod interactive;
mod isolated;
mod many;
mod node;
#[path = "../foreground/shell.rs"]
#[allow(dead_code, reason = "the tests of the foreground use more of it")]
mod shell;
mod streams;
#[path = "../foreground/support.rs"]
#[allow(dead_code, reason = "the tests of the foreground use more of it")]
mod support;
mod terminals;
