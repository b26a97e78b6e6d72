//! Figures as OpenMetrics text 1.0, which Prometheus and others read.

use crate::reactor::Figures;
use crate::vocabulary::Usage;
use std::fmt::Write as _;

/// What the text is, for HTTP.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The last line.
pub(crate) const END: &str = "# EOF\n";

/// Figures of one kind: all of a kind stand together.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    series: &'static [Series],
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only rises, until a run begins.
    Counter,
}

/// One figure of a task.
#[derive(Debug)]
struct Series {
    /// A label beside the task's name.
    label: Option<(&'static str, &'static str)>,
    of: fn(&Usage) -> Option<u64>,
}

const fn plain(of: fn(&Usage) -> Option<u64>) -> Series {
    Series { label: None, of }
}

const fn labelled(key: &'static str, value: &'static str, of: fn(&Usage) -> Option<u64>) -> Series {
    Series { label: Some((key, value)), of }
}

/// Every kind of figure of a task. A name ends with its unit; of seconds the figure has millionths.
pub(crate) const FAMILIES: [Family; 13] = [
    Family {
        name: "ostler_task_cpu_seconds",
        kind: Kind::Counter,
        help: "Processor time of the task's run.",
        series: &[
            labelled("mode", "user", |usage| usage.cpu_user_us),
            labelled("mode", "system", |usage| usage.cpu_system_us),
        ],
    },
    Family {
        name: "ostler_task_cpu_throttled_seconds",
        kind: Kind::Counter,
        help: "For how long cpu_max held the task back.",
        series: &[plain(|usage| usage.throttled_us)],
    },
    Family {
        name: "ostler_task_cpu_throttled_periods",
        kind: Kind::Counter,
        help: "Periods in which cpu_max held the task back.",
        series: &[plain(|usage| usage.throttled_periods)],
    },
    Family {
        name: "ostler_task_memory_rss_bytes",
        kind: Kind::Gauge,
        help: "Resident anonymous memory.",
        series: &[plain(|usage| usage.memory_rss_bytes)],
    },
    Family {
        name: "ostler_task_memory_swap_bytes",
        kind: Kind::Gauge,
        help: "Memory in swap.",
        series: &[plain(|usage| usage.memory_swap_bytes)],
    },
    Family {
        name: "ostler_task_memory_cache_bytes",
        kind: Kind::Gauge,
        help: "Page cache of files, tmpfs included.",
        series: &[plain(|usage| usage.memory_cache_bytes)],
    },
    Family {
        name: "ostler_task_memory_kernel_bytes",
        kind: Kind::Gauge,
        help: "Memory that the kernel has for the task.",
        series: &[plain(|usage| usage.memory_kernel_bytes)],
    },
    Family {
        name: "ostler_task_memory_usage_bytes",
        kind: Kind::Gauge,
        help: "All memory that counts against memory_max.",
        series: &[plain(|usage| usage.memory_usage_bytes)],
    },
    Family {
        name: "ostler_task_memory_peak_bytes",
        kind: Kind::Gauge,
        help: "Highest memory usage of the task's run.",
        series: &[plain(|usage| usage.memory_peak_bytes)],
    },
    Family {
        name: "ostler_task_io_read_bytes",
        kind: Kind::Counter,
        help: "Bytes read from storage.",
        series: &[plain(|usage| usage.io_read_bytes)],
    },
    Family {
        name: "ostler_task_io_write_bytes",
        kind: Kind::Counter,
        help: "Bytes written to storage, or on their way there.",
        series: &[plain(|usage| usage.io_write_bytes)],
    },
    Family {
        name: "ostler_task_processes",
        kind: Kind::Gauge,
        help: "Processes of the task.",
        series: &[plain(|usage| usage.processes)],
    },
    Family {
        name: "ostler_task_threads",
        kind: Kind::Gauge,
        help: "Threads of the task.",
        series: &[plain(|usage| usage.threads)],
    },
];

impl Family {
    /// What stands above the figures of the kind.
    pub(crate) fn write_head(&self, text: &mut String) {
        write_head(text, self.name, self.kind, self.help);
    }

    /// The figures of one task. What was not measured is left out.
    pub(crate) fn write_task(&self, text: &mut String, task: &str, usage: &Usage) {
        for series in self.series {
            let Some(value) = (series.of)(usage) else { continue };
            text.push_str(self.name);
            text.push_str(suffix(self.kind));
            text.push_str("{task=\"");
            write_escaped(text, task);
            text.push('"');
            // Writing to a string does not fail.
            if let Some((key, value)) = series.label {
                let _ = write!(text, ",{key}=\"{value}\"");
            }
            text.push('}');
            write_value(text, self.name, value);
        }
    }
}

/// The figures of the supervisor itself.
pub(crate) fn write_supervisor(text: &mut String, figures: &Figures) {
    use Kind::{Counter, Gauge};
    let families = [
        ("ostler_tasks", Gauge, "Tasks that are remembered.", figures.tasks),
        ("ostler_threads", Gauge, "Threads of the supervisor.", figures.threads),
        ("ostler_descriptors", Gauge, "Descriptors open in the supervisor.", figures.fds),
        ("ostler_resident_bytes", Gauge, "Memory of the supervisor.", figures.rss_bytes),
        ("ostler_cpu_seconds", Counter, "Processor time of the supervisor.", figures.cpu_us),
        ("ostler_loop_turns", Counter, "Turns of the loop.", figures.turns),
        (
            "ostler_loop_wakeups",
            Counter,
            "Turns of the loop before which it slept.",
            figures.wakeups,
        ),
        ("ostler_loop_longest_seconds", Gauge, "Longest turn of the loop.", figures.loop_max_us),
        ("ostler_relayed_bytes", Counter, "Output that was carried.", figures.relayed_bytes),
    ];
    for (name, kind, help, value) in families {
        write_head(text, name, kind, help);
        text.push_str(name);
        text.push_str(suffix(kind));
        write_value(text, name, value);
    }
}

fn write_head(text: &mut String, name: &str, kind: Kind, help: &str) {
    let word = match kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    let _ = writeln!(text, "# TYPE {name} {word}");
    let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit));
    if let Some(unit) = unit {
        let _ = writeln!(text, "# UNIT {name} {unit}");
    }
    let _ = writeln!(text, "# HELP {name} {help}");
}

fn suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "",
        Kind::Counter => "_total",
    }
}

fn write_value(text: &mut String, name: &str, value: u64) {
    let _ = match name.ends_with("_seconds") {
        true => writeln!(text, " {}.{:06}", value / 1_000_000, value % 1_000_000),
        false => writeln!(text, " {value}"),
    };
}

/// The value of a label: backslash, quote and newline have to be escaped.
fn write_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_head_and_a_line_for_each_figure() {
        let mut text = String::new();
        let usage =
            Usage { cpu_user_us: Some(1_500_000), cpu_system_us: Some(7), ..Usage::default() };
        let [cpu, throttled, ..] = &FAMILIES;
        cpu.write_head(&mut text);
        cpu.write_task(&mut text, "a\"b", &usage);
        throttled.write_task(&mut text, "a", &usage);
        assert_eq!(
            text,
            "# TYPE ostler_task_cpu_seconds counter\n\
             # UNIT ostler_task_cpu_seconds seconds\n\
             # HELP ostler_task_cpu_seconds Processor time of the task's run.\n\
             ostler_task_cpu_seconds_total{task=\"a\\\"b\",mode=\"user\"} 1.500000\n\
             ostler_task_cpu_seconds_total{task=\"a\\\"b\",mode=\"system\"} 0.000007\n"
        );
    }

    #[test]
    fn every_figure_of_a_task_is_told_once() {
        let json = serde_json::json!({
            "cpu_user_us": 1, "cpu_system_us": 1, "throttled_periods": 1, "throttled_us": 1,
            "memory_rss_bytes": 1, "memory_swap_bytes": 1, "memory_cache_bytes": 1,
            "memory_kernel_bytes": 1, "memory_usage_bytes": 1, "memory_peak_bytes": 1,
            "io_read_bytes": 1, "io_write_bytes": 1, "processes": 1, "threads": 1,
        });
        let shape: crate::control::wire::UsageShape = serde_json::from_value(json.clone()).unwrap();
        let mut text = String::new();
        FAMILIES.iter().for_each(|family| family.write_task(&mut text, "a", &shape.usage()));
        assert_eq!(text.lines().count(), json.as_object().unwrap().len());
    }
}
