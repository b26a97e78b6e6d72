//! What it means when an action of the child failed, in words.

use super::child::Failure;
use super::{Action, Layout, Target};
use crate::sys::failure::start_error;
use crate::vocabulary::{Stage, StartError};
use nix::errno::Errno;
use std::ffi::CStr;

/// The error of a start whose child failed here.
pub(in crate::sys) fn failure(layout: &Layout, failure: &Failure) -> StartError {
    let errno = Errno::from_raw(failure.errno);
    let purpose = layout.purposes.iter().find(|purpose| failure.index < purpose.end);
    let purpose = purpose.map_or("mount", |purpose| purpose.text.as_str());
    let Some(action) = layout.actions.get(failure.index) else {
        return start_error(Stage::Mount, errno, purpose);
    };
    let tried = tried(action, failure.at_target);
    let error = start_error(Stage::Mount, errno, format!("{purpose}: {tried}"));
    match hint(action, failure.at_target, errno) {
        Some(hint) => StartError { message: format!("{} ({hint})", error.message), ..error },
        None => error,
    }
}

fn tried(action: &Action, at_target: bool) -> String {
    match action {
        Action::Copy { path, .. } => format!("take what is at {}", quoted(path)),
        Action::Open { path, .. } => format!("open {}", quoted(path)),
        Action::Separate => "separate it from the host's".to_owned(),
        Action::Attributes { .. } => "set its attributes".to_owned(),
        Action::Cover { .. } => "put it in the place of /".to_owned(),
        Action::Make { kind, .. } => {
            format!("make a file system of type {}", kind.kind.to_string_lossy())
        }
        Action::Attach { target, .. } if at_target => {
            format!("find its mount point {}", shown(target))
        }
        Action::Attach { target, .. } => format!("mount it on {}", shown(target)),
        Action::Directory { name, .. } | Action::Link { name, .. } => {
            format!("make {}", quoted(name))
        }
        Action::Hide { path, .. } => format!("hide {}", quoted(path)),
        Action::Protect { path, .. } => format!("make {} read-only", quoted(path)),
        Action::Enter { .. } => "exchange the root".to_owned(),
    }
}

fn hint(action: &Action, at_target: bool, errno: Errno) -> Option<&'static str> {
    Some(match (action, errno) {
        (Action::Make { .. }, Errno::EPERM) => {
            "without root a new one is only to be had where nothing hides a part of the one that \
             is there, as containers do"
        }
        (Action::Copy { .. }, Errno::ELOOP) => {
            "a symbolic link on the way was made by neither root nor us, or is none that can be \
             followed"
        }
        (Action::Copy { .. }, Errno::EINVAL) => "it is mounted so that it cannot be copied",
        (Action::Attach { target, .. }, errno) if at_target => match errno {
            Errno::ENOENT if !target.make => "without isolation.root it has to exist",
            Errno::EEXIST => "a symbolic link is there that leads nowhere inside the root",
            Errno::ELOOP if !target.follow => "it is a symbolic link, or one is on the way to it",
            Errno::EROFS => "it does not exist and cannot be made",
            Errno::ENOTDIR => "something on the way to it is no directory",
            _ => return None,
        },
        (Action::Cover { .. }, Errno::EINVAL) => "it is no directory",
        (Action::Attach { .. }, Errno::EINVAL) => "one is a directory and the other is not",
        (Action::Attach { .. } | Action::Cover { .. }, Errno::ENOSPC) => {
            "the limit in /proc/sys/fs/mount-max is reached"
        }
        _ => return None,
    })
}

fn shown(target: &Target) -> String {
    target.steps.last().map(|(path, _)| quoted(path)).unwrap_or_default()
}

fn quoted(path: &CStr) -> String {
    format!("{:?}", path.to_string_lossy())
}
