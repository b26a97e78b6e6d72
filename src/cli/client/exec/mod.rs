//! The verb exec.

mod live;
mod streams;

use super::session::{Session, milliseconds};
use crate::cli::arguments::ExecArguments;
use crate::cli::failure::{Failure, OWN, TIMED_OUT};
use crate::cli::output::print_json;
use crate::cli::task_flags::environment;
use crate::sys::pty;
use live::Live;
use serde_json::{Value, json};
use std::io::{stderr, stdin, stdout};
use std::os::fd::AsFd;

/// Runs a command in a task's context, and exits as it did.
pub(crate) fn exec(session: &Session, arguments: &ExecArguments) -> Result<u8, Failure> {
    let mut parameters = common(arguments)?;
    if session.json {
        if let Some(timeout) = arguments.timeout {
            parameters["timeout_ms"] = milliseconds(timeout);
        }
        let reply = session.connect()?.call("org.ostler.Exec", &parameters)?;
        print_json(&reply)?;
        return Ok(exit_code(&reply));
    }
    if arguments.tty {
        parameters["tty"] = true.into();
        // Input is that of the terminal that is typed at.
        let (input, output, errors) = (stdin(), stdout(), stderr());
        let terminals = [input.as_fd(), output.as_fd(), errors.as_fd()];
        if let Some(size) = terminals.into_iter().find_map(pty::size) {
            parameters["rows"] = size.rows.into();
            parameters["columns"] = size.columns.into();
        }
    }
    let (stream, early) = session.connect()?.upgrade("org.ostler.ExecStream", &parameters)?;
    Live::new(arguments, stream, early)?.run()
}

/// What both methods take.
fn common(arguments: &ExecArguments) -> Result<Value, Failure> {
    let (command, args) = arguments.command.split_first().map_or(("", &[][..]), |(c, a)| (c, a));
    let mut parameters = json!({ "name": arguments.name, "command": command });
    if !args.is_empty() {
        parameters["args"] = args.into();
    }
    let mut env = environment(&[], &arguments.env)?;
    if arguments.tty
        && !env.iter().any(|entry| entry.starts_with("TERM="))
        && let Ok(terminal) = std::env::var("TERM")
    {
        env.push(format!("TERM={terminal}"));
    }
    if !env.is_empty() {
        parameters["env"] = env.into();
    }
    if let Some(user) = &arguments.user {
        parameters["user"] = user.as_str().into();
    }
    if let Some(directory) = &arguments.work_dir {
        parameters["work_dir"] = directory.as_str().into();
    }
    Ok(parameters)
}

/// The code of an end that the daemon tells of.
fn exit_code(exit: &Value) -> u8 {
    if exit.get("timed_out") == Some(&Value::Bool(true)) {
        return TIMED_OUT;
    }
    let code = exit.get("exit_code").and_then(Value::as_u64);
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(OWN)
}
