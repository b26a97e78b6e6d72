//! Learning that a file grew or was replaced, by inotify.

use super::faults;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

/// Names a watch; never used again for another one.
pub(crate) type WatchNumber = WatchDescriptor;

/// One inotify instance for many files: there may be only 128 of them for each user.
#[derive(Debug)]
pub(crate) struct FileWatch {
    inotify: Inotify,
}

/// What changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Changed {
    /// What this watch is about.
    One(WatchNumber),
    /// Too much to be told.
    Anything,
}

impl FileWatch {
    pub(crate) fn new() -> Result<FileWatch, Errno> {
        faults::check("inotify_init")?;
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Ok(FileWatch { inotify: Inotify::init(flags)? })
    }

    /// Watches an open file, whatever its name is by now, for what is written to it.
    pub(crate) fn file(&self, file: &File) -> Result<WatchNumber, Errno> {
        faults::check("inotify_add_watch")?;
        let path = format!("/proc/thread-self/fd/{}", file.as_raw_fd());
        self.inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY)
    }

    /// Watches a directory for names that come: files that are made in it or moved there.
    pub(crate) fn directory(&self, path: &Path) -> Result<WatchNumber, Errno> {
        faults::check("inotify_add_watch")?;
        let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        self.inotify.add_watch(path, flags | AddWatchFlags::IN_ONLYDIR)
    }

    /// Ends a watch.
    pub(crate) fn forget(&self, watch: WatchNumber) {
        // It may have ended by itself, with the file.
        let _ = self.inotify.rm_watch(watch);
    }

    /// What changed since it was asked last.
    pub(crate) fn changes(&self) -> Vec<Changed> {
        let mut changes = Vec::new();
        while let Ok(events) = self.inotify.read_events() {
            changes.extend(events.iter().map(|event| {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    Changed::Anything
                } else {
                    Changed::One(event.wd)
                }
            }));
        }
        changes.dedup();
        changes
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn growth_and_new_names_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = File::create(&path).unwrap();
        let watch = FileWatch::new().unwrap();
        let of_file = watch.file(&file).unwrap();
        let of_directory = watch.directory(directory.path()).unwrap();
        assert_eq!(watch.changes(), []);
        file.write_all(b"x").unwrap();
        assert_eq!(watch.changes(), [Changed::One(of_file)]);
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        assert_eq!(watch.changes(), [Changed::One(of_directory)]);
        file.write_all(b"y").unwrap();
        assert_eq!(watch.changes(), [Changed::One(of_file)]);
        watch.forget(of_file);
        watch.changes();
        file.write_all(b"z").unwrap();
        assert_eq!(watch.changes(), []);
    }
}
