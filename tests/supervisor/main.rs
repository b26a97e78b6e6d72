//! The library on real processes, in every way that it can be set up.

mod containment;
mod embedding;
mod exits;
mod fixture;
mod many;
mod stop;
