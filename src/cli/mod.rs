//! The command line: an embedder like any other, and a client of the daemon.

mod arguments;
mod check;
mod client;
mod complain;
mod completions;
mod daemon;
mod dispatch;
mod failure;
mod limit_flags;
mod logging;
mod man;
mod notify;
mod output;
mod pattern;
mod run;
mod sink;
mod socket;
mod table;
mod take_over;
mod task_file;
mod task_flags;
mod top;
mod units;
mod up;
mod upgrade;

pub use dispatch::main;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use task_file::fuzzing;
