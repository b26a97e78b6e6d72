//! Writing into the cells of a frame.

use super::Look;
use crate::cli::table::Tone;
use crate::cli::units::{show_duration, show_size};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use std::time::Duration;

/// The cells of a frame, and how things look.
pub(super) struct Pen<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) look: Look,
}

impl Pen<'_> {
    /// Writes a text from this place on, cut off at the end of the line; the place behind it.
    pub(super) fn put(&mut self, line: Rect, x: u16, text: &str, style: Style) -> u16 {
        let end = line.x.saturating_add(line.width);
        if x >= end || line.height == 0 {
            return end;
        }
        self.buffer.set_stringn(x, line.y, text, usize::from(end - x), style).0
    }

    /// Writes a text from the beginning of the line on.
    pub(super) fn line(&mut self, line: Rect, text: &str, style: Style) {
        self.put(line, line.x, text, style);
    }

    /// Gives all of an area this style.
    pub(super) fn fill(&mut self, area: Rect, style: Style) {
        self.buffer.set_style(area, style);
    }

    /// How a tone looks.
    pub(super) fn tone(&self, tone: Tone) -> Style {
        let colour = |colour| match self.look.coloured {
            true => Style::new().fg(colour),
            false => Style::new(),
        };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => colour(Color::Green),
            Tone::Warning => colour(Color::Yellow),
            Tone::Bad => colour(Color::Red),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        }
    }

    /// How long ago this was, in whole seconds; none where the clock was set back since.
    pub(super) fn age(&self, time_us: u64) -> Option<String> {
        let age = self.look.now_us.checked_sub(time_us)?;
        Some(show_duration(Duration::from_secs(age / 1_000_000)))
    }
}

/// The nth line of an area, if it has one.
pub(super) fn nth(area: Rect, n: u16) -> Option<Rect> {
    (n < area.height).then(|| Rect { y: area.y + n, height: 1, ..area })
}

pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// A dash is what was not measured.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

/// Bytes for people.
pub(super) fn size(bytes: Option<u64>) -> String {
    or_dash(bytes.map(show_size))
}

/// Bytes a second for people, below a heading that says so.
pub(super) fn rate(bytes: Option<f64>) -> String {
    size(bytes.map(|bytes| bytes as u64))
}

/// Bytes a second for people, in a sentence.
pub(super) fn rate_with_unit(bytes: Option<f64>) -> String {
    or_dash(bytes.map(|_| rate(bytes) + "/s"))
}

/// Percent of a core.
pub(super) fn percent(value: Option<f64>) -> String {
    or_dash(value.map(|value| format!("{value:.1}%")))
}

/// A number with its digits in groups of three: `10,000`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
