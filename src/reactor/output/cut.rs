//! Where output is cut when a file is full: at line ends.

use crate::vocabulary::limits::RELAY_BUFFER_BYTES;

/// How full the current file is.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Fill {
    /// Bytes in the file.
    pub(super) size: u64,
    /// Those after its last line end: a line that goes on.
    pub(super) line: u64,
}

/// What comes next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    /// Write so many bytes, at least one, into the current file.
    Write(usize),
    /// First go on to the next file.
    Rotate,
}

impl Fill {
    /// Takes note of what was written.
    pub(super) fn add(&mut self, written: &[u8]) {
        self.size += written.len() as u64;
        self.line = match after_last_line_end(written) {
            0 => self.line + written.len() as u64,
            end => (written.len() - end) as u64,
        };
    }

    /// What to do with `data`, which is not empty, where a file takes `max` bytes.
    ///
    /// Only a line longer than `max` is ever split. A line of at most half of `max`, and at most
    /// 64 KiB, never makes a file larger than `max`: near the end of a file a line that is not
    /// complete yet begins the next one. A longer one whose end was not known may.
    pub(super) fn cut(self, data: &[u8], max: u64) -> Cut {
        let room = usize::try_from(max.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if data.len() <= room {
            return self.cut_what_fits(data, max, room - data.len());
        }
        let end = after_last_line_end(data.get(..room).unwrap_or(data));
        if end > 0 {
            return Cut::Write(end);
        }
        if self.line == self.size {
            // The file holds nothing but this line, which is longer than a file.
            return if room > 0 { Cut::Write(room) } else { Cut::Rotate };
        }
        if self.line == 0 {
            return Cut::Rotate;
        }
        match usize::try_from(max.saturating_sub(self.line)).unwrap_or(usize::MAX) {
            0 => Cut::Rotate,
            rest => Cut::Write(rest.min(first_line(data))),
        }
    }

    /// `left` is the room after all of it.
    fn cut_what_fits(self, data: &[u8], max: u64, left: usize) -> Cut {
        let end = after_last_line_end(data);
        if end == data.len() || left >= RELAY_BUFFER_BYTES {
            Cut::Write(data.len())
        } else if end > 0 {
            Cut::Write(end)
        } else if self.line == 0 && self.size > 0 && self.size >= max / 2 {
            Cut::Rotate
        } else {
            Cut::Write(data.len())
        }
    }
}

/// Length of the first line of `data`, its end included where it has one.
fn first_line(data: &[u8]) -> usize {
    data.iter().position(|&byte| byte == b'\n').map_or(data.len(), |at| at + 1)
}

/// The place after the last line end, 0 where there is none.
fn after_last_line_end(data: &[u8]) -> usize {
    let mut end = data.len();
    for part in data.rchunks(SEARCH_BYTES) {
        end -= part.len();
        // Many times as quick as to look at each byte from the end.
        if part.contains(&b'\n') {
            let at = part.iter().rposition(|&byte| byte == b'\n');
            return at.map_or(0, |at| end + at + 1);
        }
    }
    0
}

/// Most lines are shorter: one such part has the end of one.
const SEARCH_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Writes `chunks` with these rules, into memory.
    fn files(chunks: &[Vec<u8>], max: u64) -> Vec<Vec<u8>> {
        let mut files = vec![Vec::new()];
        let mut fill = Fill::default();
        for chunk in chunks {
            let mut data = chunk.as_slice();
            while !data.is_empty() {
                match fill.cut(data, max) {
                    Cut::Rotate => {
                        assert!(fill.size > 0, "an empty file is never left");
                        files.push(Vec::new());
                        fill = Fill::default();
                    }
                    Cut::Write(bytes) => {
                        assert!(bytes > 0);
                        fill.add(&data[..bytes]);
                        files.last_mut().expect("one").extend_from_slice(&data[..bytes]);
                        data = &data[bytes..];
                    }
                }
            }
        }
        files
    }

    fn in_chunks(data: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let (mut rest, mut chunks) = (data, Vec::new());
        for &size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, tail) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk.to_vec());
            rest = tail;
        }
        chunks
    }

    #[test]
    fn the_last_line_end_is_found_wherever_it_is() {
        let mut data = vec![b'x'; 3 * SEARCH_BYTES - 36];
        assert_eq!(after_last_line_end(&data), 0);
        for at in [0, 1, 475, 476, 477, 987, 988, data.len() - 1] {
            data[at] = b'\n';
            assert_eq!(after_last_line_end(&data), at + 1);
        }
    }

    #[test]
    fn whole_lines_fill_a_file_to_its_last_byte() {
        let chunks = vec![b"aaaa\nbbbb\ncccc\n".to_vec()];
        assert_eq!(files(&chunks, 10), [b"aaaa\nbbbb\n".to_vec(), b"cccc\n".to_vec()]);
    }

    #[test]
    fn a_line_longer_than_a_file_is_split_at_the_size() {
        let chunks = vec![b"x\n0123456789abcde\ny\n".to_vec()];
        let expected: [&[u8]; 3] = [b"x\n", b"0123456789", b"abcde\ny\n"];
        assert_eq!(files(&chunks, 10), expected);
    }

    #[test]
    fn a_long_line_in_pieces_is_not_split() {
        let chunks = vec![b"x\n12".to_vec(), b"345".to_vec(), b"6789\n".to_vec()];
        assert_eq!(files(&chunks, 10), [b"x\n123456789\n".to_vec()]);
    }

    proptest! {
        #[test]
        fn lines_stay_whole_and_files_in_size(
            lines in prop::collection::vec(0..50usize, 1..60),
            sizes in prop::collection::vec(1..90usize, 1..8),
            max in 100..400u64,
        ) {
            let data: Vec<u8> = lines
                .iter()
                .flat_map(|&bytes| [vec![b'x'; bytes.min(max as usize / 2 - 1)], vec![b'\n']])
                .flatten()
                .collect();
            let files = files(&in_chunks(&data, &sizes), max);
            prop_assert_eq!(files.concat(), data);
            for file in &files {
                prop_assert!(file.len() as u64 <= max);
                prop_assert_eq!(file.last(), Some(&b'\n'));
            }
        }

        #[test]
        fn only_lines_longer_than_a_file_are_split(
            lines in prop::collection::vec(0..300usize, 1..60),
            sizes in prop::collection::vec(1..500usize, 1..8),
            max in 1..200u64,
        ) {
            let data: Vec<u8> = lines
                .iter()
                .flat_map(|&bytes| [vec![b'x'; bytes], vec![b'\n']])
                .flatten()
                .collect();
            let files = files(&in_chunks(&data, &sizes), max);
            prop_assert_eq!(files.concat(), data);
            for (index, file) in files.iter().enumerate() {
                prop_assert!((file.len() as u64) < 2 * max + 1);
                if file.last() != Some(&b'\n') {
                    // The line that begins in it and ends in a later one.
                    let next: Vec<u8> = files[index + 1..].concat();
                    let line = first_line(&next) + file.len() - after_last_line_end(file);
                    prop_assert!(line as u64 > max, "a line of {} was split at {}", line, max);
                }
            }
        }
    }
}
