//! The words every layer shares: plain data, no input or output, `std` only.
//!
//! A thing that the host, the protocol and the engine all have to name stands here; how it is
//! done stands in a layer above.

mod capability;
mod cause;
mod deadlines;
mod error;
mod event;
mod exec;
mod id;
mod identity;
pub mod limits;
mod ordered;
mod request;
mod resources;
mod signal;
mod sink;
mod spec;
mod status;
mod time;
#[cfg(feature = "stats")]
mod usage;
mod validate;

pub(crate) use capability::{CapabilityName, CapabilitySet};
pub(crate) use cause::cause;
pub use deadlines::Deadlines;
pub use error::{InvalidField, RequestError, Stage, StartError};
pub use event::{Event, EventKind};
pub use exec::{ExecId, ExecSpec, ExecStreams, Executed, WindowSize};
pub use id::{LaunchNumber, Pid, ProcessMark, TaskId, Ticket};
pub use identity::Identity;
pub(crate) use ordered::Ordered;
pub use request::{Answer, IfExists, Reply, Request};
pub use resources::{Device, Isolation, Mount, PathRule, Propagation, Resources};
pub use signal::{Signal, UnknownSignal};
pub use sink::{FileSink, Numbering, Sink, StreamKind};
pub use spec::{Leftover, RestartMode, RestartPolicy, Setting, TaskSpec};
pub use status::{Containment, Exit, ExitStatus, StateName, Status};
pub use time::{Mono, Now, Wall};
#[cfg(feature = "stats")]
pub use usage::{TaskStats, Usage};
#[cfg(test)]
pub(crate) use validate::RLIMIT_NAMES;
pub(crate) use validate::parse_rlimit;
pub use validate::valid_task_name;
