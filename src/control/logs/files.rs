//! The files of one sink: the current one and those that rotation keeps.

use crate::sys::log_file;
use crate::vocabulary::limits::MAX_FILES_MAX;
use crate::vocabulary::{FileSink, Numbering};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the files of a sink are.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    path: String,
    /// In there no link is followed.
    task_dir: Option<String>,
    scheme: Scheme,
}

#[derive(Copy, Clone, PartialEq, Debug)]
enum Scheme {
    /// One file, not rotated by us.
    Single,
    /// PATH is current, PATH.1 the one before.
    Shift,
    /// PATH.N is current, N only rises.
    Count,
}

/// An open file of a sink.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) file: File,
    /// Device and inode: whatever its name is by now.
    identity: (u64, u64),
    /// Under `Count`: the number in its name.
    number: u64,
}

impl LogFile {
    pub(super) fn of(file: File, number: u64) -> io::Result<LogFile> {
        let metadata = file.metadata()?;
        Ok(LogFile { identity: (metadata.dev(), metadata.ino()), number, file })
    }

    #[cfg(feature = "cli")]
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

#[cfg(feature = "cli")]
impl LogFiles {
    /// The path of the sink, the directory in which no link is followed, and how its files are
    /// called.
    pub(crate) fn place(&self) -> (&str, Option<&str>, &'static str) {
        let scheme = match self.scheme {
            Scheme::Single => "single",
            Scheme::Shift => "shift",
            Scheme::Count => "count",
        };
        (&self.path, self.task_dir.as_deref(), scheme)
    }

    pub(crate) fn at(path: String, task_dir: Option<String>, scheme: &str) -> LogFiles {
        let scheme = match scheme {
            "shift" => Scheme::Shift,
            "count" => Scheme::Count,
            _ => Scheme::Single,
        };
        LogFiles { path, task_dir, scheme }
    }
}

impl LogFiles {
    /// Those of a task's sink.
    pub(crate) fn of(sink: &FileSink, task_dir: Option<&str>) -> LogFiles {
        let scheme = match sink.numbering {
            _ if !sink.is_relayed() => Scheme::Single,
            Numbering::Shift => Scheme::Shift,
            Numbering::Count => Scheme::Count,
        };
        LogFiles { path: sink.path.clone(), task_dir: task_dir.map(str::to_owned), scheme }
    }

    /// The directory that all of them are in.
    pub(super) fn directory(&self) -> &Path {
        Path::new(&self.path).parent().unwrap_or(Path::new("/"))
    }

    fn numbered(&self, number: u64) -> String {
        format!("{}.{number}", self.path)
    }

    /// The files in the order of age, the current one first. Each is opened when its turn comes.
    pub(super) fn newest_first(
        &self,
    ) -> io::Result<Box<dyn Iterator<Item = io::Result<LogFile>> + '_>> {
        Ok(match self.scheme {
            Scheme::Single => Box::new(self.open(&self.path, 0).transpose().into_iter()),
            Scheme::Shift => {
                let current = self.open(&self.path, 0).transpose().into_iter();
                let older = (1..u64::from(MAX_FILES_MAX))
                    .map_while(|number| self.open(&self.numbered(number), 0).transpose());
                Box::new(current.chain(older))
            }
            Scheme::Count => {
                let numbers = self.numbers()?.into_iter().rev();
                let open = |number| self.open(&self.numbered(number), number).transpose();
                Box::new(numbers.filter_map(open))
            }
        })
    }

    /// The file that came after `current`, once there is one.
    pub(super) fn after(&self, current: &LogFile) -> io::Result<Option<LogFile>> {
        if self.scheme == Scheme::Count {
            let next = self.numbers()?.into_iter().find(|&number| number > current.number);
            return match next {
                Some(number) => self.open(&self.numbered(number), number),
                None => Ok(None),
            };
        }
        let mut newer: Option<LogFile> = None;
        for file in self.newest_first()? {
            let file = file?;
            if file.identity == current.identity {
                return Ok(newer);
            }
            newer = Some(file);
        }
        // It is not kept any more: what is kept is all newer, the last one seen is the oldest.
        Ok(newer)
    }

    /// The oldest one that is kept.
    pub(super) fn oldest(&self) -> io::Result<Option<LogFile>> {
        let mut oldest = None;
        for file in self.newest_first()? {
            oldest = Some(file?);
        }
        Ok(oldest)
    }

    /// The numbers in use under `Count`, rising.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = log_file::numbers(&self.path, self.task_dir.as_deref())?;
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn open(&self, path: &str, number: u64) -> io::Result<Option<LogFile>> {
        let opened = log_file::open(path, self.task_dir.as_deref())?;
        let Some(file) = opened else { return Ok(None) };
        LogFile::of(file, number).map(Some)
    }
}
