//! org.varlink.service: what every Varlink service says of itself.

use super::{INTERFACE, Progress};
use crate::control::failure::Failure;
use crate::control::session::Session;
use crate::control::wire::Fields;
use serde_json::json;

const SERVICE_INTERFACE: &str = include_str!("../org.varlink.service.varlink");

/// Begins, and ends, a call of this interface.
pub(super) fn begin(
    method: &str,
    mut fields: Fields,
    session: &mut Session,
) -> Result<Progress, Failure> {
    match method {
        "GetInfo" => {
            fields.finish()?;
            session.reply(&json!({
                "vendor": "ostler",
                "product": "ostler",
                "version": env!("CARGO_PKG_VERSION"),
                "url": env!("CARGO_PKG_REPOSITORY"),
                "interfaces": ["org.varlink.service", "org.ostler"],
            }));
        }
        "GetInterfaceDescription" => {
            let interface = fields.required_string("interface")?;
            fields.finish()?;
            let description = match interface.as_str() {
                "org.varlink.service" => SERVICE_INTERFACE,
                "org.ostler" => INTERFACE,
                _ => {
                    let parameters = json!({ "interface": interface });
                    let error = "org.varlink.service.InterfaceNotFound";
                    return Err(Failure::new(error, parameters));
                }
            };
            session.reply(&json!({ "description": description }));
        }
        _ => return Err(method_not_found("org.varlink.service", method)),
    }
    Ok(Progress::Done)
}

pub(super) fn method_not_found(interface: &str, method: &str) -> Failure {
    let parameters = json!({ "method": format!("{interface}.{method}") });
    Failure::new("org.varlink.service.MethodNotFound", parameters)
}
