//! One connection without its descriptor: bytes in, calls one at a time in order, replies out.

use super::failure::Failure;
use super::frames;
use super::message::{self, Call, Malformed};
use crate::vocabulary::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, SEND_QUEUE_BYTES_MAX};
use serde::Serialize;

/// The state of a connection. Without a call under way it holds no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct Session {
    input: Queue,
    /// Of the unread input, what is known to hold no terminator.
    scanned: usize,
    output: Queue,
    state: State,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum State {
    /// The next call may be taken.
    #[default]
    Idle,
    /// A call waits for its answer, and holds up those after it.
    Answering { oneway: bool },
    /// It carries something else than calls, for ever.
    Raw,
    /// No call is taken any more; what is unsent is still sent.
    Closing,
}

#[derive(Serialize)]
struct Envelope<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    parameters: &'a P,
}

#[cfg(feature = "cli")]
impl Session {
    /// Where it stands, as [`Session::go_on`] has it; what has come and was not taken yet, and what
    /// is to be sent.
    pub(crate) fn standing(&self) -> (&'static str, &[u8], &[u8]) {
        let state = match self.state {
            State::Idle => "idle",
            State::Answering { oneway: false } => "answering",
            State::Answering { oneway: true } => "oneway",
            State::Raw => "raw",
            State::Closing => "closing",
        };
        (state, self.input.rest(), self.output.rest())
    }

    /// Goes on where one in another program stood; one that is not understood takes no more calls.
    pub(crate) fn go_on(state: &str, input: Vec<u8>, output: Vec<u8>) -> Session {
        let state = match state {
            "idle" => State::Idle,
            "answering" => State::Answering { oneway: false },
            "oneway" => State::Answering { oneway: true },
            "raw" => State::Raw,
            _ => State::Closing,
        };
        Session {
            input: Queue { bytes: input, taken: 0 },
            scanned: 0,
            output: Queue { bytes: output, taken: 0 },
            state,
        }
    }
}

impl Session {
    /// Takes in what the client sent.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        if self.state != State::Closing {
            self.input.bytes.extend_from_slice(bytes);
        }
    }

    /// Whether there is room for more of it. Calls that wait behind another one fill it up.
    pub(crate) fn wants_input(&self) -> bool {
        let most = match self.state {
            State::Closing => 0,
            State::Raw => 2 * (frames::HEAD_BYTES + FRAME_BYTES_MAX),
            State::Idle | State::Answering { .. } => MESSAGE_BYTES_MAX,
        };
        self.input.rest().len() < most
    }

    /// The next call, unless one is under way. What is no call is answered here.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        while self.state == State::Idle && !self.is_full() {
            let rest = self.input.rest();
            let new = rest.get(self.scanned..).unwrap_or_default();
            let end = new.iter().position(|&byte| byte == 0).map(|end| self.scanned + end);
            let Some(end) = end.filter(|&end| end < MESSAGE_BYTES_MAX) else {
                self.scanned = rest.len();
                if rest.len() >= MESSAGE_BYTES_MAX {
                    self.refuse(&Failure::message_too_long());
                }
                return None;
            };
            let parsed = message::parse(rest.get(..end).unwrap_or_default());
            self.input.advance(end + 1);
            self.scanned = 0;
            match parsed {
                Ok(call) => {
                    self.state = State::Answering { oneway: call.oneway };
                    return Some(call);
                }
                Err(Malformed::Field(path)) => {
                    self.write_failure(&Failure::invalid_parameter(&path));
                }
                Err(Malformed::Json) => self.refuse(&Failure::invalid_parameter("message")),
            }
        }
        None
    }

    /// Answers the call under way.
    pub(crate) fn reply<P: Serialize>(&mut self, parameters: &P) {
        if self.state == (State::Answering { oneway: false }) {
            let start = self.output.bytes.len();
            if !self.write(&Envelope { error: None, parameters }) {
                self.output.bytes.truncate(start);
                return self.fail(&Failure::reply_too_long());
            }
        }
        self.end();
    }

    /// Answers it, in part where it `continues`, with parameters that are JSON already.
    pub(crate) fn reply_json(&mut self, parameters: &[u8], continues: bool) {
        if self.state == (State::Answering { oneway: false }) {
            let output = &mut self.output.bytes;
            output.extend_from_slice(b"{\"parameters\":");
            output.extend_from_slice(parameters);
            output.extend_from_slice(if continues { b",\"continues\":true}\0" } else { b"}\0" });
        }
        if !continues {
            self.end();
        }
    }

    /// Answers it with an error.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.state == (State::Answering { oneway: false }) {
            self.write_failure(failure);
        }
        self.end();
    }

    /// The call under way is over, its answer is written or not wanted.
    pub(crate) fn end(&mut self) {
        if matches!(self.state, State::Answering { .. }) {
            self.state = State::Idle;
        }
    }

    /// From here on the connection carries no calls, but what [`Session::raw_input`] and
    /// [`Session::raw_output`] have.
    pub(crate) fn upgrade(&mut self) {
        if self.state == State::Idle {
            self.state = State::Raw;
            self.scanned = 0;
        }
    }

    /// What the client sent and was not taken yet.
    pub(crate) fn raw_input(&self) -> &[u8] {
        self.input.rest()
    }

    /// So much of it was taken.
    pub(crate) fn raw_taken(&mut self, bytes: usize) {
        self.input.advance(bytes);
    }

    /// Where to append what is to be sent.
    pub(crate) fn raw_output(&mut self) -> &mut Vec<u8> {
        &mut self.output.bytes
    }

    /// Sends an error that answers no call, and takes none any more.
    pub(crate) fn refuse(&mut self, failure: &Failure) {
        self.write_failure(failure);
        self.close();
    }

    /// Takes no call any more.
    pub(crate) fn close(&mut self) {
        self.state = State::Closing;
        self.input = Queue::default();
        self.scanned = 0;
    }

    /// What is to be sent.
    pub(crate) fn output(&self) -> &[u8] {
        self.output.rest()
    }

    /// So much of it was sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.output.advance(bytes);
    }

    /// No call is taken: the answer might be more than is kept for a client that does not read.
    pub(crate) fn is_full(&self) -> bool {
        self.output.rest().len() + MESSAGE_BYTES_MAX > SEND_QUEUE_BYTES_MAX
    }

    /// Nothing more will come out.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Closing && self.output.rest().is_empty()
    }

    fn write_failure(&mut self, failure: &Failure) {
        let start = self.output.bytes.len();
        let Failure { error, parameters } = failure;
        if !self.write(&Envelope { error: Some(error), parameters }) {
            self.output.bytes.truncate(start);
            let Failure { error, parameters } = &Failure::reply_too_long();
            self.write(&Envelope { error: Some(error), parameters });
        }
    }

    /// Appends a message; whether it is one and is not too long.
    fn write<P: Serialize>(&mut self, envelope: &Envelope<'_, P>) -> bool {
        let start = self.output.bytes.len();
        let written = serde_json::to_writer(&mut self.output.bytes, envelope);
        self.output.bytes.push(0);
        written.is_ok() && self.output.bytes.len() - start <= MESSAGE_BYTES_MAX
    }
}

/// Bytes that are added at the end and taken from the front. Its memory goes with the last byte.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// What was taken already.
    taken: usize,
}

impl Queue {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken >= self.bytes.len() {
            *self = Queue::default();
        } else if self.taken > self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn sent(session: &mut Session) -> Vec<Value> {
        let output = session.output().to_vec();
        session.sent(output.len());
        let mut messages: Vec<&[u8]> = output.split(|&byte| byte == 0).collect();
        assert_eq!(messages.pop(), Some(&b""[..]), "every message is terminated");
        messages.iter().map(|text| serde_json::from_slice(text).expect("JSON")).collect()
    }

    fn call(method: &str) -> Vec<u8> {
        format!("{{\"method\":\"{method}\"}}\0").into_bytes()
    }

    #[test]
    fn calls_come_one_at_a_time_and_in_order() {
        let mut session = Session::default();
        session.receive(&[call("a.A"), call("a.B")].concat());
        assert_eq!(session.next_call().expect("a call").method, "a.A");
        assert_eq!(session.next_call(), None, "the first one is not answered yet");
        session.reply_json(b"{\"n\":1}", true);
        session.reply(&json!({"n": 2}));
        assert_eq!(session.next_call().expect("a call").method, "a.B");
        session.fail(&Failure::no_such_task("x"));
        let replies = [
            json!({"parameters": {"n": 1}, "continues": true}),
            json!({"parameters": {"n": 2}}),
            json!({"error": "org.ostler.NoSuchTask", "parameters": {"name": "x"}}),
        ];
        assert_eq!(sent(&mut session), replies);
        assert_eq!(session.input.bytes.capacity(), 0);
        assert_eq!(session.output.bytes.capacity(), 0);
    }

    #[test]
    fn a_oneway_call_is_not_answered() {
        let mut session = Session::default();
        session.receive(b"{\"method\":\"a.A\",\"oneway\":true}\0");
        session.receive(&call("a.B"));
        assert!(session.next_call().expect("a call").oneway);
        session.fail(&Failure::expected_more());
        assert_eq!(sent(&mut session), [] as [Value; 0]);
        assert_eq!(session.next_call().expect("a call").method, "a.B");
    }

    #[test]
    fn a_call_in_pieces_is_a_call() {
        let mut session = Session::default();
        for byte in call("a.A") {
            assert_eq!(session.next_call(), None);
            session.receive(&[byte]);
        }
        assert_eq!(session.next_call().expect("a call").method, "a.A");
    }

    #[test]
    fn what_is_no_call_is_answered_and_what_is_no_json_ends_the_session() {
        let mut session = Session::default();
        session.receive(b"{\"method\":7}\0");
        session.receive(&call("a.A"));
        assert_eq!(session.next_call().expect("a call").method, "a.A");
        session.reply(&json!({}));
        session.receive(b"no\0");
        session.receive(&call("a.B"));
        assert_eq!(session.next_call(), None);
        let invalid = |parameter: &str| {
            let error = "org.varlink.service.InvalidParameter";
            json!({"error": error, "parameters": {"parameter": parameter}})
        };
        let expected = [invalid("method"), json!({"parameters": {}}), invalid("message")];
        assert!(!session.is_over());
        assert_eq!(sent(&mut session), expected);
        assert!(session.is_over());
    }

    #[test]
    fn the_longest_call_is_taken_and_a_longer_one_ends_the_session() {
        let padded = |length: usize| {
            let mut message = b"{\"method\":\"a.A\"".to_vec();
            message.resize(length - 2, b' ');
            message.extend_from_slice(b"}\0");
            message
        };
        let mut session = Session::default();
        session.receive(&padded(MESSAGE_BYTES_MAX));
        assert!(session.next_call().is_some());
        session.reply(&json!({}));
        session.sent(session.output().len());
        session.receive(&padded(MESSAGE_BYTES_MAX + 1));
        assert!(!session.wants_input());
        assert_eq!(session.next_call(), None);
        let replies = sent(&mut session);
        assert_eq!(replies[0]["error"], "org.ostler.Limit");
        assert_eq!(replies[0]["parameters"]["limit"], "message");
        assert_eq!(replies[0]["parameters"]["maximum"], MESSAGE_BYTES_MAX);
        assert!(session.is_over());
    }

    #[test]
    fn without_a_terminator_no_more_than_a_message_is_kept() {
        let mut session = Session::default();
        while session.wants_input() {
            session.receive(&[b' '; 1000]);
            session.next_call();
        }
        assert_eq!(sent(&mut session)[0]["parameters"]["limit"], "message");
        assert_eq!(session.input.bytes.capacity(), 0);
    }

    #[test]
    fn an_answer_that_is_too_long_is_an_error() {
        let mut session = Session::default();
        session.receive(&call("a.A"));
        session.next_call();
        session.reply(&json!({"text": "x".repeat(MESSAGE_BYTES_MAX)}));
        let replies = sent(&mut session);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0]["parameters"]["limit"], "reply");
        assert_eq!(session.state, State::Idle);
    }

    #[test]
    fn no_call_is_taken_while_the_answers_are_not_read() {
        let mut session = Session::default();
        let answer = json!({"text": "x".repeat(MESSAGE_BYTES_MAX - 100)});
        for _ in 0..4 {
            session.receive(&call("a.A"));
            assert!(session.next_call().is_some());
            session.reply(&answer);
        }
        assert!(session.is_full());
        assert!(session.output().len() <= SEND_QUEUE_BYTES_MAX);
        session.receive(&call("a.B"));
        assert_eq!(session.next_call(), None);
        session.sent(MESSAGE_BYTES_MAX);
        assert_eq!(session.next_call().expect("a call").method, "a.B");
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![Just(0), Just(b'{'), Just(b'"'), any::<u8>()]
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(pieces in prop::collection::vec(
            prop::collection::vec(byte(), 0..40),
            0..20,
        )) {
            let mut session = Session::default();
            for piece in pieces {
                session.receive(&piece);
                while session.next_call().is_some() {
                    session.reply(&json!({}));
                }
            }
            sent(&mut session);
        }
    }
}
