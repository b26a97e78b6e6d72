//! The verb exec.

use super::session::{Session, milliseconds, text_of};
use crate::cli::arguments::ExecArguments;
use crate::cli::complain::complain;
use crate::cli::failure::{Failure, TIMED_OUT};
use crate::cli::output::{print, print_json};
use crate::cli::task_flags::environment;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Write;

/// Runs a command in a task's context, and exits as it did.
pub(crate) fn exec(session: &Session, arguments: &ExecArguments) -> Result<u8, Failure> {
    if arguments.interactive || arguments.tty {
        let why = "-i and -t are not available in this version";
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
    if session.json {
        print_json(&reply)?;
    } else {
        pass_on(&arguments.name, &reply)?;
    }
    exit_code(&reply)
}

/// Writes what the command wrote to the same streams here.
fn pass_on(name: &str, reply: &Value) -> Result<(), Failure> {
    let stream = |field| {
        let data = STANDARD.decode(text_of(reply, field));
        data.map_err(|error| Failure::Other(format!("the daemon's reply: {error}")))
    };
    print(&stream("stdout_base64")?)?;
    // Where standard error is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(&stream("stderr_base64")?);
    if reply.get("truncated") == Some(&Value::Bool(true)) {
        complain(&format!("exec {name}"), "only the end of the output was kept");
    }
    if reply.get("timed_out") == Some(&Value::Bool(true)) {
        complain(&format!("exec {name}"), "timed out, the command was killed");
    }
    Ok(())
}

fn exit_code(reply: &Value) -> Result<u8, Failure> {
    if reply.get("timed_out") == Some(&Value::Bool(true)) {
        return Ok(TIMED_OUT);
    }
    let code = reply.get("exit_code").and_then(Value::as_u64);
    code.and_then(|code| u8::try_from(code).ok())
        .ok_or_else(|| Failure::Other("the exit status of the command is not known".to_owned()))
}
