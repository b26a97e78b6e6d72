//! Output of tasks in whole lines, each behind the name of its task.

/// A line longer than this is printed in pieces, so that a task that never ends one is bounded.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
}

impl Lines {
    /// The beginning of a line whose end has not come.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Goes on with that.
    pub(super) fn go_on(partial: Vec<u8>) -> Lines {
        Lines { partial }
    }

    /// Hands each line that is complete, or too long to wait for its end, to `print`, without its
    /// line end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut print: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = (bytes.get(..end).unwrap_or_default(), bytes.get(end + 1..));
            if self.partial.is_empty() {
                print(line);
            } else {
                self.partial.extend_from_slice(line);
                print(&std::mem::take(&mut self.partial));
            }
            bytes = rest.unwrap_or_default();
        }
        self.partial.extend_from_slice(bytes);
        if self.partial.len() >= LINE_BYTES_MAX {
            print(&std::mem::take(&mut self.partial));
        }
    }

    /// The stream has ended: what is left is a line.
    pub(super) fn finish(&mut self, mut print: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            print(&std::mem::take(&mut self.partial));
        }
    }
}

/// Colours of terminals (SGR) that can be read on light and dark alike.
const COLOURS: [&str; 12] =
    ["36", "33", "32", "35", "34", "31", "36;1", "33;1", "32;1", "35;1", "34;1", "31;1"];

/// What stands before each line of task number `index`: its name, in as many columns as the
/// longest one needs.
pub(super) fn prefix(name: &str, width: usize, index: usize, coloured: bool) -> String {
    match COLOURS.get(index % COLOURS.len()) {
        Some(colour) if coloured => format!("\x1b[{colour}m{name:width$} |\x1b[0m "),
        _ => format!("{name:width$} | "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for piece in pieces {
            lines.feed(piece, |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        }
        lines.finish(|line| seen.push(format!("{}$", String::from_utf8_lossy(line))));
        seen
    }

    #[test]
    fn a_partial_line_waits_for_its_end() {
        assert_eq!(feed(&[b"a\nb", b"c\n", b"\n", b"d"]), ["a", "bc", "", "d$"]);
        assert_eq!(feed(&[b""]), Vec::<String>::new());
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let seen = feed(&[&long, b"y\n"]);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 1]);
    }

    #[test]
    fn names_stand_in_columns() {
        assert_eq!(prefix("web", 5, 0, false), "web   | ");
        assert_eq!(prefix("web", 3, 12, true), "\x1b[36mweb |\x1b[0m ");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(pieces in proptest::collection::vec("[ab\n]{0,9}", 0..9)) {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in &pieces {
                lines.feed(piece.as_bytes(), |line| {
                    seen.extend_from_slice(line);
                    seen.push(b'\n');
                });
            }
            lines.finish(|line| seen.extend_from_slice(line));
            prop_assert_eq!(seen, pieces.concat().into_bytes());
        }
    }
}
