//! The verb wait, and how the end of a task becomes an exit code.

use super::session::{Session, milliseconds};
use crate::cli::arguments::WaitArguments;
use crate::cli::complain::complain;
use crate::cli::failure::{Failure, OWN};
use crate::cli::output::print_json;
use serde_json::{Value, json};

/// Waits until a task has exited for good, and exits as it did.
pub(crate) fn wait(session: &Session, arguments: &WaitArguments) -> Result<u8, Failure> {
    let mut parameters = json!({ "name": arguments.name });
    if let Some(timeout) = arguments.timeout {
        parameters["timeout_ms"] = milliseconds(timeout);
    }
    let reply = session.connect()?.call("org.ostler.Wait", &parameters)?;
    let status = reply.get("status").unwrap_or(&reply);
    if session.json {
        print_json(status)?;
    }
    Ok(exit_as_the_task(&format!("wait {}", arguments.name), status))
}

/// The exit code of the last run. Says on standard error what the code alone does not tell.
fn exit_as_the_task(what: &str, status: &Value) -> u8 {
    let exit = status.get("exit").filter(|exit| !exit.is_null());
    let Some(exit) = exit else {
        let error = status.pointer("/error/message").and_then(Value::as_str);
        match error {
            Some(message) => complain(what, format_args!("the task did not start: {message}")),
            None => complain(what, "the task has ended without a run"),
        }
        return OWN;
    };
    if exit.get("oom_killed") == Some(&Value::Bool(true)) {
        complain(what, "the OOM killer ended a process of the task");
    }
    let known = exit.get("status_known") != Some(&Value::Bool(false));
    let code = exit.get("exit_code").and_then(Value::as_u64);
    match code.and_then(|code| u8::try_from(code).ok()).filter(|_| known) {
        Some(code) => code,
        None => {
            complain(what, "the exit status of the task is not known");
            OWN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_tasks_own_where_it_is_known() {
        let code = |status: Value| exit_as_the_task("wait x", &status);
        assert_eq!(code(json!({"exit": {"exit_code": 7, "status_known": true}})), 7);
        assert_eq!(code(json!({"exit": {"exit_code": 137, "status_known": true}})), 137);
        assert_eq!(code(json!({"exit": {"exit_code": -1, "status_known": false}})), 125);
        assert_eq!(code(json!({"error": {"message": "no"}})), 125);
        assert_eq!(code(json!({})), 125);
    }
}
