//! Figures of tasks as clients and collectors see them: the built daemon, against the kernel's own
//! figures and those of programs that others have written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod agreement;
mod calls;
mod collectors;
#[allow(dead_code)]
#[path = "../protocol/fixture.rs"]
mod fixture;
mod python;
