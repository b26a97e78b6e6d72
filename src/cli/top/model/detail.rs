//! What is shown of one task: all that is known of it, what happened to it, and what it wrote.

use crate::cli::table::printable;
use crate::cli::top::wire::{Event, Status};
use std::collections::VecDeque;

/// Lines of output that are kept.
const LINES_MAX: usize = 1000;
/// The rest of a longer line is not shown.
const LINE_BYTES_MAX: usize = 4096;
/// Events that are kept.
const EVENTS_MAX: usize = 200;

/// A stream of a task.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) enum Stream {
    Stdout,
    Stderr,
}

/// A line of output, or, without a stream, one that says why there is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) struct Line {
    pub(in crate::cli::top) stream: Option<Stream>,
    pub(in crate::cli::top) text: String,
}

/// One task, looked at more closely.
#[derive(Debug, Default)]
pub(in crate::cli::top) struct Detail {
    pub(in crate::cli::top) name: String,
    /// The launch that is looked at, once it is known.
    pub(in crate::cli::top) id: String,
    /// The answer to Inspect.
    pub(in crate::cli::top) status: Option<Status>,
    pub(in crate::cli::top) events: VecDeque<Event>,
    pub(in crate::cli::top) lines: VecDeque<Line>,
    /// Lines that were scrolled back from the last one.
    pub(in crate::cli::top) back: usize,
    /// All that a stream will ever have has come: it has exited for good.
    pub(super) over: bool,
    /// Lines without their end, of each stream.
    partial: [Vec<u8>; 2],
}

impl Detail {
    pub(super) fn new(name: String) -> Detail {
        Detail { name, ..Detail::default() }
    }

    pub(super) fn take_event(&mut self, event: Event) {
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    /// Takes in output.
    pub(super) fn take_output(&mut self, stream: Stream, bytes: &[u8]) {
        let mut partial = std::mem::take(self.partial_of(stream));
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(partial.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            partial.extend_from_slice(text.get(..room).unwrap_or(text));
            if piece.ends_with(b"\n") {
                self.push(Line { stream: Some(stream), text: readable(&partial) });
                partial.clear();
            }
        }
        *self.partial_of(stream) = partial;
    }

    /// No more output comes; why not, unless that was all.
    pub(super) fn end_output(&mut self, stream: Stream, why: Option<String>) {
        let rest = std::mem::take(self.partial_of(stream));
        if !rest.is_empty() {
            self.push(Line { stream: Some(stream), text: readable(&rest) });
        }
        match why {
            Some(text) => self.push(Line { stream: None, text }),
            None => self.over = true,
        }
    }

    fn push(&mut self, line: Line) {
        self.lines.push_back(line);
        if self.back > 0 {
            // What is looked at stays where it is.
            self.back = (self.back + 1).min(LINES_MAX);
        }
        while self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }

    fn partial_of(&mut self, stream: Stream) -> &mut Vec<u8> {
        let [stdout, stderr] = &mut self.partial;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }
}

/// A line as it can be shown: without colours and other commands to a terminal, and with tabs as
/// spaces.
fn readable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut text = String::new();
    let mut characters = String::from_utf8_lossy(line).into_owned().replace('\t', "    ");
    while let Some(start) = characters.find("\x1b[") {
        text.push_str(characters.get(..start).unwrap_or_default());
        let rest = characters.get(start + 2..).unwrap_or_default();
        let end = rest.find(|c: char| !('\x20'..'\x40').contains(&c));
        let last = end.and_then(|end| rest.get(end..)?.chars().next()).map_or(0, char::len_utf8);
        characters = rest.get(end.unwrap_or(rest.len()) + last..).unwrap_or_default().to_owned();
    }
    printable(&(text + &characters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(detail: &Detail) -> Vec<&str> {
        detail.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn output_is_cut_into_lines_of_each_stream() {
        let mut detail = Detail::new("web".into());
        detail.take_output(Stream::Stdout, b"one\ntw");
        detail.take_output(Stream::Stderr, b"oops\n");
        detail.take_output(Stream::Stdout, b"o\r\nthree");
        assert_eq!(texts(&detail), ["one", "oops", "two"]);
        assert_eq!(detail.lines[1].stream, Some(Stream::Stderr));
        detail.end_output(Stream::Stdout, None);
        detail.end_output(Stream::Stderr, None);
        assert_eq!(texts(&detail)[3..], ["three"]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut detail = Detail::new("web".into());
        detail.take_output(Stream::Stdout, &[b'x'; 3 * LINE_BYTES_MAX]);
        detail.take_output(Stream::Stdout, b"y\nz\n");
        assert_eq!(detail.lines[0].text.len(), LINE_BYTES_MAX);
        assert_eq!(detail.lines[1].text, "z");
        detail.back = 1;
        detail.take_output(Stream::Stdout, "a\n".repeat(2 * LINES_MAX).as_bytes());
        assert_eq!((detail.lines.len(), detail.back), (LINES_MAX, LINES_MAX));
        for time_us in 0..1000 {
            detail.take_event(Event { time_us, ..Event::default() });
        }
        assert_eq!((detail.events.len(), detail.events[0].time_us), (EVENTS_MAX, 800));
    }

    #[test]
    fn a_line_steers_no_terminal() {
        assert_eq!(readable(b"\x1b[1;31mred\x1b[0m\tx\r"), "red    x");
        assert_eq!(readable(b"a\x1b]0;title\x07b\xff"), "a\\u{1b}]0;title\\u{7}b\u{fffd}");
        assert_eq!(readable(b"cut\x1b[3"), "cut");
        assert_eq!(readable("\x1b[é".as_bytes()), "");
    }
}
