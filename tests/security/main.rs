//! What those may not do who are not trusted: other users, tasks, whoever names a file. The table
//! in docs/security.md says which test stands for which case.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with other tests")]
#[path = "../common/executable.rs"]
mod executable;

mod clients;
// Not all of it is needed here.
#[allow(dead_code)]
#[path = "../protocol/fixture.rs"]
mod fixture;
mod paths;
mod places;
mod stranger;
mod tasks;
mod words;
