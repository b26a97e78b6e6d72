//! The methods that are answered at once.

use super::{Context, Progress};
use crate::control::failure::Failure;
use crate::control::session::Session;
use crate::control::wire::{Fields, StatusShape};
use crate::vocabulary::StreamKind;
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct InspectReply<'a> {
    status: StatusShape<'a>,
    sequence: u64,
}

pub(super) fn inspect(
    mut fields: Fields,
    session: &mut Session,
    context: &Context<'_>,
) -> Result<Progress, Failure> {
    let name = fields.required_string("name")?;
    fields.finish()?;
    let status = context.status(&name)?;
    let spec = status.identity.spec();
    let task = context.supervisor.find(&name);
    let lossy = task.map(|task| context.supervisor.not_stored(task)).unwrap_or_default();
    let mut shape = context.shape(&status).with_task(&status, &spec);
    shape.not_stored = lossy.into_iter().map(StreamKind::as_str).collect();
    session.reply(&InspectReply { status: shape, sequence: context.supervisor.sequence() });
    Ok(Progress::Done)
}

pub(super) fn version(
    fields: Fields,
    session: &mut Session,
    context: &Context<'_>,
) -> Result<Progress, Failure> {
    fields.finish()?;
    let facts = context.supervisor.facts();
    let mut reply = json!({
        "version": facts.version,
        "api": facts.api,
        "instance": facts.instance,
        "boot_id": facts.boot_id,
        "kernel": facts.kernel,
        "cgroup": facts.cgroup,
        "features": facts.features,
    });
    if let (Some(socket), Some(reply)) = (context.socket, reply.as_object_mut()) {
        reply.insert("socket".to_owned(), socket.into());
    }
    session.reply(&reply);
    Ok(Progress::Done)
}

pub(super) fn daemon_stats(
    fields: Fields,
    session: &mut Session,
    context: &Context<'_>,
) -> Result<Progress, Failure> {
    fields.finish()?;
    let figures = context.supervisor.figures();
    session.reply(&json!({
        "pid": figures.pid,
        "threads": figures.threads,
        "tasks": figures.tasks,
        "fds": figures.fds,
        "rss_bytes": figures.rss_bytes,
        "cpu_us": figures.cpu_us,
        "turns": figures.turns,
        "wakeups": figures.wakeups,
        "loop_max_us": figures.loop_max_us,
        "relayed_bytes": figures.relayed_bytes,
    }));
    Ok(Progress::Done)
}

pub(super) fn reload(mut fields: Fields, context: &Context<'_>) -> Result<Progress, Failure> {
    let dry_run = fields.flag("dry_run")?.unwrap_or_default();
    fields.finish()?;
    if !context.host.reload {
        let reason = "there is no task file to read again: none was given at the start";
        return Err(Failure::unsupported("Reload", reason));
    }
    Ok(Progress::Reload { dry_run })
}

pub(super) fn upgrade(fields: Fields, context: &Context<'_>) -> Result<Progress, Failure> {
    fields.finish()?;
    if !context.host.upgrade {
        let reason =
            "its host does not go on as another program: `ostler daemon` and `ostler up` do";
        return Err(Failure::unsupported("Upgrade", reason));
    }
    Ok(Progress::Upgrade)
}
