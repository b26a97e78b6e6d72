//! A user who is not trusted, and a directory of his.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// Nobody, in the group of nobody.
pub(crate) const UID: u32 = 65534;
pub(crate) const USER: &str = "65534:65534";

/// A directory that all may enter, with one of the stranger in it and one that is not for him.
pub(crate) struct Stage {
    directory: tempfile::TempDir,
}

impl Stage {
    /// `None`, and says so, where nobody can be another user.
    pub(crate) fn new(test: &str) -> Option<Stage> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: {test}: only root can be another user");
            return None;
        }
        let stage = Stage { directory: tempfile::tempdir().unwrap() };
        fs::set_permissions(&stage.directory, PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["his", "victim"] {
            fs::create_dir(stage.path(name)).unwrap();
        }
        stage.give("his");
        fs::set_permissions(stage.path("victim"), PermissionsExt::from_mode(0o700)).unwrap();
        Some(stage)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Makes it the stranger's.
    pub(crate) fn give(&self, name: &str) {
        chown(self.path(name), Some(UID), Some(UID)).unwrap();
    }

    /// A directory of the stranger.
    pub(crate) fn directory(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        self.give(name);
    }

    /// A link that the stranger has made.
    pub(crate) fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.path(name)).unwrap();
        lchown(self.path(name), Some(UID), Some(UID)).unwrap();
    }

    /// A file of ours that the stranger may not touch.
    pub(crate) fn secret(&self) -> PathBuf {
        let path = self.path("victim/private");
        fs::write(&path, "secret\n").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Nothing was made in the directory of ours, and the file there is as it was.
    #[track_caller]
    pub(crate) fn assert_victim_is_untouched(&self) {
        let names = self.names("victim");
        assert!(names.is_empty() || names == ["private"], "{names:?}");
        if let Ok(text) = fs::read_to_string(self.path("victim/private")) {
            let mode = fs::metadata(self.path("victim/private")).unwrap().permissions().mode();
            assert_eq!((text.as_str(), mode & 0o7777), ("secret\n", 0o600));
        }
    }
}
