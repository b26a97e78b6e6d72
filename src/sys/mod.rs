//! The only system calls and the only `unsafe` of the crate.
#![allow(unsafe_code)]

pub(crate) mod cgroup;
pub(crate) mod child_signal;
pub(crate) mod clock;
pub(crate) mod failure;
pub(crate) mod faults;
pub(crate) mod own_process;
pub(crate) mod pidfd;
pub(crate) mod processes;
pub(crate) mod reap;
pub(crate) mod wake_pipe;
