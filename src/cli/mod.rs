//! The command line: an embedder like any other, and a client of the daemon.

mod arguments;
mod check;
mod complain;
mod daemon;
mod dispatch;
mod failure;
mod limit_flags;
mod logging;
mod notify;
mod run;
mod sink;
mod task_file;
mod task_flags;
mod units;
mod up;

pub use dispatch::main;
