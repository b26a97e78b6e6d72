//! The only system calls and the only `unsafe` of the crate.
#![allow(unsafe_code)]

pub(crate) mod failure;
pub(crate) mod faults;
pub(crate) mod pipe;
pub(crate) mod sink;
