//! A session without a supervisor behind it, for fuzzing.

use super::request::{self, Decoded};
use crate::control::failure::Failure;
use crate::control::frames::{self, Frame};
use crate::control::message::Call;
use crate::control::session::Session;
use crate::control::wire::{Fields, task_from_json, task_to_json};
use crate::vocabulary::{Request, TaskSpec};
use serde_json::json;

/// All that a client gets to read that sends these pieces, and the tasks that it asked for. Nothing
/// is done: whatever is a request is answered with the method's name.
pub fn converse(pieces: &[&[u8]]) -> (Vec<u8>, Vec<TaskSpec>) {
    let mut session = Session::default();
    let (mut output, mut tasks) = (Vec::new(), Vec::new());
    for piece in pieces {
        session.receive(piece);
        while let Some(call) = session.next_call() {
            let method = call.method.clone();
            match decode(call) {
                Ok(Some(Request::Launch { spec, .. })) => {
                    tasks.push(*spec);
                    session.reply(&json!({ "method": method }));
                }
                Ok(_) => session.reply(&json!({ "method": method })),
                Err(failure) => session.fail(&failure),
            }
        }
        let unsent = session.output().len();
        output.extend_from_slice(session.output());
        session.sent(unsent);
    }
    (output, tasks)
}

fn decode(call: Call) -> Result<Option<Request>, Failure> {
    let fields = Fields::of("", call.parameters)?;
    let method = call.method.strip_prefix("org.ostler.").unwrap_or_default();
    Ok(match request::decode(method, fields)? {
        Decoded::Request(request, _) => Some(request),
        Decoded::Other => None,
    })
}

/// Whether the protocol's form of a task means that task again.
pub fn survives_the_wire(task: &TaskSpec) -> bool {
    task_from_json(task_to_json(task)).is_ok_and(|again| again == *task)
}

/// The frames that these pieces hold, each as it would be written, but for those that are skipped;
/// and whether the connection ends because of one that is too long.
pub fn read_frames(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut session = Session::default();
    session.upgrade();
    let mut found = Vec::new();
    for piece in pieces {
        for byte in piece.chunks(usize::from(u16::MAX)) {
            session.receive(byte);
            loop {
                let taken = match frames::first(session.raw_input()) {
                    Ok(None) => break,
                    Err(_) => return (found, true),
                    Ok(Some((frame, taken))) => {
                        let mut written = Vec::new();
                        frames::append(&mut written, &frame);
                        if frame != Frame::Unknown {
                            found.push(written);
                        }
                        taken
                    }
                };
                session.raw_taken(taken);
            }
            assert!(session.wants_input(), "a frame that is never whole");
        }
    }
    (found, false)
}
