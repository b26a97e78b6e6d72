//! Resources in JSON. -1 is no limit.

use super::fields::{Fields, Refusal};
use crate::vocabulary::Resources;
use serde::{Serialize, Serializer};

/// A limit that was asked for: a value, or none.
pub(crate) struct Limit<T>(Option<T>);

impl<T: Serialize> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_i64(-1),
        }
    }
}

/// `Resources` as the protocol has it.
#[derive(Serialize)]
pub(crate) struct ResourcesShape<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_weight: Option<Limit<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_max: Option<Limit<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpuset: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_low_bytes: Option<Limit<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_high_bytes: Option<Limit<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_max_bytes: Option<Limit<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swap_max_bytes: Option<Limit<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_oom_group: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_max: Option<Limit<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    io_weight: Option<Limit<u64>>,
}

impl<'a> ResourcesShape<'a> {
    pub(crate) fn of(resources: &'a Resources) -> ResourcesShape<'a> {
        ResourcesShape {
            cpu_weight: resources.cpu_weight.map(Limit),
            cpu_max: resources.cpu_max.map(Limit),
            cpuset: resources.cpuset.as_deref(),
            memory_low_bytes: resources.memory_low.map(Limit),
            memory_high_bytes: resources.memory_high.map(Limit),
            memory_max_bytes: resources.memory_max.map(Limit),
            memory_swap_max_bytes: resources.memory_swap_max.map(Limit),
            memory_oom_group: resources.memory_oom_group,
            pids_max: resources.pids_max.map(Limit),
            io_weight: resources.io_weight.map(Limit),
        }
    }
}

/// Reads a `Resources`; their ranges are checked with the task.
pub(crate) fn decode_resources(mut fields: Fields) -> Result<Resources, Refusal> {
    let resources = Resources {
        cpu_weight: fields.limit("cpu_weight")?,
        cpu_max: fields.fraction("cpu_max")?,
        cpuset: fields.string("cpuset")?,
        memory_low: fields.limit("memory_low_bytes")?,
        memory_high: fields.limit("memory_high_bytes")?,
        memory_max: fields.limit("memory_max_bytes")?,
        memory_swap_max: fields.limit("memory_swap_max_bytes")?,
        memory_oom_group: fields.flag("memory_oom_group")?,
        pids_max: fields.limit("pids_max")?,
        io_weight: fields.limit("io_weight")?,
    };
    fields.finish()?;
    Ok(resources)
}
