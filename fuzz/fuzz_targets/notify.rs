//! Bytes of a service into the keeper's parser of notifications: no panic, no name that could not
//! stand in LISTEN_FDNAMES, and nothing passed on that the manager above would take for something
//! else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ostler::keeper::Message;

fuzz_target!(|bytes: &[u8]| {
    let Some(message) = Message::parse(bytes) else { return };
    for name in [message.keep, message.forget].into_iter().flatten() {
        assert!((1..=255).contains(&name.len()) && !name.contains(':') && name.is_ascii());
        assert!(!name.chars().any(char::is_control));
    }
    assert!(message.keep.is_none() || message.forget.is_none());
    let again = Message::parse(message.passed_on.as_bytes()).expect("what is passed on is text");
    assert_eq!(again.passed_on, message.passed_on);
    assert_eq!((again.ready, again.stopping), (message.ready, message.stopping));
    assert_eq!((again.keep, again.forget, again.names_main), (None, None, false));
});
