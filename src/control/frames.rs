//! The frames that a connection carries once it is upgraded by ExecStream: one byte kind, four
//! bytes length (big endian), data.

use crate::vocabulary::limits::FRAME_BYTES_MAX;
use crate::vocabulary::{ExitStatus, WindowSize};
use serde_json::json;

/// Bytes before the data.
pub(crate) const HEAD_BYTES: usize = 5;

/// The kinds of frames. To the daemon:
const STDIN: u8 = 0;
const END_OF_STDIN: u8 = 1;
const RESIZE: u8 = 2;
const SIGNAL: u8 = 3;
/// From it:
const STDOUT: u8 = 16;
const STDERR: u8 = 17;
const END_OF_STDOUT: u8 = 18;
const END_OF_STDERR: u8 = 19;
const EXIT: u8 = 20;

/// A frame, whichever way it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame<'a> {
    Stdin(&'a [u8]),
    EndOfStdin,
    Resize(WindowSize),
    /// The name of a signal.
    Signal(&'a str),
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    EndOfStdout,
    EndOfStderr,
    /// JSON.
    Exit(&'a [u8]),
    /// Of another kind, or with data that such a kind cannot have: to be skipped.
    Unknown,
}

/// A frame that is longer than any may be: nothing behind it can be read.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct TooLong(pub(crate) u32);

/// The first frame of `bytes`, and how many bytes it takes; `None`: it is not whole yet.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, TooLong> {
    let Some((&[kind, a, b, c, d], rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]);
    if length as usize > FRAME_BYTES_MAX {
        return Err(TooLong(length));
    }
    let Some(data) = rest.get(..length as usize) else { return Ok(None) };
    Ok(Some((frame(kind, data), HEAD_BYTES + data.len())))
}

fn frame(kind: u8, data: &[u8]) -> Frame<'_> {
    match (kind, data) {
        (STDIN, data) => Frame::Stdin(data),
        (END_OF_STDIN, _) => Frame::EndOfStdin,
        (RESIZE, &[a, b, c, d]) => Frame::Resize(WindowSize {
            rows: u16::from_be_bytes([a, b]),
            columns: u16::from_be_bytes([c, d]),
        }),
        (SIGNAL, name) => std::str::from_utf8(name).map_or(Frame::Unknown, Frame::Signal),
        (STDOUT, data) => Frame::Stdout(data),
        (STDERR, data) => Frame::Stderr(data),
        (END_OF_STDOUT, _) => Frame::EndOfStdout,
        (END_OF_STDERR, _) => Frame::EndOfStderr,
        (EXIT, data) => Frame::Exit(data),
        _ => Frame::Unknown,
    }
}

/// Appends a frame. Data that is longer than a frame may be becomes several.
pub(crate) fn append(output: &mut Vec<u8>, frame: &Frame<'_>) {
    let size;
    let (kind, data): (u8, &[u8]) = match frame {
        Frame::Stdin(data) => (STDIN, data),
        Frame::EndOfStdin => (END_OF_STDIN, &[]),
        Frame::Resize(WindowSize { rows, columns }) => {
            let ([a, b], [c, d]) = (rows.to_be_bytes(), columns.to_be_bytes());
            size = [a, b, c, d];
            (RESIZE, &size)
        }
        Frame::Signal(name) => (SIGNAL, name.as_bytes()),
        Frame::Stdout(data) => (STDOUT, data),
        Frame::Stderr(data) => (STDERR, data),
        Frame::EndOfStdout => (END_OF_STDOUT, &[]),
        Frame::EndOfStderr => (END_OF_STDERR, &[]),
        Frame::Exit(data) => (EXIT, data),
        Frame::Unknown => return,
    };
    let mut rest = data;
    loop {
        let (piece, more) = rest.split_at(rest.len().min(FRAME_BYTES_MAX));
        output.push(kind);
        output.extend_from_slice(&(piece.len() as u32).to_be_bytes());
        output.extend_from_slice(piece);
        rest = more;
        if rest.is_empty() {
            return;
        }
    }
}

/// The data of the last frame.
pub(crate) fn exit_data(status: ExitStatus) -> Vec<u8> {
    let exit = json!({ "exit_code": status.exit_code(), "signal": status.signal() });
    exit.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_what_the_contract_says() {
        let size = WindowSize { rows: 24, columns: 258 };
        for (frame, bytes) in [
            (Frame::Stdin(b"ab"), &b"\x00\x00\x00\x00\x02ab"[..]),
            (Frame::EndOfStdin, b"\x01\x00\x00\x00\x00"),
            (Frame::Resize(size), b"\x02\x00\x00\x00\x04\x00\x18\x01\x02"),
            (Frame::Signal("HUP"), b"\x03\x00\x00\x00\x03HUP"),
            (Frame::Stdout(b"x"), b"\x10\x00\x00\x00\x01x"),
            (Frame::Stderr(b""), b"\x11\x00\x00\x00\x00"),
            (Frame::EndOfStdout, b"\x12\x00\x00\x00\x00"),
            (Frame::EndOfStderr, b"\x13\x00\x00\x00\x00"),
            (Frame::Exit(b"{}"), b"\x14\x00\x00\x00\x02{}"),
        ] {
            let mut written = Vec::new();
            append(&mut written, &frame);
            assert_eq!(written, bytes, "{frame:?}");
            assert_eq!(first(bytes), Ok(Some((frame, bytes.len()))));
            for short in 0..bytes.len() {
                assert_eq!(first(&bytes[..short]), Ok(None));
            }
        }
        assert_eq!(first(b"\x04\x00\x00\x00\x01x"), Ok(Some((Frame::Unknown, 6))));
        assert_eq!(first(b"\x02\x00\x00\x00\x01x"), Ok(Some((Frame::Unknown, 6))));
        assert_eq!(first(b"\x03\x00\x00\x00\x01\xff"), Ok(Some((Frame::Unknown, 6))));
    }

    #[test]
    fn the_longest_frame_is_taken_and_a_longer_one_is_not() {
        let mut bytes = vec![STDIN, 0, 1, 0, 0];
        assert_eq!(first(&bytes), Ok(None));
        bytes.resize(HEAD_BYTES + FRAME_BYTES_MAX, b'x');
        assert_eq!(first(&bytes).map(|found| found.map(|(_, taken)| taken)), Ok(Some(bytes.len())));
        assert_eq!(first(&[STDIN, 0, 1, 0, 1]), Err(TooLong(65_537)));
    }

    #[test]
    fn long_data_becomes_several_frames() {
        let data = vec![7; 2 * FRAME_BYTES_MAX + 1];
        let mut bytes = Vec::new();
        append(&mut bytes, &Frame::Stdout(&data));
        let mut rest = &bytes[..];
        let mut lengths = Vec::new();
        while let Ok(Some((Frame::Stdout(piece), taken))) = first(rest) {
            lengths.push(piece.len());
            rest = &rest[taken..];
        }
        assert_eq!((rest.len(), lengths), (0, vec![FRAME_BYTES_MAX, FRAME_BYTES_MAX, 1]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = &bytes[..];
            while let Ok(Some((_, taken))) = first(rest) {
                prop_assert!(taken >= HEAD_BYTES && taken <= rest.len());
                rest = &rest[taken..];
            }
        }
    }
}
