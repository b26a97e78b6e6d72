//! A daemon that goes on as another program: the same process, its tasks and its clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod failures;
mod fixture;
mod foreground;
mod load;
mod managers;
mod programs;
mod tasks;
