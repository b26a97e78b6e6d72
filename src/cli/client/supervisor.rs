//! The verbs about the daemon itself, and update.

use super::session::{Session, milliseconds, text_of};
use crate::cli::arguments::{
    ReloadArguments, ShutdownArguments, UpdateArguments, UpgradeArguments, VersionArguments,
};
use crate::cli::failure::{Failure, UsageError};
use crate::cli::output::{print_json, print_line};
use crate::control::task_to_json;
use crate::vocabulary::TaskSpec;
use serde_json::{Value, json};

/// Changes limits of a living task.
pub(crate) fn update(session: &Session, arguments: &UpdateArguments) -> Result<u8, Failure> {
    let resources = arguments.resources.to_resources()?;
    if resources.is_empty() {
        return Err(UsageError("no limit is named, such as --memory-max 1G".to_owned()).into());
    }
    let mut spec = TaskSpec::new("any");
    spec.resources = Some(Box::new(resources));
    spec.validate().map_err(UsageError::from)?;
    let resources = task_to_json(&spec).get_mut("resources").map(Value::take);
    let parameters = json!({ "name": arguments.name, "resources": resources });
    let reply = session.connect()?.call("org.ostler.UpdateResources", &parameters)?;
    if session.json {
        print_json(reply.get("resources").unwrap_or(&reply))?;
    }
    Ok(0)
}

/// Lets the daemon read its task file again.
pub(crate) fn reload(session: &Session, arguments: &ReloadArguments) -> Result<u8, Failure> {
    let parameters = if arguments.dry_run { json!({ "dry_run": true }) } else { json!({}) };
    let reply = session.connect()?.call("org.ostler.Reload", &parameters)?;
    let failed = reply.get("failed").and_then(Value::as_array).cloned().unwrap_or_default();
    if session.json {
        print_json(&reply)?;
        return Ok(u8::from(!failed.is_empty()));
    }
    let would = if arguments.dry_run { "would be " } else { "" };
    for list in ["started", "stopped", "restarted"] {
        let names = reply.get(list).and_then(Value::as_array);
        for name in names.into_iter().flatten().filter_map(Value::as_str) {
            print_line(&format!("{name}: {would}{list}"))?;
        }
    }
    let unchanged = reply.get("unchanged").and_then(Value::as_u64).unwrap_or(0);
    print_line(&format!("{unchanged} unchanged"))?;
    for failure in &failed {
        let message = failure.pointer("/error/message").and_then(Value::as_str);
        let why = Failure::Other(message.unwrap_or("failed").to_owned());
        session.report_task(text_of(failure, "name"), &why);
    }
    Ok(u8::from(!failed.is_empty()))
}

/// Replaces the running daemon by the program on disk.
pub(crate) fn upgrade(session: &Session, _: &UpgradeArguments) -> Result<u8, Failure> {
    let reply = session.connect()?.call("org.ostler.Upgrade", &json!({}))?;
    if session.json {
        print_json(&reply)?;
    } else {
        print_line(&format!("daemon {}", text_of(&reply, "version")))?;
    }
    Ok(0)
}

/// Ends the daemon.
pub(crate) fn shutdown(session: &Session, arguments: &ShutdownArguments) -> Result<u8, Failure> {
    let mut parameters = json!({ "stop_tasks": !arguments.keep_tasks });
    if let Some(grace) = arguments.grace {
        parameters["grace_ms"] = milliseconds(grace);
    }
    session.connect()?.call("org.ostler.Shutdown", &parameters)?;
    Ok(0)
}

/// Shows the version of this program, and of the daemon where one answers. As JSON: the daemon's
/// reply, so without a daemon it is a failure.
pub(crate) fn version(session: &Session, _: &VersionArguments) -> Result<u8, Failure> {
    if session.json {
        let reply = session.connect()?.call("org.ostler.Version", &json!({}))?;
        print_json(&reply)?;
        return Ok(0);
    }
    print_line(&format!("ostler {}", env!("CARGO_PKG_VERSION")))?;
    let answer = session
        .connect()
        .and_then(|mut connection| connection.call("org.ostler.Version", &json!({})));
    match answer {
        Ok(reply) => {
            let text = |field| text_of(&reply, field);
            let api = reply.get("api").and_then(Value::as_u64).unwrap_or(0);
            print_line(&format!("daemon {} (api {api})", text("version")))?;
            print_line(&format!("kernel {}, cgroup {}", text("kernel"), text("cgroup")))?;
        }
        // Nobody asked for a daemon: without one there is nothing to say of it.
        Err(Failure::NoDaemon { .. } | Failure::Usage(_)) => {}
        Err(failure) => return Err(failure),
    }
    Ok(0)
}
