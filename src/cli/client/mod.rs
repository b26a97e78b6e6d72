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

pub(crate) use events::{event_detail, event_tone, events};
pub(crate) use exec::exec;
pub(crate) use inspect::{inspect, show_time};
pub(crate) use launch::launch;
pub(crate) use lifecycle::{remove, restart, signal, start, stop};
pub(crate) use logs::{kept_streams, logs};
pub(crate) use ps::{ps, state_text, state_tone};
pub(crate) use session::Session;
pub(crate) use stats::stats;
pub(crate) use supervisor::{reload, shutdown, update, upgrade, version};
pub(crate) use wait::wait;
