//! Events in JSON.

use super::status::StatusShape;
use serde::Serialize;
use std::borrow::Cow;

/// `Event` as the protocol has it.
#[derive(Serialize)]
pub(crate) struct EventShape<'a> {
    pub(crate) sequence: u64,
    pub(crate) time_us: u64,
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    pub(crate) kind: &'static str,
    pub(crate) status: &'a StatusShape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<Cow<'a, str>>,
}
