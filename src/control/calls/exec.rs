//! Exec and ExecStream: parameters to requests, and what came of them.

use super::{Context, Kind, Progress};
use crate::control::failure::Failure;
use crate::control::wire::Fields;
use crate::vocabulary::{ExecSpec, ExecStreams, Executed, Request, WindowSize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::json;

/// How a connection may be used for a stream.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::control) struct Upgrade {
    /// It was asked for.
    pub(in crate::control) asked: bool,
    /// An answer is not wanted.
    pub(in crate::control) oneway: bool,
    /// The connection is standard input and output, whose end is the end of the supervisor.
    pub(in crate::control) stdio: bool,
}

#[derive(Serialize)]
struct Reply {
    exit_code: i32,
    signal: i32,
    timed_out: bool,
    stdout_base64: String,
    stderr_base64: String,
    truncated: bool,
}

/// Reads what both methods have.
fn common(fields: &mut Fields) -> Result<(String, ExecSpec), Failure> {
    let name = fields.required_string("name")?;
    let spec = ExecSpec {
        args: fields.strings("args")?.unwrap_or_default(),
        env: fields.strings("env")?.unwrap_or_default(),
        user: fields.string("user")?,
        work_dir: fields.string("work_dir")?,
        ..ExecSpec::new(fields.required_string("command")?)
    };
    Ok((name, spec))
}

fn submit(name: String, spec: ExecSpec, context: &mut Context<'_>) -> Progress {
    context.ask(Request::Exec { name, spec: Box::new(spec) }, Kind::Exec)
}

pub(super) fn collected(
    mut fields: Fields,
    context: &mut Context<'_>,
) -> Result<Progress, Failure> {
    let (name, mut spec) = common(&mut fields)?;
    spec.timeout = fields.milliseconds("timeout_ms")?;
    fields.finish()?;
    Ok(submit(name, spec, context))
}

pub(super) fn streamed(
    mut fields: Fields,
    upgrade: Upgrade,
    context: &mut Context<'_>,
) -> Result<Progress, Failure> {
    let (name, mut spec) = common(&mut fields)?;
    let terminal = fields.flag("tty")?.unwrap_or_default();
    let default = WindowSize::default();
    let mut length = |name: &str, default: u16| match fields.number(name)? {
        None => Ok(default),
        Some(number) => u16::try_from(number).map_err(|_| Failure::invalid_parameter(name)),
    };
    let size = WindowSize {
        rows: length("rows", default.rows)?,
        columns: length("columns", default.columns)?,
    };
    fields.finish()?;
    if !upgrade.asked || upgrade.oneway {
        return Err(Failure::new("org.ostler.ExpectedUpgrade", json!({})));
    }
    if upgrade.stdio {
        let reason = "standard input and output cannot be given up to a command: \
                      open a connection of its own";
        return Err(Failure::unsupported("ExecStream", reason));
    }
    spec.streams = if terminal { ExecStreams::Terminal(size) } else { ExecStreams::Pipes };
    Ok(submit(name, spec, context))
}

/// The answer to Exec.
pub(super) fn reply(executed: &Executed) -> impl Serialize + use<> {
    Reply {
        exit_code: executed.status.exit_code(),
        signal: executed.status.signal(),
        timed_out: executed.timed_out,
        stdout_base64: STANDARD.encode(&executed.stdout),
        stderr_base64: STANDARD.encode(&executed.stderr),
        truncated: executed.truncated,
    }
}
