//! Lists of processes that may be long: read in pieces.

use super::faults;
use super::reader::{At, Reader};
use crate::vocabulary::Pid;
use nix::errno::Errno;
use std::fs::ReadDir;
use std::os::fd::OwnedFd;

/// Most of a list that is read at once: about 700 processes, 0.4 ms.
const PIECE_BYTES: usize = 4 << 10;
/// Most entries of /proc that are taken at once.
const PIECE_ENTRIES: usize = 256;

/// A list of process ids in decimal, open to be read in pieces.
#[derive(Debug)]
pub(crate) struct ProcessList {
    file: OwnedFd,
    numbers: Numbers,
}

/// Decimal numbers in pieces of a text.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The beginning of a number that the last piece has cut.
    begun: Option<i32>,
}

impl Numbers {
    /// Adds those that are complete with this piece; an empty one is the end.
    pub(super) fn take(&mut self, piece: &[u8], found: &mut Vec<Pid>) {
        for &byte in piece {
            if byte.is_ascii_digit() {
                let digit = i32::from(byte - b'0');
                let begun = self.begun.unwrap_or(0);
                self.begun = Some(begun.saturating_mul(10).saturating_add(digit));
            } else {
                found.extend(self.begun.take().and_then(Pid::new));
            }
        }
        if piece.is_empty() {
            found.extend(self.begun.take().and_then(Pid::new));
        }
    }
}

impl ProcessList {
    pub(crate) fn new(file: OwnedFd) -> ProcessList {
        ProcessList { file, numbers: Numbers::default() }
    }

    /// The children of a process, one list for each of its threads.
    ///
    /// # Errors
    /// ENOENT or ESRCH where the process is gone, and where the kernel does not tell (no
    /// CONFIG_PROC_CHILDREN).
    pub(crate) fn of_children(
        reader: &mut Reader,
        pid: Pid,
        threads: u64,
    ) -> Result<Vec<ProcessList>, Errno> {
        let mut open = |thread: &str| {
            let file = reader.open(At::Root, format_args!("/proc/{pid}/task/{thread}/children"));
            file.map(ProcessList::new)
        };
        if threads == 1 {
            return open(&pid.to_string()).map(|list| vec![list]);
        }
        faults::check("getdents64(/proc/PID/task)")?;
        let mut lists = Vec::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task")).map_err(errno)? {
            match entry.map_err(errno)?.file_name().to_str().map(&mut open) {
                Some(Ok(list)) => lists.push(list),
                // A thread that has ended meanwhile has no children.
                Some(Err(Errno::ENOENT | Errno::ESRCH)) | None => {}
                Some(Err(errno)) => return Err(errno),
            }
        }
        Ok(lists)
    }

    /// Adds the next of them; whether there may be more.
    ///
    /// # Errors
    /// ESRCH or ENODEV where the process or group is gone.
    pub(crate) fn read(
        &mut self,
        reader: &mut Reader,
        found: &mut Vec<Pid>,
    ) -> Result<bool, Errno> {
        let piece = reader.read_piece(&self.file, PIECE_BYTES)?;
        self.numbers.take(piece, found);
        Ok(!piece.is_empty())
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EIO))
}

/// Where the processes are that no list of a group names.
#[derive(Debug)]
pub(crate) enum Everyone {
    /// Our own children: those that we made and the orphans that we were given.
    Children(Vec<ProcessList>),
    /// Every process of the system.
    All(ReadDir),
}

impl Everyone {
    /// Our own children, where orphans become those; else, and where the kernel does not list them,
    /// every process.
    pub(crate) fn list(reader: &mut Reader, subreaper: bool) -> Result<Everyone, Errno> {
        if subreaper && let Some(own) = Pid::new(nix::unistd::getpid().as_raw()) {
            let lists = ProcessList::of_children(reader, own, 0)?;
            if !lists.is_empty() {
                return Ok(Everyone::Children(lists));
            }
        }
        faults::check("getdents64(/proc)")?;
        std::fs::read_dir("/proc").map(Everyone::All).map_err(errno)
    }

    /// Adds the next of them; whether there may be more.
    pub(crate) fn read(
        &mut self,
        reader: &mut Reader,
        found: &mut Vec<Pid>,
    ) -> Result<bool, Errno> {
        match self {
            Everyone::Children(lists) => {
                let Some(list) = lists.last_mut() else { return Ok(false) };
                if !list.read(reader, found)? {
                    lists.pop();
                }
                Ok(true)
            }
            Everyone::All(entries) => {
                let piece: Vec<_> = entries.take(PIECE_ENTRIES).collect();
                for entry in piece.iter().flatten() {
                    let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
                    found.extend(number.and_then(Pid::new));
                }
                Ok(!piece.is_empty())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_cut_anywhere_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list");
        let pids: Vec<i32> = (1..=3000).collect();
        let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let mut list = ProcessList::new(std::fs::File::open(&path).unwrap().into());
        let (mut reader, mut found, mut pieces) = (Reader::default(), Vec::new(), 0);
        while list.read(&mut reader, &mut found).unwrap() {
            pieces += 1;
        }
        assert!(pieces > 2);
        assert_eq!(found.iter().map(|pid| pid.number()).collect::<Vec<i32>>(), pids);
    }

    #[test]
    fn a_child_is_among_everyone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::new(child.id() as i32).unwrap();
        let mut reader = Reader::default();
        for subreaper in [true, false] {
            let mut everyone = Everyone::list(&mut reader, subreaper).unwrap();
            let mut found = Vec::new();
            while everyone.read(&mut reader, &mut found).unwrap() {}
            assert!(found.contains(&pid), "{everyone:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
