//! What tasks use, in JSON.

use crate::vocabulary::{TaskStats, Usage};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// `TaskStats` as the protocol has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct TaskStatsShape<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) id: String,
    pub(crate) time_us: u64,
    pub(crate) total: UsageShape,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_pid: Option<BTreeMap<i32, UsageShape>>,
}

impl<'a> TaskStatsShape<'a> {
    /// Figures, with the printed form of the launch's id.
    pub(crate) fn of(stats: &'a TaskStats, id: String) -> TaskStatsShape<'a> {
        let singles = stats.by_pid.as_ref().map(|by_pid| {
            by_pid.iter().map(|(pid, usage)| (pid.number(), UsageShape::of(usage))).collect()
        });
        TaskStatsShape {
            name: Cow::Borrowed(&stats.identity.name),
            id,
            time_us: stats.time.as_micros(),
            total: UsageShape::of(&stats.total),
            by_pid: singles,
        }
    }
}

/// Declares `Usage` as the protocol has it: the same fields under the same names.
macro_rules! usage_shape {
    ($($field:ident: $kind:ty),* $(,)?) => {
        /// `Usage` as the protocol has it.
        #[derive(Serialize, Deserialize)]
        pub(crate) struct UsageShape {
            $(#[serde(skip_serializing_if = "Option::is_none")] $field: Option<$kind>,)*
        }

        impl UsageShape {
            fn of(usage: &Usage) -> UsageShape {
                UsageShape { $($field: usage.$field),* }
            }

            /// The figures themselves.
            #[cfg(any(test, feature = "cli"))]
            pub(crate) fn usage(&self) -> Usage {
                // Every field is named: none can be forgotten here.
                Usage { $($field: self.$field),* }
            }
        }
    };
}

usage_shape! {
    cpu_user_us: u64,
    cpu_system_us: u64,
    cpu_percent: f64,
    cpu_user_percent: f64,
    cpu_system_percent: f64,
    throttled_periods: u64,
    throttled_us: u64,
    memory_rss_bytes: u64,
    memory_swap_bytes: u64,
    memory_cache_bytes: u64,
    memory_kernel_bytes: u64,
    memory_usage_bytes: u64,
    memory_peak_bytes: u64,
    io_read_bytes: u64,
    io_write_bytes: u64,
    processes: u64,
    threads: u64,
}
