//! From the bytes of a terminal to keys (ECMA-48, and what xterm and the Linux console send).

/// A key that means something here.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Character(char),
    /// With this letter.
    Control(char),
    Enter,
    Escape,
    Backspace,
    Delete,
    Tab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Help,
}

/// No sequence is as long.
const SEQUENCE_BYTES_MAX: usize = 64;

/// Cuts what comes from a terminal into keys. A sequence may come in pieces.
#[derive(Debug, Default)]
pub(super) struct Keys {
    held: Vec<u8>,
}

/// What the beginning of the bytes is.
enum Start {
    /// A key, or a sequence that is none of ours, of so many bytes.
    Whole(usize, Option<Key>),
    /// The rest may still come.
    Part,
}

impl Keys {
    /// The keys that are complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.held.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut taken = 0;
        while let Some(rest) = self.held.get(taken..).filter(|rest| !rest.is_empty()) {
            match start(rest) {
                Start::Whole(length, key) => {
                    taken += length;
                    keys.extend(key);
                }
                Start::Part if rest.len() < SEQUENCE_BYTES_MAX => break,
                Start::Part => taken += 1,
            }
        }
        self.held.drain(..taken);
        keys
    }

    /// Whether a sequence is incomplete: Escape alone is the beginning of one, too.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Nothing more has come for a moment: what is held is all there is.
    pub(super) fn give_up(&mut self) -> Option<Key> {
        let held = std::mem::take(&mut self.held);
        (held == [ESCAPE]).then_some(Key::Escape)
    }
}

const ESCAPE: u8 = 0x1b;

fn start(bytes: &[u8]) -> Start {
    match *bytes {
        [ESCAPE] => Start::Part,
        [ESCAPE, b'[', ..] => control_sequence(bytes),
        [ESCAPE, b'O'] => Start::Part,
        [ESCAPE, b'O', letter, ..] => Start::Whole(3, letter_key(letter)),
        // Escape twice, or a key together with Alt: that is Escape before it.
        [ESCAPE, ..] => Start::Whole(1, Some(Key::Escape)),
        [b'\r' | b'\n', ..] => Start::Whole(1, Some(Key::Enter)),
        [b'\t', ..] => Start::Whole(1, Some(Key::Tab)),
        [0x7f | 0x08, ..] => Start::Whole(1, Some(Key::Backspace)),
        [control @ 1..=26, ..] => {
            Start::Whole(1, Some(Key::Control(char::from(control - 1 + b'a'))))
        }
        [0..=31, ..] => Start::Whole(1, None),
        _ => character(bytes),
    }
}

/// `ESC [ parameters final`.
fn control_sequence(bytes: &[u8]) -> Start {
    let parameters = bytes.get(2..).unwrap_or_default();
    // The Linux console: F1 to F5.
    if let [b'[', letter, ..] = *parameters {
        return Start::Whole(4, (letter == b'A').then_some(Key::Help));
    }
    if parameters == b"[" {
        return Start::Part;
    }
    let Some(length) = parameters.iter().position(|byte| !(0x20..0x40).contains(byte)) else {
        return Start::Part;
    };
    let last = parameters.get(length).copied().unwrap_or_default();
    let number = parameters.get(..length).unwrap_or_default();
    let number = number.split(|&byte| byte == b';').next().unwrap_or_default();
    let key = match (last, number) {
        (b'~', b"1" | b"7") => Some(Key::Home),
        (b'~', b"3") => Some(Key::Delete),
        (b'~', b"4" | b"8") => Some(Key::End),
        (b'~', b"5") => Some(Key::PageUp),
        (b'~', b"6") => Some(Key::PageDown),
        (b'~', b"11") => Some(Key::Help),
        // A byte that no sequence has ends it, and is a key of its own.
        (0..0x40 | 0x7f.., _) => return Start::Whole(2 + length, None),
        (letter, _) => letter_key(letter),
    };
    Start::Whole(2 + length + 1, key)
}

fn letter_key(letter: u8) -> Option<Key> {
    match letter {
        b'A' => Some(Key::Up),
        b'B' => Some(Key::Down),
        b'C' => Some(Key::Right),
        b'D' => Some(Key::Left),
        b'F' => Some(Key::End),
        b'H' => Some(Key::Home),
        b'M' => Some(Key::Enter),
        b'P' => Some(Key::Help),
        _ => None,
    }
}

fn character(bytes: &[u8]) -> Start {
    let length = match bytes.first() {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 1,
    };
    let Some(encoded) = bytes.get(..length) else { return Start::Part };
    match std::str::from_utf8(encoded).map(|text| text.chars().next()) {
        Ok(Some(character)) => Start::Whole(length, Some(Key::Character(character))),
        _ => Start::Whole(1, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let mut seen = keys.feed(bytes);
        seen.extend(keys.give_up());
        seen
    }

    #[test]
    fn terminals_are_understood() {
        for (bytes, key) in [
            (&b"a"[..], Key::Character('a')),
            ("é".as_bytes(), Key::Character('é')),
            ("😀".as_bytes(), Key::Character('😀')),
            (b"\r", Key::Enter),
            (b"\x1bOM", Key::Enter),
            (b"\x1b", Key::Escape),
            (b"\x7f", Key::Backspace),
            (b"\x08", Key::Backspace),
            (b"\t", Key::Tab),
            (b"\x03", Key::Control('c')),
            (b"\x1a", Key::Control('z')),
            (b"\x1b[A", Key::Up),
            (b"\x1bOB", Key::Down),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[D", Key::Left),
            (b"\x1b[H", Key::Home),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[3~", Key::Delete),
            (b"\x1bOF", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x1b[5~", Key::PageUp),
            (b"\x1b[6;2~", Key::PageDown),
            (b"\x1bOP", Key::Help),
            (b"\x1b[11~", Key::Help),
            (b"\x1b[[A", Key::Help),
        ] {
            assert_eq!(keys(bytes), [key], "{}", bytes.escape_ascii());
        }
        assert_eq!(keys(b"q\x1b\x1b[B"), [Key::Character('q'), Key::Escape, Key::Down]);
        assert_eq!(keys(b"\x1bx"), [Key::Escape, Key::Character('x')]);
    }

    #[test]
    fn what_is_none_of_ours_is_passed_over_whole() {
        // F12, a mouse report, focus, a cursor position, what is not UTF-8.
        for bytes in [&b"\x1b[24~"[..], b"\x1b[<0;1;1M", b"\x1b[I", b"\x1b[12;40R", b"\xff"] {
            let mut all = bytes.to_vec();
            all.push(b'q');
            let last = keys(&all).pop();
            assert_eq!(last, Some(Key::Character('q')), "{}", bytes.escape_ascii());
        }
        assert_eq!(keys(b"\x1b[3\rq"), [Key::Enter, Key::Character('q')]);
        assert_eq!(keys(b"\x1b[1"), []);
    }

    #[test]
    fn a_sequence_may_come_in_pieces() {
        let mut keys = Keys::default();
        assert_eq!(keys.feed(b"\x1b"), []);
        assert!(keys.is_waiting());
        assert_eq!(keys.feed(b"["), []);
        assert_eq!(keys.feed(b"5"), []);
        assert_eq!(keys.feed(b"~"), [Key::PageUp]);
        assert!(!keys.is_waiting());
        assert_eq!(keys.feed(b"\xc3"), []);
        assert_eq!(keys.feed(b"\xa9"), [Key::Character('é')]);
    }

    proptest! {
        #[test]
        fn it_ends_whatever_comes_and_holds_little(pieces in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..200), 0..5)) {
            let mut keys = Keys::default();
            for piece in &pieces {
                prop_assert!(keys.feed(piece).len() <= piece.len() + SEQUENCE_BYTES_MAX);
                prop_assert!(keys.held.len() < SEQUENCE_BYTES_MAX);
            }
        }

        #[test]
        fn pieces_mean_what_the_whole_means(
            text in "[a-z\u{1b}\\[0-9;~ABOé]{0,40}",
            cut in 0..60_usize,
        ) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let mut whole = Keys::default();
            let mut pieces = Keys::default();
            let seen = whole.feed(bytes);
            let mut parts = pieces.feed(&bytes[..cut]);
            parts.extend(pieces.feed(&bytes[cut..]));
            prop_assert_eq!(parts, seen);
        }
    }
}
