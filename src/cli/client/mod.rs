//! The verbs that ask a daemon.

mod connection;
mod events;
mod exec;
mod inspect;
mod launch;
mod lifecycle;
mod logs;
mod openmetrics;
mod ps;
mod session;
mod stats;
mod supervisor;
mod wait;

pub(crate) use events::events;
pub(crate) use exec::exec;
pub(crate) use inspect::inspect;
pub(crate) use launch::launch;
pub(crate) use lifecycle::{remove, restart, signal, start, stop};
pub(crate) use logs::logs;
pub(crate) use ps::ps;
pub(crate) use session::Session;
pub(crate) use stats::stats;
pub(crate) use supervisor::{reload, shutdown, update, upgrade, version};
pub(crate) use wait::wait;
