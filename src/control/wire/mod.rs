//! The types of org.ostler in JSON: decoding of what comes in, shapes of what goes out.

mod event;
mod fields;
mod isolation;
mod limits;
mod sink;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod usage;

pub(crate) use event::EventShape;
pub(crate) use fields::{Fields, Refusal};
pub(crate) use limits::{ResourcesShape, decode_resources};
pub(crate) use status::{ExitShape, StartErrorShape, StatusShape};
pub(crate) use task::{TaskShape, decode_task};
pub(crate) use usage::TaskStatsShape;
#[cfg(any(test, feature = "cli"))]
pub(crate) use usage::UsageShape;

use crate::vocabulary::{InvalidField, TaskSpec};
use serde_json::Value;

/// A task as the protocol has it.
///
/// What the protocol cannot say is left out: `after`, inherited settings, standard input, the
/// foreground and the parent-death signal. A descriptor of the host's is shown as `inherit`.
///
/// ```
/// let json = ostler::control::task_to_json(&ostler::TaskSpec::new("sleep"));
/// assert_eq!(json, serde_json::json!({"command": "sleep"}));
/// ```
pub fn task_to_json(spec: &TaskSpec) -> Value {
    // Strings, numbers and maps with string keys only: nothing of it can fail.
    serde_json::to_value(TaskShape::of(spec)).unwrap_or_default()
}

/// A status as the protocol has it; `id` is the printed form of its launch's id.
#[cfg(feature = "cli")]
pub(crate) fn status_to_json(status: &crate::vocabulary::Status, id: String) -> String {
    // As above: nothing of it can fail. A string, so that the fields keep their order.
    serde_json::to_string(&StatusShape::of(status, id, None)).unwrap_or_default()
}

/// The task that a JSON object of the protocol means, checked.
///
/// ```
/// use serde_json::json;
/// let task = ostler::control::task_from_json(json!({"command": "sleep", "args": ["1"]})).unwrap();
/// assert_eq!(task.args, ["1"]);
/// let error = ostler::control::task_from_json(json!({"command": "a", "colour": 1})).unwrap_err();
/// assert_eq!(error.field, "colour");
/// ```
///
/// # Errors
/// The first field that is not known, not of its type, or cannot be.
pub fn task_from_json(task: Value) -> Result<TaskSpec, InvalidField> {
    let decoded = Fields::of("", task).and_then(decode_task);
    decoded.map_err(|refusal| match refusal {
        Refusal::Parameter(path) => {
            let field = if path.is_empty() { "task".to_owned() } else { path };
            InvalidField { field, reason: "unknown, missing or not of its type".to_owned() }
        }
        Refusal::Task(field) => field,
        Refusal::Signal(signal) => {
            InvalidField { field: "kill_signal".to_owned(), reason: signal.to_string() }
        }
    })
}
