//! Bytes of a client, in pieces, into a session: no panic, one answer for each call, every answer
//! a message, and the same answers whatever the pieces are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::control::fuzzing::{converse, survives_the_wire};

fuzz_target!(|bytes: &[u8]| {
    let (&size, bytes) = bytes.split_first().unwrap_or((&0, &[]));
    let (output, tasks) = converse(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(size) + 1).collect();
    let (again, same_tasks) = converse(&pieces);
    assert_eq!(output.escape_ascii().to_string(), again.escape_ascii().to_string());
    assert_eq!(tasks, same_tasks);
    if !output.is_empty() {
        assert_eq!(output.last(), Some(&0), "the last message is not terminated");
    }
    let calls = bytes.iter().filter(|&&byte| byte == 0).count();
    let answers: Vec<&[u8]> = output.split(|&byte| byte == 0).filter(|m| !m.is_empty()).collect();
    assert!(answers.len() <= calls, "{} answers to {calls} messages", answers.len());
    for answer in answers {
        let value: serde_json::Value = serde_json::from_slice(answer).expect("an answer is JSON");
        assert!(value.get("parameters").is_some() || value.get("error").is_some());
    }
    for task in tasks {
        // Whether it can be launched is another question; asking must not panic.
        let _ = task.validate();
        assert!(survives_the_wire(&task) || task.validate().is_err(), "{task:?}");
    }
});
