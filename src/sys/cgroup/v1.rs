//! A v1 hierarchy: our branch of it, below this process's own group, and the groups of runs there.
//!
//! The supervisor stays where it is, outside of its branch.

use super::controllers::{Controller, read, write};
#[cfg(feature = "cli")]
use super::stale::owner_of;
use super::stale::{namespace_mark, tree_name};
use super::{NoTree, TREES_MAX, cannot, faults, make_directory};
use crate::vocabulary::Pid;
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// The groups of this supervisor's runs in one hierarchy.
#[derive(Debug)]
pub(super) struct Branch {
    /// This process's own group.
    own: PathBuf,
    path: PathBuf,
    /// An earlier supervisor has made it: nothing is made in it any more.
    earlier: bool,
}

impl Branch {
    pub(super) fn make(own: &Path) -> Result<Branch, NoTree> {
        let mark = namespace_mark();
        for number in 0..TREES_MAX {
            let path = own.join(tree_name(&mark, number));
            match make_directory(&path) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(cannot("make", &path, errno)),
            }
            let branch = Branch { own: own.to_owned(), path, earlier: false };
            prepare(own, &branch.path)
                .map_err(|errno| cannot("prepare the cpuset of", &branch.path, errno))?;
            return Ok(branch);
        }
        Err(NoTree(format!("{} is full of trees: remove the empty ones", own.display())))
    }

    /// That of an earlier supervisor, which some of its runs still have groups in.
    pub(super) fn of_earlier(own: &Path, path: &Path) -> Branch {
        Branch { own: own.to_owned(), path: path.to_owned(), earlier: true }
    }

    /// It is that of this process, if an earlier program of it has made it.
    #[cfg(feature = "cli")]
    pub(super) fn go_on(&mut self) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let own = owner_of(&name, &namespace_mark());
        self.earlier = own.is_none_or(|pid| pid.number() as u32 != std::process::id());
    }

    /// Whether it is the one in which groups are made.
    pub(super) fn is_ours(&self, own: &Path) -> bool {
        self.is_of(own) && !self.earlier
    }

    pub(super) fn is_of(&self, own: &Path) -> bool {
        self.own == own
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the group of a run. After an error it is not there.
    pub(super) fn make_group(&self, run: &str) -> Result<(), Errno> {
        let group = self.path.join(run);
        make_directory(&group)?;
        prepare(&self.path, &group).inspect_err(|_| {
            let _ = std::fs::remove_dir(&group);
        })
    }

    /// EBUSY while something lives in it.
    pub(super) fn remove_group(&self, run: &str) -> Result<(), Errno> {
        remove(&self.path.join(run))
    }

    /// Moves a process into the group of a run.
    pub(super) fn put(&self, run: &str, pid: Pid) -> Result<(), Errno> {
        write(&self.path.join(run).join("cgroup.procs"), &pid.to_string())
    }

    /// Moves what is in the group of a run to where it came from.
    pub(super) fn empty(&self, run: &str) {
        for pid in self.processes(run).unwrap_or_default() {
            // What has ended meanwhile is not there any more, which is what is wanted.
            let _ = write(&self.own.join("cgroup.procs"), &pid.to_string());
        }
    }

    pub(super) fn processes(&self, run: &str) -> Result<Vec<Pid>, Errno> {
        let list = read(&self.path.join(run).join("cgroup.procs"))?;
        Ok(list.lines().filter_map(|line| Pid::new(line.parse().ok()?)).collect())
    }
}

impl Drop for Branch {
    /// What is still in use stays, and is swept by a later supervisor.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Gives a new group of a cpuset hierarchy what the one above it has: nobody can enter without.
fn prepare(above: &Path, group: &Path) -> Result<(), Errno> {
    for file in ["cpuset.mems", "cpuset.cpus"] {
        if group.join(file).exists() {
            write(&group.join(file), &read(&above.join(file))?)?;
        }
    }
    Ok(())
}

/// Removes a group and those that its tasks made inside, deepest first.
pub(super) fn remove(group: &Path) -> Result<(), Errno> {
    faults::check("rmdir")?;
    match remove_one(group) {
        Err(Errno::EBUSY) => {}
        result => return result,
    }
    let mut found = vec![group.to_owned()];
    let mut next = 0;
    while let Some(group) = found.get(next).cloned() {
        next += 1;
        let Ok(entries) = std::fs::read_dir(group) else { continue };
        let inside = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(inside.map(|entry| entry.path()).take(super::GROUPS_INSIDE_MAX));
        if found.len() > super::GROUPS_INSIDE_MAX {
            break;
        }
    }
    found.iter().rev().try_for_each(|group| remove_one(group))
}

fn remove_one(group: &Path) -> Result<(), Errno> {
    match std::fs::remove_dir(group).map_err(|error| error.raw_os_error()) {
        Ok(()) | Err(Some(nix::libc::ENOENT)) => Ok(()),
        Err(number) => Err(Errno::from_raw(number.unwrap_or(nix::libc::EIO))),
    }
}

/// Whether a run could have a group with this controller below our own group.
pub(super) fn may_hold(own: &Path, controller: Controller) -> bool {
    if nix::unistd::access(own, nix::unistd::AccessFlags::W_OK).is_err() {
        return false;
    }
    if controller != Controller::Io {
        return true;
    }
    // Not in the topmost group, and only with a scheduler that knows weights.
    let has = |group: &Path| {
        ["blkio.weight", "blkio.bfq.weight"].iter().any(|file| group.join(file).exists())
    };
    let probe = own.join(format!("ostler-{}-probe", std::process::id()));
    let found = has(own) || make_directory(&probe).is_ok() && has(&probe);
    let _ = std::fs::remove_dir(&probe);
    found
}
