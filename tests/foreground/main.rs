//! The built program with real processes: run, up and daemon.

#![allow(clippy::expect_used, clippy::panic)]

mod daemon;
mod reload;
mod run;
mod shell;
mod support;
mod terminal;
mod up;
