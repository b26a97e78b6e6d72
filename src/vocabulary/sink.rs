//! Where a stream of a task goes.

use std::os::fd::OwnedFd;
use std::sync::Arc;

/// One of the two output streams of a task.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamKind {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl StreamKind {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            StreamKind::Stdout => "stdout",
            StreamKind::Stderr => "stderr",
        }
    }
}

/// Where a stream of the task goes.
///
/// ```
/// use ostler::{FileSink, Sink, TaskSpec};
/// let file = FileSink { max_size: Some(10 << 20), ..FileSink::new("/var/log/web.log") };
/// let spec = TaskSpec { stdout: Some(Sink::File(file)), ..TaskSpec::new("web") };
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Sink {
    /// /dev/null.
    #[default]
    Discard,
    /// The supervisor's own stream.
    Inherit,
    /// A named pipe, existing or made (mode 0600, owned by the task's user).
    Fifo {
        /// Absolute path.
        path: String,
        /// The task holds the pipe itself, nothing is relayed.
        direct: bool,
    },
    /// A regular file, appended to, existing or made (mode 0600, owned by the task's user).
    File(FileSink),
    /// A descriptor of the host's, handed to the task as it is. Only in the library.
    Descriptor(Arc<OwnedFd>),
}

/// A regular file as a sink.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSink {
    /// Absolute path.
    pub path: String,
    /// Rotate before the file grows beyond this many bytes; absent: never.
    pub max_size: Option<u64>,
    /// Files kept in all, the current one included.
    pub max_files: u32,
    /// How rotated files are named.
    pub numbering: Numbering,
    /// The task holds the file itself: nothing is relayed, so nothing is rotated.
    pub direct: bool,
}

impl FileSink {
    /// A file without rotation.
    pub fn new(path: impl Into<String>) -> FileSink {
        FileSink {
            path: path.into(),
            max_size: None,
            max_files: super::limits::MAX_FILES_DEFAULT,
            numbering: Numbering::default(),
            direct: false,
        }
    }

    /// Whether the supervisor has to carry the bytes: a file that is not rotated is the task's own.
    pub fn is_relayed(&self) -> bool {
        self.max_size.is_some() && !self.direct
    }
}

/// How rotated files are named.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Numbering {
    /// `PATH` is current, `PATH.1` the one before it.
    #[default]
    Shift,
    /// `PATH.N` is current, N only rises and goes on at the highest one found.
    Count,
}

impl PartialEq for Sink {
    fn eq(&self, other: &Sink) -> bool {
        match (self, other) {
            (Sink::Discard, Sink::Discard) | (Sink::Inherit, Sink::Inherit) => true,
            (Sink::Fifo { path, direct }, Sink::Fifo { path: p, direct: d }) => {
                path == p && direct == d
            }
            (Sink::File(file), Sink::File(other)) => file == other,
            (Sink::Descriptor(fd), Sink::Descriptor(other)) => Arc::ptr_eq(fd, other),
            _ => false,
        }
    }
}

impl Sink {
    /// The path, where it has one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Sink::Fifo { path, .. } => Some(path),
            Sink::File(file) => Some(&file.path),
            Sink::Discard | Sink::Inherit | Sink::Descriptor(_) => None,
        }
    }

    /// Its name in the protocol: `discard`, `inherit`, `fifo`, `file`; `descriptor` has none there.
    pub fn kind(&self) -> &'static str {
        match self {
            Sink::Discard => "discard",
            Sink::Inherit => "inherit",
            Sink::Fifo { .. } => "fifo",
            Sink::File(_) => "file",
            Sink::Descriptor(_) => "descriptor",
        }
    }
}
