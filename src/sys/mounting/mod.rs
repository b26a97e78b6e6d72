//! What a task sees of the file systems: its own root, mounts and devices (mount_namespaces(7)).
//!
//! Everything is laid out before the clone as a list of actions; the child walks over it in a mount
//! namespace of its own. File systems are handled by descriptor (open_tree(2), move_mount(2)) and
//! mount points are resolved inside the root by the kernel (openat2(2) with RESOLVE_IN_ROOT): no
//! symbolic link, no `..` and no rename in an image leads to the host.

pub(super) mod child;
mod devices;
pub(super) mod explain;
mod lay_out;
mod peers;
pub(super) mod tree;

pub(super) use devices::device_rules;
pub(crate) use devices::narrower_permissions;
pub(super) use lay_out::lay_out;
pub(super) use peers::check_peers;

use super::raw::call;
use crate::vocabulary::Isolation;
use nix::libc;
use std::ffi::{CStr, CString};
use std::sync::atomic::AtomicI32;

/// The release that has all of the calls: mount_setattr(2) came last.
const NEEDED_SINCE: &str = "Linux 5.12";

/// A place for a descriptor that one action makes and later ones use.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Slot(usize);

/// Everything that the child does, in order.
#[derive(Debug)]
pub(super) struct Layout {
    actions: Box<[Action]>,
    /// Set by the child, in its own copy of our memory. What is open at the exec is closed by it.
    slots: Box<[AtomicI32]>,
    /// For the texts of errors, by number: what an action is for.
    purposes: Box<[Purpose]>,
}

/// What one or more actions are for.
#[derive(Debug)]
struct Purpose {
    /// `mount "/a" on "/b" (isolation.mounts[0])`.
    text: String,
    /// How many actions there are up to the last one of it.
    end: usize,
}

/// One thing that the child does.
#[derive(Debug)]
enum Action {
    /// A detached copy of what is mounted at a path of the host, with all that is mounted below.
    Copy { path: CString, into: Slot },
    /// A descriptor of a path of the host (O_PATH).
    Open { path: CString, into: Slot },
    /// What is mounted here does not reach the host; what the host mounts still comes in.
    Separate,
    /// mount_setattr(2) on a whole tree: MOUNT_ATTR_* that are added, and `tree::PRIVATE`, `SLAVE`
    /// or 0.
    Attributes { of: Slot, add: u64, propagation: u64 },
    /// The tree lies over `/` of the host.
    Cover { with: Slot },
    /// A new file system.
    Make { kind: &'static FileSystem, into: Slot },
    /// The tree comes to a path inside a directory.
    Attach { tree: Slot, inside: Slot, target: Target },
    /// A directory inside a directory.
    Directory { inside: Slot, name: &'static CStr },
    /// A symbolic link inside a directory.
    Link { inside: Slot, name: &'static CStr, to: &'static CStr },
    /// Something inside a tree is hidden, where it is there: a file by `null`, a directory by one
    /// that is empty.
    Hide { inside: Slot, path: &'static CStr, null: Slot, empty: Slot },
    /// Something inside a tree becomes read-only, where it is there.
    Protect { inside: Slot, path: &'static CStr },
    /// What covers `/` becomes the root, and what was there before goes.
    Enter { root: Slot },
}

/// A file system that is made for the task.
#[derive(Debug)]
struct FileSystem {
    kind: &'static CStr,
    options: &'static [(&'static CStr, &'static CStr)],
    /// MOUNT_ATTR_*.
    attributes: u64,
}

/// A mount point.
#[derive(Debug)]
struct Target {
    /// Each directory on the way and at last the mount point itself, from the root: a path and its
    /// last part.
    steps: Box<[(CString, CString)]>,
    /// What is missing is made.
    make: bool,
    /// Symbolic links are followed, inside the root.
    follow: bool,
}

/// The fields of a task that take a mount namespace, each with whether it is asked for.
fn fields(isolation: &Isolation) -> [(&'static str, bool); 3] {
    [
        ("isolation.root", isolation.root.is_some()),
        ("isolation.mounts", !isolation.mounts.is_empty()),
        ("isolation.devices", isolation.devices.is_some()),
    ]
}

/// The first field that takes a mount namespace.
pub(crate) fn field(isolation: &Isolation) -> Option<&'static str> {
    fields(isolation).into_iter().find_map(|(field, asked)| asked.then_some(field))
}

/// Why this kernel cannot do it; `None`: it can.
pub(crate) fn why_unavailable() -> Option<String> {
    // None of these does anything: there is no such descriptor, an empty struct is refused.
    let calls = [
        ("openat2", call(libc::SYS_openat2, [usize::MAX, 0, 0, 0])),
        ("open_tree", call(libc::SYS_open_tree, [usize::MAX, 0, usize::MAX])),
        ("mount_setattr", call(libc::SYS_mount_setattr, [usize::MAX, 0, 0, 0, 0])),
    ];
    let missing = calls.into_iter().find(|(_, answer)| *answer == Err(libc::ENOSYS))?.0;
    Some(format!("needs {missing}(2) ({NEEDED_SINCE}), which this kernel does not have"))
}
