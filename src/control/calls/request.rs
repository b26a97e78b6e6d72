//! The methods that change a task or wait for one: parameters to requests.

use super::Kind;
use crate::control::wire::{Fields, Refusal, decode_resources, decode_task};
use crate::vocabulary::limits::LAUNCH_TIMEOUT_DEFAULT;
use crate::vocabulary::{IfExists, Request};

/// What the call of a method is.
pub(super) enum Decoded {
    /// A request.
    Request(Request, Kind),
    /// Something else.
    Other,
}

/// Reads the parameters of a method that is a request.
pub(super) fn decode(method: &str, mut fields: Fields) -> Result<Decoded, Refusal> {
    const IF_EXISTS: [(&str, IfExists); 3] =
        [("fail", IfExists::Fail), ("same", IfExists::Same), ("replace", IfExists::Replace)];
    let mut kind = Kind::Other;
    let request = match method {
        "Launch" => Request::Launch {
            if_exists: fields.one_of("if_exists", &IF_EXISTS)?.unwrap_or_default(),
            timeout: fields.milliseconds("timeout_ms")?.unwrap_or(LAUNCH_TIMEOUT_DEFAULT),
            spec: Box::new(decode_task(fields.required("task", Fields::object)?)?),
        },
        "Wait" => {
            kind = Kind::Wait;
            Request::Wait {
                name: fields.required_string("name")?,
                id: fields.string("id")?,
                timeout: fields.milliseconds("timeout_ms")?,
            }
        }
        "Stop" => Request::Stop {
            name: fields.required_string("name")?,
            signal: fields.signal("signal")?,
            grace: fields.milliseconds("grace_ms")?,
        },
        "Restart" => Request::Restart {
            name: fields.required_string("name")?,
            signal: fields.signal("signal")?,
            grace: fields.milliseconds("grace_ms")?,
        },
        "Signal" => Request::Signal {
            name: fields.required_string("name")?,
            signal: fields.required("signal", Fields::signal)?,
            all: fields.flag("all")?.unwrap_or_default(),
        },
        "UpdateResources" => Request::Update {
            name: fields.required_string("name")?,
            resources: {
                let resources = decode_resources(fields.required("resources", Fields::object)?)?;
                resources.validate().map_err(Refusal::Task)?;
                Box::new(resources)
            },
        },
        "Remove" => Request::Remove {
            name: fields.required_string("name")?,
            force: fields.flag("force")?.unwrap_or_default(),
        },
        "Shutdown" => {
            kind = Kind::Shutdown;
            Request::Shutdown {
                stop_tasks: fields.required("stop_tasks", Fields::flag)?,
                grace: fields.milliseconds("grace_ms")?,
            }
        }
        _ => return Ok(Decoded::Other),
    };
    fields.finish()?;
    Ok(Decoded::Request(request, kind))
}
