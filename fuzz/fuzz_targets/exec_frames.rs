//! Bytes of a client of ExecStream, in pieces: no panic, the same frames whatever the pieces are, no
//! frame that is waited for without end, and what is written of a frame is that frame again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::control::fuzzing::read_frames;

fuzz_target!(|bytes: &[u8]| {
    let (&size, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let (whole, ended) = read_frames(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(size) + 1).collect();
    let (again, also_ended) = read_frames(&pieces);
    assert_eq!((&whole, ended), (&again, also_ended));
    let written: Vec<u8> = whole.concat();
    let (read, refused) = read_frames(&[&written]);
    assert!(!refused);
    assert_eq!(read, whole);
    assert!(written.len() <= bytes.len(), "more is written than was read");
});
