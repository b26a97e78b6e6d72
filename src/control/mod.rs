//! Varlink sessions: bytes to calls to replies.
//!
//! [`Server`] serves a supervisor's protocol in the supervisor's own loop, over a socket, standard
//! input and output, or a socket pair. [`Client`] asks such a server.

mod calls;
mod client;
mod connection;
mod failure;
pub(crate) mod frames;
#[cfg(feature = "cli")]
pub(crate) mod handover;
mod history;
mod host_calls;
mod journal;
mod leaving;
mod listening;
mod logs;
mod message;
mod metrics;
mod openmetrics;
mod server;
mod serving;
mod session;
mod socket;
mod stats_streams;
mod ticks;
mod upgraded;
mod wire;

#[cfg(fuzzing)]
#[doc(hidden)]
pub use calls::fuzzing;
pub use client::{CallError, Client, Replies};
#[cfg(all(fuzzing, feature = "cli"))]
#[doc(hidden)]
pub use handover::fuzzing as fuzzing_handover;
pub use host_calls::{ReloadCall, ReloadRefusal, ReloadTicket, Reloaded};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use journal::fuzzing as fuzzing_journal;
pub use metrics::Metrics;
#[cfg(feature = "cli")]
pub(crate) use openmetrics::{
    END as OPENMETRICS_END, FAMILIES as OPENMETRICS_FAMILIES, write_supervisor,
};
pub use server::{Finished, Server, ServerOptions};
pub use socket::{Socket, passed_descriptors};
#[cfg(feature = "cli")]
pub(crate) use wire::{UsageShape, status_to_json};
pub use wire::{task_from_json, task_to_json};
