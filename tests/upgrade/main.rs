//! A daemon that goes on as another program: the same process, its tasks and its clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/calls.rs"]
mod calls;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/executable.rs"]
mod executable;

#[allow(dead_code, reason = "the tests of the foreground use more of it")]
#[path = "../foreground/shell.rs"]
mod shell;
#[allow(dead_code, reason = "the tests of the foreground use more of it")]
#[path = "../foreground/support.rs"]
mod support;

mod clients;
mod failures;
mod fixture;
mod foreground;
mod injected;
mod killed;
mod load;
mod managers;
mod passed;
mod programs;
mod tasks;
mod terminals;
