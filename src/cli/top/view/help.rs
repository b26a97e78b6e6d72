//! What the keys do.

use super::pen::{BOLD, Pen, nth};
use crate::cli::top::model::HELP;
use ratatui::layout::Rect;
use ratatui::style::Style;

pub(super) fn draw(pen: &mut Pen<'_>, body: Rect) {
    let width = HELP.iter().map(|(keys, _)| keys.len()).max().unwrap_or(0);
    let indent = u16::try_from(width).unwrap_or(0) + 2;
    for (line, (keys, meaning)) in (0..).map_while(|n| nth(body, n)).zip(HELP) {
        pen.line(line, keys, BOLD);
        pen.put(line, line.x + indent, meaning, Style::new());
    }
}
