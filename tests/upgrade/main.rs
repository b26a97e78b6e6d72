//! A daemon that goes on as another program: the same process, its tasks and its clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/calls.rs"]
mod calls;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/executable.rs"]
mod executable;

mod clients;
mod failures;
mod fixture;
mod foreground;
mod injected;
mod load;
mod managers;
mod programs;
mod tasks;
