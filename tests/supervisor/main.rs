//! The library on real processes, in every way that it can be set up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod containment;
mod embedding;
mod exits;
mod fixture;
mod many;
mod stop;
