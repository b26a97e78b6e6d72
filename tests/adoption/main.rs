//! A daemon that is killed, and the next one in the same state directory, which goes on with its
//! tasks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/calls.rs"]
mod calls;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/executable.rs"]
mod executable;
#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/machine.rs"]
mod machine;

mod clock;
mod ends;
mod fixture;
mod groups;
mod load;
mod scale;
mod scarce;
mod socket;
mod state;
mod tasks;
mod vm;
