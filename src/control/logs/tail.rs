//! The last lines of a stream, over rotated files too.

use super::files::{LogFile, LogFiles};
use std::io;
use std::os::unix::fs::FileExt;

/// Read at once, from the end backwards.
const BLOCK_BYTES: usize = 64 << 10;

/// The last lines, and where they end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) data: Vec<u8>,
    /// The current file, and how much of it is in `data` or before it.
    pub(super) end: Option<(LogFile, u64)>,
}

/// The last `lines` lines, as whole lines, at most `bytes` bytes (of a longer line its end).
pub(crate) fn last_lines(files: &LogFiles, lines: u64, bytes: usize) -> io::Result<Tail> {
    let mut collected = Collected { data: Vec::new(), left: lines, most: bytes };
    let mut end = None;
    for file in files.newest_first()? {
        let file = file?;
        let size = file.file.metadata()?.len();
        let complete = collected.take_from(&file, size)?;
        if end.is_none() {
            end = Some((file, size));
        }
        if complete {
            break;
        }
    }
    Ok(Tail { data: collected.data, end })
}

struct Collected {
    data: Vec<u8>,
    /// Line ends still to be found.
    left: u64,
    most: usize,
}

impl Collected {
    /// Puts the end of a file before what there is; whether that is enough.
    fn take_from(&mut self, file: &LogFile, size: u64) -> io::Result<bool> {
        let mut position = size;
        while position > 0 {
            if self.left == 0 {
                return Ok(true);
            }
            let room = self.most.saturating_sub(self.data.len());
            if room == 0 {
                self.cut_partial_line();
                return Ok(true);
            }
            let length = position.min(BLOCK_BYTES.min(room) as u64);
            position -= length;
            let mut block = vec![0; length as usize];
            file.file.read_exact_at(&mut block, position)?;
            if self.put_before(block) {
                return Ok(true);
            }
        }
        Ok(self.left == 0)
    }

    /// Whether the lines are complete now.
    fn put_before(&mut self, mut block: Vec<u8>) -> bool {
        // The very last byte ends a line, it does not begin one.
        let newest = self.data.is_empty();
        let searched = block.len() - usize::from(newest && block.last() == Some(&b'\n'));
        let mut start = None;
        for (index, _) in
            block.iter().enumerate().take(searched).rev().filter(|&(_, &byte)| byte == b'\n')
        {
            self.left -= 1;
            if self.left == 0 {
                start = Some(index + 1);
                break;
            }
        }
        block.drain(..start.unwrap_or(0));
        block.append(&mut self.data);
        self.data = block;
        start.is_some()
    }

    /// There is no room for the beginning of the first line: without it, unless it is all.
    fn cut_partial_line(&mut self) {
        let end = self.data.iter().position(|&byte| byte == b'\n').map_or(0, |index| index + 1);
        if end < self.data.len() {
            self.data.drain(..end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::{FileSink, Numbering};
    use std::path::Path;

    fn files(directory: &Path, numbering: Numbering) -> LogFiles {
        let path = directory.join("log").to_string_lossy().into_owned();
        LogFiles::of(&FileSink { max_size: Some(1), numbering, ..FileSink::new(path) }, None)
    }

    fn text(files: &LogFiles, lines: u64, bytes: usize) -> String {
        let tail = last_lines(files, lines, bytes).expect("readable");
        String::from_utf8(tail.data).expect("text")
    }

    #[test]
    fn lines_are_counted_over_rotated_files() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        let shifted = files(directory.path(), Numbering::Shift);
        assert_eq!(text(&shifted, 10, 1000), "");
        assert!(last_lines(&shifted, 10, 1000).unwrap().end.is_none());
        put("log", "e\nf");
        put("log.1", "c\nd\n");
        put("log.2", "a\nb\n");
        put("log.4", "not of it\n");
        for (lines, expected) in [
            (0, ""),
            (1, "f"),
            (2, "e\nf"),
            (3, "d\ne\nf"),
            (4, "c\nd\ne\nf"),
            (5, "b\nc\nd\ne\nf"),
        ] {
            assert_eq!(text(&shifted, lines, 1000), expected, "{lines}");
        }
        assert_eq!(text(&shifted, 100, 1000), "a\nb\nc\nd\ne\nf");
        assert_eq!(text(&shifted, u64::MAX, 4), "e\nf", "whole lines");
        put("log", "");
        assert_eq!(text(&shifted, 3, 1000), "b\nc\nd\n");
        put("log.0", "0\n");
        put("log.10", "10\n");
        put("log.x", "x\n");
        let counted = files(directory.path(), Numbering::Count);
        assert_eq!(text(&counted, 2, 1000), "not of it\n10\n");
    }

    #[test]
    fn blocks_are_put_together() {
        let directory = tempfile::tempdir().unwrap();
        let line = "x".repeat(99) + "\n";
        std::fs::write(directory.path().join("log"), line.repeat(3000)).unwrap();
        let files = files(directory.path(), Numbering::Shift);
        assert_eq!(text(&files, 2000, 1 << 20), line.repeat(2000));
        assert_eq!(text(&files, 5000, 1 << 20), line.repeat(3000));
        assert_eq!(text(&files, 2000, 150_050), line.repeat(1500));
        assert_eq!(text(&files, 1, 50), "x".repeat(49) + "\n", "the end of a line that is longer");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target");
        std::fs::write(&target, "secret\n").unwrap();
        std::os::unix::fs::symlink(target, directory.path().join("log")).unwrap();
        assert!(last_lines(&files(directory.path(), Numbering::Shift), 1, 100).is_err());
    }
}
