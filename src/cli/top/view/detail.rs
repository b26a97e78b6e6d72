//! One task: what is known of it, what has happened to it, what it wrote last.

use super::pen::{BOLD, Pen, REVERSED, nth, or_dash, percent, rate_with_unit, size};
use crate::cli::client::{event_detail, event_tone, show_time, state_text, state_tone};
use crate::cli::table::{Tone, printable};
use crate::cli::top::model::{Detail, Model, Stream, Task};
use crate::cli::top::wire::{Exit, Status};
use ratatui::layout::Rect;
use ratatui::style::Style;
use serde_json::Value;

/// A line of what is known: its label, and what it says.
type Fact = (&'static str, String);

/// The facts that there can be: one line is there for each, so that nothing jumps.
const FACTS: u16 = 8;

/// The parts of the screen.
struct Parts {
    facts: Rect,
    events: Rect,
    output: Rect,
}

/// At most half of the screen is for the facts, a third of the rest for events.
fn parts(body: Rect, detail: &Detail) -> Parts {
    let facts = (FACTS + 1).min(body.height.div_ceil(2));
    let rest = body.height - facts;
    let wanted = u16::try_from(detail.events.len() + 1).unwrap_or(u16::MAX);
    // A heading alone says nothing.
    let events = Some(wanted.min(rest / 3)).filter(|&height| height > 1).unwrap_or(0);
    let (y, height) = (body.y + facts, events);
    Parts {
        facts: Rect { height: facts, ..body },
        events: Rect { y, height, ..body },
        output: Rect { y: y + events, height: rest - events, ..body },
    }
}

/// Lines of output that fit, without their heading.
pub(super) fn output_height(body: Rect, detail: &Detail) -> usize {
    usize::from(parts(body, detail).output.height.saturating_sub(1))
}

pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model, detail: &Detail) {
    let parts = parts(body, detail);
    let task = model.tasks.get(&detail.name);
    if let Some(line) = nth(parts.facts, 0) {
        draw_title(pen, line, &detail.name, task);
    }
    let facts = task.map(|task| facts_of(pen, task, detail)).unwrap_or_default();
    for (line, (label, text)) in (1..).map_while(|n| nth(parts.facts, n)).zip(facts) {
        let faint = pen.tone(Tone::Faint);
        pen.line(line, label, faint);
        pen.put(line, line.x + 10, &text, Style::new());
    }
    draw_events(pen, parts.events, detail);
    draw_output(pen, parts.output, detail);
}

fn draw_title(pen: &mut Pen<'_>, line: Rect, name: &str, task: Option<&Task>) {
    let x = pen.put(line, line.x, &format!("{}  ", printable(name)), BOLD);
    let Some(task) = task else {
        let faint = pen.tone(Tone::Faint);
        pen.put(line, x, "there is no such task any more", faint);
        return;
    };
    let status = &task.status;
    let code = status.exit.as_ref().map(|exit| exit.exit_code);
    let state = printable(&state_text(&status.state, code, status.error.is_some()));
    let style = pen.tone(state_tone(&status.state, code)).patch(BOLD);
    let x = pen.put(line, x, &state, style);
    let mut text = String::new();
    if let Some(pid) = status.pid {
        text.push_str(&format!("  pid {pid}"));
    }
    if let Some(age) = task.running_since().and_then(|since| pen.age(since)) {
        text.push_str(&format!("  for {age}"));
    }
    if status.restarts > 0 {
        text.push_str(&format!("  {} restarts", status.restarts));
    }
    if status.gave_up == Some(true) {
        text.push_str("  gave up");
    }
    pen.put(line, x, &text, Style::new());
}

fn facts_of(pen: &Pen<'_>, task: &Task, detail: &Detail) -> Vec<Fact> {
    let status = &task.status;
    let usage = &task.usage;
    let spec = detail.status.as_ref().and_then(|status| status.task.as_ref());
    let spec = spec.unwrap_or(&Value::Null);
    let processor = format!(
        "CPU {} (user {}, system {})  processes {}  threads {}",
        percent(usage.cpu_percent),
        percent(usage.cpu_user_percent),
        percent(usage.cpu_system_percent),
        or_dash(usage.processes.map(|number| number.to_string())),
        or_dash(usage.threads.map(|number| number.to_string())),
    );
    let memory = format!(
        "RSS {}  cache {}  swap {}  peak {}  read {}  write {}",
        size(usage.memory_rss_bytes),
        size(usage.memory_cache_bytes),
        size(usage.memory_swap_bytes),
        size(usage.memory_peak_bytes),
        rate_with_unit(task.read_rate),
        rate_with_unit(task.write_rate),
    );
    let held = match (&status.cgroup, &status.containment) {
        (Some(cgroup), _) => printable(cgroup),
        (None, Some(containment)) => printable(containment),
        (None, None) => "-".to_owned(),
    };
    vec![
        ("command", command_line(status, spec)),
        ("context", context(spec)),
        ("uses", processor),
        ("", memory),
        ("limits", pairs(spec.get("resources"))),
        ("output", format!("stdout {}  stderr {}", sink(spec, "stdout"), sink(spec, "stderr"))),
        ("group", held),
        ("last run", last_run(pen, status)),
    ]
}

fn command_line(status: &Status, spec: &Value) -> String {
    let text = |value: &Value| value.as_str().map(printable).unwrap_or_default();
    let command = spec.get("command").map(text).or(status.command.as_deref().map(printable));
    let mut line = or_dash(command);
    for argument in spec.get("args").and_then(Value::as_array).into_iter().flatten() {
        line.push(' ');
        line.push_str(&text(argument));
    }
    line
}

fn context(spec: &Value) -> String {
    let field = |name: &str| spec.get(name).and_then(Value::as_str).map(printable);
    let mut text = format!("user {}", field("user").unwrap_or_else(|| "the daemon's".to_owned()));
    let directory = field("work_dir").or(field("task_dir")).unwrap_or_else(|| "/".to_owned());
    text.push_str(&format!(", in {directory}"));
    let labels = pairs(spec.get("labels"));
    if labels != "-" {
        text.push_str(&format!(", labels {labels}"));
    }
    text
}

/// `name=value`, as many as an object has.
fn pairs(object: Option<&Value>) -> String {
    let fields = object.and_then(Value::as_object).into_iter().flatten();
    let shown = fields.filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let text = match (name.strip_suffix("_bytes"), value) {
            (Some(name), value) if value.is_u64() => format!("{name}={}", size(value.as_u64())),
            (_, Value::String(text)) => format!("{name}={text}"),
            (_, value) => format!("{name}={value}"),
        };
        printable(&text)
    });
    let text = shown.collect::<Vec<_>>().join(" ");
    or_dash(Some(text).filter(|text| !text.is_empty()))
}

/// `file:/var/log/web.log`.
fn sink(spec: &Value, stream: &str) -> String {
    let Some(sink) = spec.get(stream).filter(|sink| !sink.is_null()) else {
        return "discard".to_owned();
    };
    let field = |name: &str| sink.get(name).and_then(Value::as_str).map(printable);
    let kind = field("kind").unwrap_or_default();
    match field("path") {
        Some(path) => format!("{kind}:{path}"),
        None => kind,
    }
}

fn last_run(pen: &Pen<'_>, status: &Status) -> String {
    if let Some(error) = &status.error {
        return format!("did not start: {}", printable(&error.message));
    }
    let Some(exit) = &status.exit else { return "-".to_owned() };
    let how = match *exit {
        Exit { exit_code: -1, .. } => "its status is not known".to_owned(),
        Exit { signal: signal @ 1.., .. } => format!("was ended by signal {signal}"),
        Exit { exit_code, .. } => format!("exited with {exit_code}"),
    };
    let killed = if exit.oom_killed == Some(true) { ", out of memory" } else { "" };
    let ago = pen.age(exit.time_us).map(|age| format!(", {age} ago")).unwrap_or_default();
    format!("{how}{killed}{ago}")
}

fn draw_events(pen: &mut Pen<'_>, area: Rect, detail: &Detail) {
    let Some(heading) = nth(area, 0) else { return };
    pen.line(heading, "EVENTS", Style::new());
    pen.fill(heading, REVERSED);
    let room = usize::from(area.height - 1);
    let skipped = detail.events.len().saturating_sub(room);
    let events = detail.events.iter().skip(skipped);
    for (line, event) in (1..).map_while(|n| nth(area, n)).zip(events) {
        let faint = pen.tone(Tone::Faint);
        let x = pen.put(line, line.x, &format!("{}  ", show_time(event.time_us)), faint);
        let style = pen.tone(event_tone(&event.kind));
        let x = pen.put(line, x, &printable(&event.kind), style);
        let status = event.status.as_ref();
        let text = event_detail(
            &event.kind,
            event.detail.as_deref(),
            status.and_then(|status| status.pid),
            status.and_then(|status| status.exit.as_ref()).map(|e| (e.exit_code, e.signal)),
            status.and_then(|status| status.error.as_ref()).map(|error| error.message.as_str()),
        );
        pen.put(line, x, &format!("  {text}"), Style::new());
    }
}

fn draw_output(pen: &mut Pen<'_>, area: Rect, detail: &Detail) {
    let Some(heading) = nth(area, 0) else { return };
    let scrolled = match detail.back {
        0 => String::new(),
        back => format!("  ({back} lines below, End goes there)"),
    };
    pen.line(heading, &format!("OUTPUT{scrolled}"), Style::new());
    pen.fill(heading, REVERSED);
    let room = usize::from(area.height - 1);
    let end = detail.lines.len().saturating_sub(detail.back);
    let lines = detail.lines.range(end.saturating_sub(room)..end);
    for (line, output) in (1..).map_while(|n| nth(area, n)).zip(lines) {
        let style = match output.stream {
            Some(Stream::Stdout) => Style::new(),
            Some(Stream::Stderr) => pen.tone(Tone::Warning),
            None => pen.tone(Tone::Faint),
        };
        pen.line(line, &output.text, style);
    }
}
