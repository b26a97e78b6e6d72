//! The protocol as clients see it: the built daemon, driven over its socket and over standard
//! input and output, by our client, by others' and by hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "protocol/calls.rs"]
mod calls;
#[path = "protocol/events.rs"]
mod events;
#[path = "protocol/fixture.rs"]
mod fixture;
#[path = "protocol/foreign.rs"]
mod foreign;
#[path = "protocol/hostile.rs"]
mod hostile;
#[path = "protocol/logs.rs"]
mod logs;
#[path = "protocol/stdio.rs"]
mod stdio;
