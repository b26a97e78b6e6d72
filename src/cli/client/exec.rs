//! The verb exec.

use super::session::{Session, milliseconds};
use crate::cli::arguments::ExecArguments;
use crate::cli::failure::{Failure, TIMED_OUT};
use crate::cli::output::print_json;
use crate::cli::task_flags::environment;
use serde_json::{Value, json};

/// Runs a command in a task's context, and exits as it did.
pub(crate) fn exec(session: &Session, arguments: &ExecArguments) -> Result<u8, Failure> {
    if !session.json {
        let why = "live streams are not available in this version (use --json)";
        return Err(Failure::Other(why.to_owned()));
    }
    let (command, args) = arguments.command.split_first().map_or(("", &[][..]), |(c, a)| (c, a));
    let mut parameters = json!({ "name": arguments.name, "command": command });
    if !args.is_empty() {
        parameters["args"] = args.into();
    }
    let env = environment(&[], &arguments.env)?;
    if !env.is_empty() {
        parameters["env"] = env.into();
    }
    if let Some(user) = &arguments.user {
        parameters["user"] = user.as_str().into();
    }
    if let Some(directory) = &arguments.work_dir {
        parameters["work_dir"] = directory.as_str().into();
    }
    if let Some(timeout) = arguments.timeout {
        parameters["timeout_ms"] = milliseconds(timeout);
    }
    let reply = session.connect()?.call("org.ostler.Exec", &parameters)?;
    print_json(&reply)?;
    exit_code(&reply)
}

fn exit_code(reply: &Value) -> Result<u8, Failure> {
    if reply.get("timed_out") == Some(&Value::Bool(true)) {
        return Ok(TIMED_OUT);
    }
    let code = reply.get("exit_code").and_then(Value::as_u64);
    code.and_then(|code| u8::try_from(code).ok())
        .ok_or_else(|| Failure::Other("the exit status of the command is not known".to_owned()))
}
