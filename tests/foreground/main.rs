//! The built program with real processes: run, up and daemon.

mod daemon;
mod run;
mod support;
mod terminal;
mod up;
