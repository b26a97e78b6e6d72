//! What an earlier supervisor has left: its tree, and the v1 groups of its runs.

use super::stale::{namespace_mark, owner_of};
use super::v1::Branch;
use super::{Controller, Limits, Mounted, Tree, open_directory};
use nix::errno::Errno;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Tree {
    /// The tree that an earlier supervisor has made, and left with its tasks.
    pub(crate) fn reuse(mounted: &Mounted, path: &Path) -> Result<Tree, Errno> {
        let inside = mounted.root.as_ref().is_some_and(|root| path.starts_with(root));
        let named = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ostler-"));
        let (true, true, Some(home)) = (inside, named, mounted.own.clone()) else {
            return Err(Errno::EXDEV);
        };
        let directory = open_directory(path)?;
        Ok(Tree { path: path.to_owned(), directory, home, moved: false, reused: true })
    }
}

/// The v1 groups of a run of an earlier supervisor that did not live to note them.
pub(crate) fn unnoted_groups(mounted: &Mounted, run: &str) -> Vec<PathBuf> {
    let mark = namespace_mark();
    let mut found = Vec::new();
    for (_, own) in &mounted.v1 {
        let Ok(entries) = std::fs::read_dir(own) else { continue };
        let trees = entries.flatten().filter(|entry| {
            entry.file_name().to_str().is_some_and(|name| owner_of(name, &mark).is_some())
        });
        found.extend(trees.map(|tree| tree.path().join(run)).filter(|group| group.is_dir()));
    }
    found
}

#[cfg(feature = "cli")]
impl Tree {
    /// The program before this one of the same process has used it, and is in its leaf; else it may
    /// be one of an earlier process, whose leaf is still there.
    pub(crate) fn go_on(&mut self, moved: bool) {
        self.moved = moved;
        self.reused = !moved;
    }
}

impl Limits {
    /// The branches that this process has made are its own still, whichever program it runs.
    #[cfg(feature = "cli")]
    pub(crate) fn go_on(&mut self) {
        self.branches.iter_mut().for_each(Branch::go_on);
    }

    /// The tree is one of an earlier supervisor.
    pub(crate) fn reuse(&mut self, tree: &Tree) {
        let mut counts = Controller::ALL.to_vec();
        counts.retain(|controller| tree.is_enabled(*controller));
        self.tree_counts = counts;
    }

    /// There is no tree: what is made next is a new one.
    pub(crate) fn forget_tree(&mut self) {
        self.tree_counts.clear();
    }

    /// A run of an earlier supervisor has these v1 groups.
    pub(crate) fn adopt(&mut self, run: &str, groups: &[PathBuf]) {
        for group in groups.iter().filter(|group| group.is_dir()) {
            let Some(path) = group.parent() else { continue };
            let known = self.branches.iter().position(|branch| branch.path() == path);
            let index = match (known, path.parent()) {
                (Some(index), _) => index,
                (None, Some(own)) => {
                    self.branches.push(Branch::of_earlier(own, path));
                    self.branches.len() - 1
                }
                (None, None) => continue,
            };
            self.add_to_run(run, index);
        }
    }
}
