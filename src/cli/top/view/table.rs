//! The table of tasks, below two lines about all of them.

use super::pen::{BOLD, Pen, REVERSED, grouped, nth, or_dash, percent, rate, rate_with_unit, size};
use crate::cli::client::{state_text, state_tone};
use crate::cli::table::{Tone, printable};
use crate::cli::top::model::{Column, Figures, Model, STATES, Task};
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// Columns from the one that is left out last to the one that is left out first.
const BY_IMPORTANCE: [Column; 10] = [
    Column::Name,
    Column::State,
    Column::Cpu,
    Column::Memory,
    Column::Pid,
    Column::Uptime,
    Column::Restarts,
    Column::Io,
    Column::Threads,
    Column::Command,
];

/// Between two columns.
const GAP: u16 = 1;

/// The lines above the tasks: fewer where there is little room.
fn head_height(body: Rect) -> u16 {
    match body.height {
        0..=2 => 0,
        3..=4 => 1,
        5..=7 => 2,
        _ => 3,
    }
}

/// How many tasks fit.
pub(super) fn row_count(body: Rect) -> usize {
    usize::from(body.height - head_height(body))
}

pub(super) fn draw(pen: &mut Pen<'_>, body: Rect, model: &Model) {
    let head = head_height(body);
    if head >= 2 {
        draw_title(pen, body, model);
    }
    if let Some(line) = nth(body, 1).filter(|_| head == 3) {
        draw_summary(pen, line, model);
    }
    let shown = model.tasks.shown();
    let last = (model.first + row_count(body)).min(shown.len());
    let names = shown.get(model.first.min(last)..last).unwrap_or_default();
    let columns = fit(body.width, names);
    if let Some(line) = head.checked_sub(1).and_then(|n| nth(body, n)) {
        draw_headings(pen, line, model, &columns);
    }
    for (line, name) in (head..).map_while(|n| nth(body, n)).zip(names) {
        if let Some(task) = model.tasks.get(name) {
            draw_task(pen, line, task, &columns);
        }
        if model.cursor.as_ref() == Some(name) {
            pen.fill(line, REVERSED);
        }
    }
    if let Some(line) = nth(body, head).filter(|_| shown.is_empty()) {
        pen.line(line, why_empty(model), pen.tone(Tone::Faint));
    }
}

fn why_empty(model: &Model) -> &'static str {
    match (model.listed, model.tasks.len(), model.selection.filter.is_empty()) {
        (false, ..) => "asking the daemon",
        (_, 0, _) => "no task",
        (.., false) => "no task with this text (Esc shows all)",
        (.., true) => "no living task (a shows the exited ones)",
    }
}

fn draw_title(pen: &mut Pen<'_>, line: Rect, model: &Model) {
    let x = pen.put(line, line.x, "ostler top  ", BOLD);
    let noun = if model.tasks.len() == 1 { "task" } else { "tasks" };
    let x = pen.put(line, x, &format!("{} {noun}", grouped(model.tasks.len())), BOLD);
    let mut separator = ": ";
    let mut x = x;
    for (state, count) in STATES.iter().zip(model.tasks.totals().counts) {
        if count > 0 {
            x = pen.put(line, x, separator, Style::new());
            let text = format!("{} {state}", grouped(count));
            x = pen.put(line, x, &text, pen.tone(state_tone(state, Some(0))));
            separator = ", ";
        }
    }
    pen.put(line, x, &format!("  {}", printable(&model.socket)), pen.tone(Tone::Faint));
}

fn draw_summary(pen: &mut Pen<'_>, line: Rect, model: &Model) {
    let totals = model.tasks.totals();
    let selection = &model.selection;
    let figures = match &model.figures {
        Figures::Missing(why) => format!("no figures: {}", printable(why)),
        Figures::Expected => format!(
            "CPU {}  RSS {}  read {}  write {}",
            percent(totals.cpu_percent),
            size(totals.memory_bytes),
            rate_with_unit(totals.read_rate),
            rate_with_unit(totals.write_rate),
        ),
    };
    let direction = if selection.descending { "down" } else { "up" };
    let mut order = format!("  by {} {direction}", selection.sort.heading());
    if selection.exited {
        order.push_str(", exited too");
    }
    let x = pen.put(line, line.x, &figures, Style::new());
    let x = pen.put(line, x, &order, pen.tone(Tone::Faint));
    if !selection.filter.is_empty() {
        let filter = format!("  only {:?}", selection.filter);
        pen.put(line, x, &filter, pen.tone(Tone::Warning).add_modifier(Modifier::BOLD));
    }
}

/// A column with its width.
type Fitted = (Column, u16);

/// The columns that fit, from left to right.
fn fit(width: u16, names: &[String]) -> Vec<Fitted> {
    let longest = names.iter().map(String::len).max().unwrap_or(0);
    let longest = u16::try_from(longest).unwrap_or(u16::MAX);
    let name = longest.clamp(4, (width * 2 / 5).max(8)).min(width);
    let mut left = width - name;
    let mut fitted = vec![(Column::Name, name)];
    for column in BY_IMPORTANCE {
        let wanted = match column {
            // It stands already.
            Column::Name => continue,
            Column::State => 12,
            Column::Pid | Column::Cpu | Column::Memory => 7,
            Column::Io | Column::Restarts | Column::Command => 8,
            Column::Threads => 5,
            Column::Uptime => 10,
        };
        if let Some(rest) = left.checked_sub(wanted + GAP) {
            left = rest;
            fitted.push((column, wanted));
        }
    }
    // What is left is for the texts.
    let text = match fitted.iter().any(|&(column, _)| column == Column::Command) {
        true => Column::Command,
        false => Column::Name,
    };
    for (_, width) in fitted.iter_mut().filter(|(column, _)| *column == text) {
        *width += if text == Column::Name { left.min(longest.saturating_sub(name)) } else { left };
    }
    let place = |column: Column| Column::ALL.iter().position(|&other| other == column);
    fitted.sort_by_key(|&(column, _)| place(column));
    fitted
}

fn is_right_aligned(column: Column) -> bool {
    !matches!(column, Column::Name | Column::State | Column::Command)
}

fn draw_headings(pen: &mut Pen<'_>, line: Rect, model: &Model, columns: &[Fitted]) {
    for (column, cell) in cells(line, columns) {
        let style = match column == model.selection.sort {
            true => BOLD.add_modifier(Modifier::UNDERLINED),
            false => Style::new(),
        };
        draw_cell(pen, cell, column, column.heading(), style);
    }
    pen.fill(line, REVERSED);
}

fn draw_task(pen: &mut Pen<'_>, line: Rect, task: &Task, columns: &[Fitted]) {
    for (column, cell) in cells(line, columns) {
        let (text, tone) = cell_of(pen, column, task);
        let style = pen.tone(tone);
        draw_cell(pen, cell, column, &text, style);
    }
}

fn cells(line: Rect, columns: &[Fitted]) -> impl Iterator<Item = (Column, Rect)> {
    let mut x = line.x;
    columns.iter().map(move |&(column, width)| {
        let cell = Rect { x, width, ..line };
        x += width + GAP;
        (column, cell)
    })
}

fn draw_cell(pen: &mut Pen<'_>, cell: Rect, column: Column, text: &str, style: Style) {
    // Numbers and units are ASCII.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    let indent = match is_right_aligned(column) {
        true => cell.width.saturating_sub(length),
        false => 0,
    };
    pen.put(cell, cell.x + indent, text, style);
}

fn cell_of(pen: &Pen<'_>, column: Column, task: &Task) -> (String, Tone) {
    let status = &task.status;
    let text = match column {
        Column::Name => printable(&status.name),
        Column::State => {
            let code = status.exit.as_ref().map(|exit| exit.exit_code);
            let text = match state_text(&status.state, code, status.error.is_some()) {
                // As wide as the others.
                text if text == "exited (not started)" => "not started".to_owned(),
                text if text == "exited (unknown)" => "exited (?)".to_owned(),
                text => text,
            };
            return (printable(&text), state_tone(&status.state, code));
        }
        Column::Pid => or_dash(status.pid.map(|pid| pid.to_string())),
        Column::Cpu => percent(task.usage.cpu_percent),
        Column::Memory => size(task.usage.memory_rss_bytes),
        Column::Io => rate(task.io_rate()),
        Column::Threads => or_dash(task.usage.threads.map(|threads| threads.to_string())),
        Column::Restarts => status.restarts.to_string(),
        Column::Uptime => or_dash(task.running_since().and_then(|since| pen.age(since))),
        Column::Command => or_dash(status.command.as_deref().map(printable)),
    };
    let tone = if text == "-" { Tone::Faint } else { Tone::Plain };
    (text, tone)
}
