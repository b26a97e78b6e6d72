//! The child makes what was laid out. The rules of `sys::child` hold here too: raw calls on
//! prepared data, and nothing is allocated.

use super::{Action, Layout, Slot, Target, tree};
use crate::sys::raw::{Answer, call};
use nix::libc;
use std::ffi::CStr;
use std::sync::atomic::Ordering;

/// The action that failed.
pub(in crate::sys) struct Failure {
    pub(in crate::sys) index: usize,
    /// It was looking for the mount point, or making it.
    pub(in crate::sys) at_target: bool,
    pub(in crate::sys) errno: i32,
}

/// An errno, and whether it was about the mount point.
type Done = Result<(), (bool, i32)>;

/// What mount points are made with: modes mean what they say.
const UMASK: usize = 0o022;

/// Does all of it. What is open afterwards is closed by the exec.
pub(in crate::sys) fn perform(layout: &Layout) -> Result<(), Failure> {
    let before = call(libc::SYS_umask, [UMASK]);
    for (index, action) in layout.actions.iter().enumerate() {
        act(layout, action).map_err(|(at_target, errno)| Failure { index, at_target, errno })?;
    }
    // Neither call can fail (umask(2)).
    let _ = before.and_then(|before| call(libc::SYS_umask, [before]));
    Ok(())
}

fn act(layout: &Layout, action: &Action) -> Done {
    let done = |answer: Answer| answer.map(drop).map_err(|errno| (false, errno));
    let keep = |answer: Answer, into: Slot| done(answer.and_then(|fd| layout.keep(into, fd)));
    match action {
        Action::Copy { path, into } => keep(tree::copy_of_path(path), *into),
        Action::Open { path, into } => keep(tree::open(path), *into),
        Action::Separate => done(tree::separate()),
        Action::Attributes { of, add, propagation } => {
            done(layout.fd(*of).and_then(|tree| tree::set_attributes(tree, *add, *propagation)))
        }
        Action::Cover { with } => done(layout.fd(*with).and_then(cover)),
        Action::Make { kind, into } => {
            keep(tree::make(kind.kind, kind.options, kind.attributes), *into)
        }
        Action::Attach { tree, inside, target } => {
            let tree = layout.fd(*tree).map_err(|errno| (false, errno))?;
            let inside = layout.fd(*inside).map_err(|errno| (false, errno))?;
            let target = find(inside, target, tree).map_err(|errno| (true, errno))?;
            let attached = tree::attach(tree, target);
            tree::close(target);
            done(attached)
        }
        Action::Directory { inside, name } => {
            done(layout.fd(*inside).and_then(|inside| tree::make_directory(inside, name)))
        }
        Action::Link { inside, name, to } => {
            done(layout.fd(*inside).and_then(|inside| tree::link(inside, name, to)))
        }
        Action::Hide { inside, path, null, empty } => {
            done(layout.fd(*inside).and_then(|inside| hide(layout, inside, path, *null, *empty)))
        }
        Action::Protect { inside, path } => {
            done(layout.fd(*inside).and_then(|inside| protect(inside, path)))
        }
        Action::Enter { root } => done(layout.fd(*root).and_then(tree::enter)),
    }
}

impl Layout {
    fn fd(&self, slot: Slot) -> Answer {
        let fd = self.slots.get(slot.0).map_or(-1, |fd| fd.load(Ordering::Relaxed));
        usize::try_from(fd).map_err(|_| libc::EBADF)
    }

    fn keep(&self, slot: Slot, fd: usize) -> Answer {
        let slot = self.slots.get(slot.0).ok_or(libc::EBADF)?;
        slot.store(fd as i32, Ordering::Relaxed);
        Ok(fd)
    }
}

fn cover(with: usize) -> Answer {
    let top = tree::open(c"/")?;
    let covered = tree::attach(with, top);
    tree::close(top);
    covered
}

/// The mount point for `tree`, made where that is wanted: a directory or a file, as that is.
fn find(root: usize, target: &Target, tree: usize) -> Answer {
    let mut parent = root;
    let mut found = Err(libc::ENOENT);
    for (index, (path, name)) in target.steps.iter().enumerate() {
        let is_last = index.wrapping_add(1) == target.steps.len();
        found = match tree::open_in(root, path, target.follow) {
            Err(libc::ENOENT) if target.make => {
                let made = match !is_last || tree::is_directory(tree) {
                    true => tree::make_directory(parent, name),
                    false => tree::make_file(parent, name),
                };
                made.and_then(|_| tree::open_in(root, path, target.follow))
            }
            found => found,
        };
        if parent != root {
            tree::close(parent);
        }
        parent = found?;
    }
    found
}

/// A part of a tree of our own: no link leads out of it, and nothing is mounted there yet.
fn part(inside: usize, path: &CStr) -> Result<Option<usize>, i32> {
    match tree::open_in(inside, path, false) {
        Ok(part) => Ok(Some(part)),
        // Kernels differ in what they have.
        Err(libc::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn hide(layout: &Layout, inside: usize, path: &CStr, null: Slot, empty: Slot) -> Answer {
    let Some(target) = part(inside, path)? else { return Ok(0) };
    let cover = match tree::is_directory(target) {
        false => {
            let copy = layout.fd(null).and_then(tree::copy_of)?;
            tree::set_attributes(copy, tree::OF_NODES, 0)?;
            copy
        }
        // The first one is a file system of its own, the others are copies of its mount.
        true => match layout.fd(empty) {
            Ok(empty) => tree::copy_of(empty)?,
            Err(_) => {
                let attributes = tree::READ_ONLY | tree::NO_SUID | tree::NO_DEVICES | tree::NO_EXEC;
                let options = [(c"source", c"tmpfs"), (c"mode", c"755")];
                let made = tree::make(c"tmpfs", &options, attributes)?;
                layout.keep(empty, made)?
            }
        },
    };
    let hidden = tree::attach(cover, target);
    tree::close(target);
    if layout.fd(empty) != Ok(cover) {
        tree::close(cover);
    }
    hidden
}

fn protect(inside: usize, path: &CStr) -> Answer {
    let Some(target) = part(inside, path)? else { return Ok(0) };
    let copy = tree::copy_of(target)?;
    tree::set_attributes(copy, tree::READ_ONLY, 0)?;
    let protected = tree::attach(copy, target);
    tree::close(copy);
    tree::close(target);
    protected
}
