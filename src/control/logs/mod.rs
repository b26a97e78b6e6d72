//! What a task has written to files: the last lines, and what follows.

mod files;
mod follow;
mod tail;
mod watching;

pub(super) use files::LogFiles;
pub(super) use follow::LogReader;
pub(super) use tail::last_lines;
pub(super) use watching::{Watched, Watching};
