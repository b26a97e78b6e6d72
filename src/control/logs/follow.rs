//! Reading on where the last lines ended, from file to file.

use super::files::{LogFile, LogFiles};
use super::tail::Tail;
use std::fs::File;
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A place in the files of a sink that moves on as they grow.
#[derive(Debug)]
pub(crate) struct LogReader {
    files: LogFiles,
    current: Option<(LogFile, u64)>,
    /// How often another file became the current one.
    switches: u64,
}

impl LogReader {
    /// Goes on behind `tail`.
    pub(crate) fn behind(files: LogFiles, tail: Tail) -> LogReader {
        LogReader { files, current: tail.end, switches: 0 }
    }

    /// Where it is: the sink's files, and of the current one its descriptor, its number and how
    /// much of it was read.
    #[cfg(feature = "cli")]
    pub(crate) fn standing(&self) -> (&LogFiles, Option<(RawFd, u64, u64)>) {
        let place =
            |(file, offset): &(LogFile, u64)| (file.file.as_raw_fd(), file.number(), *offset);
        (&self.files, self.current.as_ref().map(place))
    }

    /// Goes on where one in another program was.
    #[cfg(feature = "cli")]
    pub(crate) fn go_on(
        files: LogFiles,
        current: Option<(File, u64, u64)>,
    ) -> io::Result<LogReader> {
        let current = current
            .map(|(file, number, offset)| Ok::<_, io::Error>((LogFile::of(file, number)?, offset)))
            .transpose()?;
        Ok(LogReader { files, current, switches: 0 })
    }

    /// Reads what comes next, at most a buffer; 0: there is nothing yet.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let next = match &mut self.current {
                None => self.files.oldest()?,
                Some((file, offset)) => {
                    let read = file.file.read_at(buffer, *offset)?;
                    if read > 0 {
                        *offset += read as u64;
                        return Ok(read);
                    }
                    if file.file.metadata()?.len() < *offset {
                        // Somebody else has cut it off.
                        *offset = 0;
                        continue;
                    }
                    self.files.after(file)?
                }
            };
            let Some(next) = next else { return Ok(0) };
            self.current = Some((next, 0));
            self.switches += 1;
        }
    }

    /// The file that is read, once there is one.
    pub(super) fn current(&self) -> Option<&File> {
        self.current.as_ref().map(|(file, _)| &file.file)
    }

    /// Where files come and go.
    pub(super) fn directory(&self) -> &Path {
        self.files.directory()
    }

    /// Rises whenever `current` is another file.
    pub(super) fn switches(&self) -> u64 {
        self.switches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::logs::last_lines;
    use crate::vocabulary::{FileSink, Numbering};
    use std::fs::{OpenOptions, remove_file, rename};
    use std::io::Write;
    use std::path::PathBuf;

    struct Place {
        directory: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            Place { directory: tempfile::tempdir().unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let file = OpenOptions::new().append(true).create(true).open(self.path(name));
            file.unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn reader(&self, numbering: Numbering, lines: u64) -> (String, LogReader) {
            let path = self.path("log").to_string_lossy().into_owned();
            let sink = FileSink { max_size: Some(1), numbering, ..FileSink::new(path) };
            let files = LogFiles::of(&sink, None);
            let mut tail = last_lines(&files, lines, 1000).unwrap();
            let data = std::mem::take(&mut tail.data);
            (String::from_utf8(data).unwrap(), LogReader::behind(files, tail))
        }
    }

    fn rest(reader: &mut LogReader) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 3];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return String::from_utf8(text).unwrap(),
                read => text.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[test]
    fn nothing_is_missed_or_read_twice_over_shifted_files() {
        let place = Place::new();
        let (tail, mut reader) = place.reader(Numbering::Shift, 10);
        assert_eq!((tail, rest(&mut reader)), (String::new(), String::new()));
        place.append("log", "a\n");
        assert_eq!(rest(&mut reader), "a\n");
        place.append("log", "b\n");
        rename(place.path("log"), place.path("log.1")).unwrap();
        place.append("log", "c\n");
        assert_eq!(rest(&mut reader), "b\nc\n");
        // Two rotations between two looks.
        place.append("log", "d\n");
        rename(place.path("log.1"), place.path("log.2")).unwrap();
        rename(place.path("log"), place.path("log.1")).unwrap();
        place.append("log", "e\n");
        rename(place.path("log.2"), place.path("log.3")).unwrap();
        rename(place.path("log.1"), place.path("log.2")).unwrap();
        rename(place.path("log"), place.path("log.1")).unwrap();
        place.append("log", "f\n");
        assert_eq!(rest(&mut reader), "d\ne\nf\n");
        // What is not kept any more is read to its end, then the oldest that is kept.
        place.append("log", "g\n");
        let (tail, mut late) = place.reader(Numbering::Shift, 1);
        assert_eq!(tail, "g\n");
        rename(place.path("log"), place.path("log.1")).unwrap();
        remove_file(place.path("log.1")).unwrap();
        remove_file(place.path("log.2")).unwrap();
        remove_file(place.path("log.3")).unwrap();
        place.append("log.1", "h\n");
        place.append("log", "i\n");
        assert_eq!(rest(&mut reader), "g\nh\ni\n");
        assert_eq!(rest(&mut late), "h\ni\n");
    }

    #[test]
    fn counted_files_follow_each_other() {
        let place = Place::new();
        place.append("log.7", "a\n");
        let (tail, mut reader) = place.reader(Numbering::Count, 10);
        assert_eq!(tail, "a\n");
        place.append("log.7", "b\n");
        place.append("log.8", "c\n");
        remove_file(place.path("log.7")).unwrap();
        place.append("log.10", "d\n");
        assert_eq!(rest(&mut reader), "b\nc\nd\n");
    }

    #[test]
    fn a_file_that_was_cut_off_is_read_from_its_beginning() {
        let place = Place::new();
        place.append("log", "before\n");
        let (_, mut reader) = place.reader(Numbering::Shift, 0);
        std::fs::write(place.path("log"), "x\n").unwrap();
        assert_eq!(rest(&mut reader), "x\n");
    }
}
