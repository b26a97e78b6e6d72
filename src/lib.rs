//! ostler: a process supervisor for Linux in one process with one thread.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "control")]
pub mod control;
#[doc(hidden)]
pub mod engine;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod keeper;
mod reactor;
mod sys;
mod vocabulary;

pub use reactor::*;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use sys::fuzzing;
#[doc(hidden)]
pub use sys::{low_descriptors::clear_low_descriptors, testing};
pub use vocabulary::*;
