//! The only system calls and the only `unsafe` of the crate.
#![allow(unsafe_code)]

pub(crate) mod adopted;
#[cfg(feature = "cli")]
pub(crate) mod blocked_signals;
pub(crate) mod capabilities;
pub(crate) mod cgroup;
#[cfg(feature = "control")]
pub(crate) mod channel;
mod child;
mod child_descriptors;
mod child_namespaces;
mod child_privileges;
pub(crate) mod child_signal;
mod child_stack;
pub(crate) mod clock;
#[cfg(feature = "cli")]
pub(crate) mod code_pages;
mod descriptor_table;
mod dumpable;
mod environment;
mod executable;
#[cfg(feature = "cli")]
pub(crate) mod exit_pipe;
pub(crate) mod exit_reader;
mod explain;
mod explain_namespaces;
mod explain_privileges;
pub(crate) mod failure;
pub(crate) mod faults;
#[cfg(feature = "control")]
pub(crate) mod file_watch;
#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(feature = "cli")]
pub(crate) mod group;
#[cfg(feature = "cli")]
pub(crate) mod handed_descriptors;
mod host;
#[cfg(feature = "control")]
pub(crate) mod inherited;
pub(crate) mod init;
mod init_filter;
#[cfg(feature = "control")]
pub(crate) mod journal_file;
pub(crate) mod landlock;
#[cfg(feature = "control")]
pub(crate) mod log_file;
pub(crate) mod low_descriptors;
pub(crate) mod mounting;
mod mounts;
pub(crate) mod namespaces;
#[cfg(feature = "cli")]
pub(crate) mod notify_receiver;
pub(crate) mod notify_socket;
pub(crate) mod own_process;
#[cfg(feature = "cli")]
pub(crate) mod own_program;
mod passage;
#[cfg(feature = "control")]
pub(crate) mod peer;
pub(crate) mod pidfd;
pub(crate) mod pipe;
mod plan;
mod plan_init;
#[cfg(feature = "cli")]
pub(crate) mod poll;
pub(crate) mod privileges;
#[cfg(feature = "stats")]
pub(crate) mod process_list;
#[cfg(feature = "stats")]
pub(crate) mod process_usage;
pub(crate) mod processes;
mod program;
pub(crate) mod pty;
mod raw;
#[cfg(feature = "cli")]
pub(crate) mod raw_terminal;
#[cfg(feature = "stats")]
pub(crate) mod reader;
#[cfg(feature = "cli")]
pub(crate) mod readiness;
pub(crate) mod reap;
#[cfg(all(feature = "seccomp", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) mod seccomp;
#[cfg(not(all(feature = "seccomp", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "seccomp_absent.rs"]
pub(crate) mod seccomp;
#[cfg(feature = "cli")]
pub(crate) mod service;
pub(crate) mod sink;
pub(crate) mod spawn;
mod staging;
#[cfg(feature = "control")]
pub(crate) mod state_directory;
mod status_pipe;
#[cfg(feature = "cli")]
pub(crate) mod successor;
mod task_directory;
#[cfg(feature = "cli")]
pub(crate) mod terminal;
pub mod testing;
pub(crate) mod trusted_path;
#[cfg(feature = "control")]
pub(crate) mod unix_socket;
mod user;
pub(crate) mod wake_pipe;

use std::os::fd::{AsRawFd, BorrowedFd};

/// The descriptor of something that only knows its number, for as long as that lives.
pub(crate) fn borrowed(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the owner keeps the descriptor open while it is borrowed.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}
