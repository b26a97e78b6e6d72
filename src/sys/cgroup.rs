//! The hierarchies: which there are, and the groups of tasks in the v2 one.
//!
//! Layout: `TREE/supervisor` holds the supervisor, `TREE/NAME.RUN` one run of a task; TREE itself
//! holds no process. A v2 hierarchy without controllers (hybrid systems) serves as well.

mod controllers;
mod devices;
mod earlier;
mod limits;
mod oom_events;
mod settings;
mod stale;
#[cfg(feature = "stats")]
pub(super) mod usage;
mod v1;
mod wanted;

pub(crate) use controllers::Controller;
pub(crate) use devices::can_restrict_devices;
pub(crate) use earlier::unnoted_groups;
pub(crate) use limits::{Failed, Limits, NotUpdated, Plan, System};
pub(crate) use settings::Refused;
pub(crate) use stale::sweep_v1;
pub(crate) use wanted::NoGroup;

use super::faults;
use super::own_process::kernel_is_at_least;
use crate::vocabulary::Pid;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{AccessFlags, UnlinkatFlags, unlinkat};
use stale::{namespace_mark, sweep, tree_name};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What cgroups the system has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Hierarchy {
    /// None is mounted.
    None,
    /// v1 controllers, no v2.
    V1,
    /// v1 controllers, and a v2 hierarchy beside them.
    Hybrid,
    /// v2 alone.
    V2,
}

impl Hierarchy {
    /// Its name in the protocol.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Hierarchy::None => "none",
            Hierarchy::V1 => "v1",
            Hierarchy::Hybrid => "hybrid",
            Hierarchy::V2 => "v2",
        }
    }
}

/// What is mounted, and where in the v2 hierarchy this process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mounted {
    pub(crate) hierarchy: Hierarchy,
    /// The directory of this process's own v2 group.
    pub(crate) own: Option<PathBuf>,
    /// Where v2 is mounted.
    pub(crate) root: Option<PathBuf>,
    /// The v1 controllers, each with the directory of this process's own group there.
    pub(crate) v1: Vec<(Controller, PathBuf)>,
}

/// Looks at /proc/self/mountinfo and /proc/self/cgroup.
pub(crate) fn mounted() -> Mounted {
    // Anybody may mount something (FUSE) at a place whose name is no text.
    let read = |path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    parse_mounted(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

pub(super) fn parse_mounted(mountinfo: &str, cgroup: &str) -> Mounted {
    let mut v1 = false;
    let mut v2 = None;
    for line in mountinfo.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        match back.split(' ').next() {
            Some("cgroup") => v1 = true,
            // Field 4 is the root of the mount within the hierarchy, field 5 the mount point.
            Some("cgroup2") if v2.is_none() => {
                let mut fields = front.split(' ').skip(3);
                v2 = fields.next().zip(fields.next());
            }
            _ => {}
        }
    }
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let own = v2.zip(own).and_then(|((root, point), own)| own_directory(root, point, own));
    let root = v2.map(|(_, point)| PathBuf::from(unescape(point)));
    let hierarchy = match (v1, v2.is_some()) {
        (false, false) => Hierarchy::None,
        (true, false) => Hierarchy::V1,
        (true, true) => Hierarchy::Hybrid,
        (false, true) => Hierarchy::V2,
    };
    Mounted { hierarchy, own, root, v1: controllers::parse_v1(mountinfo, cgroup) }
}

/// The directory of our own group `own`, in a hierarchy of which `root` is mounted at `point`.
fn own_directory(root: &str, point: &str, own: &str) -> Option<PathBuf> {
    let inside = own.strip_prefix(root.trim_end_matches('/'))?;
    // A group outside of our namespace is told as one above its root.
    let visible = !inside.split('/').any(|part| part == "..");
    visible.then(|| Path::new(&unescape(point)).join(inside.trim_start_matches('/')))
}

/// mountinfo writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(field: &str) -> String {
    field.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Why there is no tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoTree(pub(crate) String);

/// The group in which the groups of tasks are made.
#[derive(Debug)]
pub(crate) struct Tree {
    path: PathBuf,
    directory: OwnedFd,
    /// Where this process was before it moved into the tree's leaf.
    home: PathBuf,
    moved: bool,
    /// An earlier supervisor has made it.
    reused: bool,
}

/// The leaf that the supervisor moves into.
const LEAF: &str = "supervisor";
/// Trees of one process, stale ones of an earlier process of the same id included.
const TREES_MAX: u32 = 1000;

impl Tree {
    /// Whether a tree can probably be made, without making one.
    pub(crate) fn may_be_made(mounted: &Mounted) -> bool {
        let writable = |own: &PathBuf| nix::unistd::access(own, AccessFlags::W_OK).is_ok();
        kernel_is_at_least(5, 14) && mounted.own.as_ref().is_some_and(writable)
    }

    /// Makes a tree below this process's own group (beside it, where that is the leaf that systemd
    /// makes for `DelegateSubgroup=supervisor`).
    pub(crate) fn make(mounted: &Mounted) -> Result<Tree, NoTree> {
        let Some(own) = &mounted.own else {
            return Err(NoTree("no cgroup v2 hierarchy is mounted".to_owned()));
        };
        let above = above(own);
        if !kernel_is_at_least(5, 14) {
            return Err(NoTree("this kernel has no cgroup.kill (Linux 5.14)".to_owned()));
        }
        let mark = namespace_mark();
        sweep(above, &mark);
        for number in 0..TREES_MAX {
            let path = above.join(tree_name(&mark, number));
            match make_directory(&path) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(cannot("make", &path, errno)),
            }
            let home = own.clone();
            return match open_directory(&path) {
                Ok(directory) => Ok(Tree { path, directory, home, moved: false, reused: false }),
                Err(errno) => {
                    let _ = std::fs::remove_dir(&path);
                    Err(cannot("open", &path, errno))
                }
            };
        }
        Err(NoTree(format!("{} is full of trees: remove the empty ones", above.display())))
    }

    /// Whether an earlier supervisor has made it.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// The groups in one of its groups, or in itself (`.`), but for our own.
    pub(crate) fn groups_in(&self, name: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path.join(name)) else { return Vec::new() };
        let groups = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
        groups
            .filter_map(|group| group.file_name().into_string().ok())
            .filter(|name| name != LEAF)
            .collect()
    }

    /// Whether there may be groups in one of its groups: each adds a link. A listing costs ten
    /// times as much.
    pub(crate) fn may_have_groups_in(&self, name: &str) -> bool {
        faults::check("fstatat").is_err()
            || fstatat(&self.directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                .is_ok_and(|found| found.st_nlink > 2)
    }

    /// Moves this process into a leaf made anew. The kernel compares kill counters of our own
    /// group with those of a newborn's, so that a group that was killed once would cost us every
    /// launch; and no task's group may be an ancestor of ours.
    pub(crate) fn move_in(&mut self) -> Result<(), NoTree> {
        let leaf = self.path.join(LEAF);
        if self.reused {
            // That of the earlier one; where something lives in it, it cannot be made.
            let _ = std::fs::remove_dir(&leaf);
        }
        make_directory(&leaf).map_err(|errno| cannot("make", &leaf, errno))?;
        if let Err(errno) = join(&leaf) {
            let _ = std::fs::remove_dir(&leaf);
            return Err(cannot("move the supervisor into", &leaf, errno));
        }
        self.moved = true;
        Ok(())
    }

    /// The tree's absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a controller count in the groups of tasks; why that cannot be.
    fn enable(&self, controller: Controller, root: &Path) -> Result<(), String> {
        let above = self.path.parent().unwrap_or(&self.path);
        controllers::enable(&self.path, above, root, controller)
    }

    fn is_enabled(&self, controller: Controller) -> bool {
        controllers::is_enabled(&self.path, controller)
    }

    /// Whether a controller can probably be enabled in a tree that is not made yet. `may_move`: we
    /// leave our own group, which may then have controllers.
    fn may_enable(mounted: &Mounted, controller: Controller, may_move: bool) -> bool {
        let (Some(own), Some(root)) = (&mounted.own, &mounted.root) else { return false };
        let above = above(own);
        Tree::may_be_made(mounted)
            && controllers::may_enable(above, root, controller).is_ok()
            && (controllers::is_enabled(above, controller)
                || above == root
                || above != own
                || may_move && is_alone(own))
    }

    /// Makes a group and opens its directory, for CLONE_INTO_CGROUP. As everywhere: `name` is a
    /// path below the tree, or absolute for a group that a task wants elsewhere.
    pub(crate) fn make_group(&self, name: &str) -> Result<OwnedFd, Errno> {
        faults::check("mkdirat")?;
        mkdirat(&self.directory, name, Mode::from_bits_truncate(0o755))?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        faults::check("openat")
            .and_then(|()| openat(&self.directory, name, flags, Mode::empty()))
            .inspect_err(|_| {
                let _ = unlinkat(&self.directory, name, UnlinkatFlags::RemoveDir);
            })
    }

    /// Opens the directory of a group that is there, for CLONE_INTO_CGROUP.
    pub(crate) fn open_group(&self, name: &str) -> Result<OwnedFd, Errno> {
        self.open(name, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// Removes a group; EBUSY while it has processes or groups inside.
    pub(crate) fn remove_group(&self, name: &str) -> Result<(), Errno> {
        faults::check("unlinkat")?;
        match unlinkat(&self.directory, name, UnlinkatFlags::RemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// Removes a group and those that its tasks made inside, deepest first.
    pub(crate) fn remove_group_recursively(&self, name: &str) -> Result<(), Errno> {
        match self.remove_group(name) {
            Err(Errno::EBUSY) => {}
            result => return result,
        }
        for inner in self.groups_inside(name).iter().rev() {
            self.remove_group(inner)?;
        }
        self.remove_group(name)
    }

    /// Kills every process in the group and in those inside it (cgroup.kill, Linux 5.14).
    pub(crate) fn kill_group(&self, name: &str) -> Result<(), Errno> {
        let file = self.open(&format!("{name}/cgroup.kill"), OFlag::O_WRONLY)?;
        faults::check("write(cgroup.kill)")?;
        nix::unistd::write(&file, b"1").map(drop)
    }

    /// Opens `cgroup.events`, which says EPOLLPRI when the group becomes empty.
    pub(crate) fn open_events(&self, name: &str) -> Result<OwnedFd, Errno> {
        self.open(&format!("{name}/cgroup.events"), OFlag::O_RDONLY)
    }

    /// Every process in the group and in those inside it.
    pub(crate) fn processes(&self, name: &str) -> Vec<Pid> {
        let inside = self.groups_inside(name);
        std::iter::once(name.to_owned())
            .chain(inside)
            .flat_map(|group| self.direct_processes(&group))
            .collect()
    }

    fn direct_processes(&self, name: &str) -> Vec<Pid> {
        if faults::check("read(cgroup.procs)").is_err() {
            return Vec::new();
        }
        let list = std::fs::read_to_string(self.path.join(name).join("cgroup.procs"));
        let list = list.unwrap_or_default();
        list.lines().filter_map(|line| Pid::new(line.parse().ok()?)).collect()
    }

    /// The groups inside a group, each before those inside it.
    fn groups_inside(&self, name: &str) -> Vec<String> {
        let mut found = vec![name.to_owned()];
        let mut next = 0;
        while let Some(group) = found.get(next).cloned() {
            next += 1;
            let Ok(entries) = std::fs::read_dir(self.path.join(&group)) else { continue };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir())
                    && let Some(inner) = entry.file_name().to_str()
                    && found.len() < GROUPS_INSIDE_MAX
                {
                    found.push(format!("{group}/{inner}"));
                }
            }
        }
        found.remove(0);
        found
    }

    fn open(&self, name: &str, mode: OFlag) -> Result<OwnedFd, Errno> {
        faults::check("openat")?;
        openat(&self.directory, name, mode | OFlag::O_CLOEXEC, Mode::empty())
    }
}

/// Most groups inside one task's group that are walked.
const GROUPS_INSIDE_MAX: usize = 4096;

impl Drop for Tree {
    /// Leaves nothing behind if nothing is left in it.
    fn drop(&mut self) {
        if self.moved && join(&self.home).is_ok() {
            let _ = std::fs::remove_dir(self.path.join(LEAF));
        }
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Whether a group has a process, by its open `cgroup.events`. False also where that cannot be
/// told: the attempt to remove the group tells.
pub(crate) fn is_populated(events: &OwnedFd) -> bool {
    if faults::check("pread(cgroup.events)").is_err() {
        return false;
    }
    let mut buffer = [0_u8; 128];
    match nix::sys::uio::pread(events.as_fd(), &mut buffer, 0) {
        Ok(got) => !buffer
            .get(..got)
            .unwrap_or_default()
            .split(|&b| b == b'\n')
            .any(|l| l == b"populated 0"),
        // ENODEV: the group was removed under us.
        Err(_) => false,
    }
}

/// In which group our tree is made.
fn above(own: &Path) -> &Path {
    match (own.ends_with(LEAF), own.parent()) {
        (true, Some(parent)) => parent,
        _ => own,
    }
}

/// Whether this process is the only one in its group.
fn is_alone(own: &Path) -> bool {
    let list = std::fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    list.lines().all(|line| line.parse() == Ok(std::process::id()))
}

fn make_directory(path: &Path) -> Result<(), Errno> {
    faults::check("mkdir")?;
    nix::unistd::mkdir(path, Mode::from_bits_truncate(0o755))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    faults::check("open")?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
}

/// Moves this process.
fn join(group: &Path) -> Result<(), Errno> {
    faults::check("open(cgroup.procs)")?;
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let procs = nix::fcntl::open(&group.join("cgroup.procs"), flags, Mode::empty())?;
    faults::check("write(cgroup.procs)")?;
    nix::unistd::write(&procs, b"0").map(drop)
}

fn cannot(what: &str, path: &Path, errno: Errno) -> NoTree {
    NoTree(format!("cannot {what} {}: {}", path.display(), errno.desc()))
}

/// Whether this process has moved into the leaf of this tree.
#[cfg(feature = "cli")]
pub(crate) fn is_in_tree(mounted: &Mounted, tree: &Path) -> bool {
    mounted.own.as_deref() == Some(&tree.join(LEAF))
}

/// Held by tests that count the groups of this process.
#[cfg(test)]
pub(crate) static COUNTED: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";

    #[test]
    fn what_is_mounted_is_told() {
        let found = parse_mounted(HYBRID, "4:memory:/x\n0::/user.slice/a b\n");
        assert_eq!(found.hierarchy, Hierarchy::Hybrid);
        assert_eq!(found.own.unwrap(), Path::new("/sys/fs/cgroup/unified/user.slice/a b"));
        let v2 = "31 30 0:27 /box /sys/fs/c\\040g rw - cgroup2 cgroup2 rw";
        let found = parse_mounted(v2, "0::/box/in\n");
        assert_eq!(found.hierarchy, Hierarchy::V2);
        assert_eq!(found.own.unwrap(), Path::new("/sys/fs/c g/in"));
        // Our own group lies outside of what is mounted: nothing can be done there.
        assert_eq!(parse_mounted(v2, "0::/other\n").own, None);
        let v1 = "32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(parse_mounted(v1, "").hierarchy, Hierarchy::V1);
        assert_eq!(parse_mounted("", "").hierarchy, Hierarchy::None);
    }

    #[test]
    fn a_group_is_made_killed_and_removed() {
        let Ok(tree) = Tree::make(&mounted()) else {
            println!("skipped: no permission to make a cgroup");
            return;
        };
        let path = tree.path().to_owned();
        drop(tree.make_group("task.1").unwrap());
        assert_eq!(tree.make_group("task.1").unwrap_err(), Errno::EEXIST);
        std::fs::create_dir_all(path.join("task.1/inner/deep")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        std::fs::write(path.join("task.1/inner/deep/cgroup.procs"), child.id().to_string())
            .unwrap();
        assert_eq!(tree.processes("task.1"), [pid]);
        let events = tree.open_events("task.1").unwrap();
        assert!(is_populated(&events));
        assert_eq!(tree.remove_group_recursively("task.1"), Err(Errno::EBUSY));
        tree.kill_group("task.1").unwrap();
        child.wait().unwrap();
        while is_populated(&events) {
            std::thread::yield_now();
        }
        assert_eq!(tree.remove_group_recursively("task.1"), Ok(()));
        assert_eq!(tree.remove_group("task.1"), Ok(()));
        drop(tree);
        assert!(!path.exists());
    }
}
