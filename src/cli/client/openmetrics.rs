//! OpenMetrics text from the daemon's answers.

use super::session::text_of;
use crate::control::{OPENMETRICS_END, OPENMETRICS_FAMILIES, UsageShape, write_supervisor};
use crate::reactor::Figures;
use crate::vocabulary::Usage;
use serde_json::Value;

/// The figures of tasks and of the daemon.
pub(crate) fn text(sample: &[Value], figures: &Value) -> String {
    let tasks: Vec<(&str, Usage)> = sample.iter().map(task).collect();
    let mut text = String::new();
    for family in &OPENMETRICS_FAMILIES {
        family.write_head(&mut text);
        for (name, usage) in &tasks {
            family.write_task(&mut text, name, usage);
        }
    }
    let number = |field: &str| figures.get(field).and_then(Value::as_u64).unwrap_or(0);
    let figures = Figures {
        tasks: number("tasks"),
        threads: number("threads"),
        fds: number("fds"),
        rss_bytes: number("rss_bytes"),
        cpu_us: number("cpu_us"),
        turns: number("turns"),
        wakeups: number("wakeups"),
        loop_max_us: number("loop_max_us"),
        relayed_bytes: number("relayed_bytes"),
        ..Figures::default()
    };
    write_supervisor(&mut text, &figures);
    text.push_str(OPENMETRICS_END);
    text
}

/// Figures that cannot be read count as not measured.
fn task(stats: &Value) -> (&str, Usage) {
    let total = stats.get("total").cloned().unwrap_or_default();
    let shape: Option<UsageShape> = serde_json::from_value(total).ok();
    (text_of(stats, "name"), shape.map(|shape| shape.usage()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_that_were_not_measured_are_left_out() {
        let sample = [json!({"name": "web", "total": {"threads": 3, "cpu_percent": 1.5}})];
        let text = text(&sample, &json!({"loop_max_us": 1500}));
        let of_tasks: Vec<&str> = text.lines().filter(|line| line.contains("task=")).collect();
        assert_eq!(of_tasks, ["ostler_task_threads{task=\"web\"} 3"]);
        assert!(text.contains("\nostler_loop_longest_seconds 0.001500\n"));
        assert!(text.ends_with("\n# EOF\n"));
    }
}
