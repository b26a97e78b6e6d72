//! Replies that hold as many elements as fit.

use crate::vocabulary::limits::MESSAGE_BYTES_MAX;
use serde::Serialize;

/// Bytes of a message round the parameters.
const ENVELOPE_BYTES: usize = 128;
/// The most that the parameters of one message may take.
pub(super) const PARAMETERS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - ENVELOPE_BYTES;

/// `{"FIELD":[ELEMENT,...],"sequence":N}` while it is made.
#[derive(Debug)]
pub(super) struct Batch {
    json: Vec<u8>,
    elements: usize,
    most: usize,
    too_long: bool,
}

impl Batch {
    /// An empty one that takes about `most` bytes. A single element may be longer.
    pub(super) fn new(field: &str, most: usize) -> Batch {
        let json = format!("{{\"{field}\":[").into_bytes();
        Batch { json, elements: 0, most, too_long: false }
    }

    /// Adds an element, unless it does not fit.
    pub(super) fn push(&mut self, element: &impl Serialize) -> bool {
        let before = self.json.len();
        if self.elements > 0 {
            self.json.push(b',');
        }
        let written = serde_json::to_writer(&mut self.json, element).is_ok();
        let most = if self.elements > 0 { self.most } else { PARAMETERS_BYTES_MAX };
        let fits = written && self.json.len() <= most;
        if fits {
            self.elements += 1;
        } else {
            self.json.truncate(before);
            self.too_long |= self.elements == 0;
        }
        fits
    }

    pub(super) fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// A single element does not fit a message.
    pub(super) fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// The parameters of the reply.
    pub(super) fn finish(self, sequence: u64) -> Vec<u8> {
        self.finish_with("sequence", sequence)
    }

    /// The same with another field behind the list: a number or a flag.
    pub(super) fn finish_with(mut self, field: &str, value: impl std::fmt::Display) -> Vec<u8> {
        self.json.extend_from_slice(format!("],\"{field}\":{value}}}").as_bytes());
        self.json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_added_until_it_is_full() {
        let mut batch = Batch::new("tasks", 30);
        assert!(batch.is_empty());
        assert!(batch.push(&"0123456789"));
        assert!(!batch.push(&"0123456789"));
        assert!(batch.push(&7));
        assert!(!batch.is_too_long());
        assert_eq!(batch.finish(5), br#"{"tasks":["0123456789",7],"sequence":5}"#);
        assert_eq!(Batch::new("events", 9).finish(1), br#"{"events":[],"sequence":1}"#);
    }

    #[test]
    fn one_element_may_fill_a_message_but_no_more() {
        let mut batch = Batch::new("events", 30);
        assert!(batch.push(&"x".repeat(1000)));
        let mut batch = Batch::new("events", 30);
        assert!(!batch.push(&"x".repeat(MESSAGE_BYTES_MAX)));
        assert!(batch.is_too_long() && batch.is_empty());
    }
}
