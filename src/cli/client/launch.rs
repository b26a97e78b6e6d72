//! The verb launch.

use super::connection::Connection;
use super::session::{Session, milliseconds, text_of};
use crate::cli::arguments::{IfExistsChoice, LaunchArguments, TaskFlags};
use crate::cli::complain::complain;
use crate::cli::failure::{Failure, UsageError};
use crate::cli::output::{print_json, print_line};
use crate::cli::task_file;
use crate::cli::task_flags::Context;
use crate::control::task_to_json;
use serde_json::{Value, json};
use std::path::Path;

/// Launches one task by flags, or those of a file. Every task of a file is tried.
pub(crate) fn launch(session: &Session, arguments: LaunchArguments) -> Result<u8, Failure> {
    let LaunchArguments { task, file, if_exists, timeout, command, .. } = arguments;
    let tasks = match file {
        None => vec![task_to_json(&task.into_spec(command, Context::Launch)?)],
        Some(_) if task != TaskFlags::default() => {
            let why = "--task FILE says all of the task, no other task flag goes with it";
            return Err(UsageError(why.to_owned()).into());
        }
        Some(file) => read_tasks(session, &file)?,
    };
    let mut options = json!({});
    match if_exists {
        IfExistsChoice::Fail => {}
        IfExistsChoice::Same => options["if_exists"] = "same".into(),
        IfExistsChoice::Replace => options["if_exists"] = "replace".into(),
    }
    if let Some(timeout) = timeout {
        options["timeout_ms"] = milliseconds(timeout);
    }
    let mut connection = session.connect()?;
    let only_one = tasks.len() == 1;
    let mut code = 0;
    for task in tasks {
        let name = text_of(&task, "name").to_owned();
        match launch_one(session, &mut connection, task, &options) {
            Ok(()) => {}
            Err(failure) if only_one || connection.is_broken() => return Err(failure),
            Err(failure) => {
                session.report_task(&name, &failure);
                code = 1;
            }
        }
    }
    Ok(code)
}

fn launch_one(
    session: &Session,
    connection: &mut Connection,
    task: Value,
    options: &Value,
) -> Result<(), Failure> {
    let mut parameters = options.clone();
    parameters["task"] = task;
    let reply = connection.call("org.ostler.Launch", &parameters)?;
    let status = reply.get("status").unwrap_or(&reply);
    if session.json { print_json(status) } else { print_line(text_of(status, "name")) }
}

/// The tasks of a task file, or of one task in JSON, in the order of their start.
fn read_tasks(session: &Session, file: &Path) -> Result<Vec<Value>, Failure> {
    match task_file::load(file) {
        Ok(file) => {
            for warning in &file.warnings {
                complain(&session.verb, format_args!("warning: {warning}"));
            }
            Ok(file.tasks.iter().map(task_to_json).collect())
        }
        Err(problems) => Err(Failure::InvalidFile(problems)),
    }
}
