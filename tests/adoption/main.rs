//! A daemon that is killed, and the next one in the same state directory, which goes on with its
//! tasks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clock;
mod ends;
mod fixture;
mod load;
mod scale;
mod scarce;
mod state;
mod tasks;
mod vm;
