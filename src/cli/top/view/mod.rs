//! From what is known to what is on the screen. Only what can be seen is laid out.

mod detail;
mod help;
mod pen;
mod prompt;
mod table;
#[cfg(test)]
mod tests;

use super::model::Model;
use pen::Pen;
use ratatui::Frame;
use ratatui::layout::Rect;

/// How things look besides what they say.
#[derive(Copy, Clone, Debug)]
pub(super) struct Look {
    /// Colours are wanted.
    pub(super) coloured: bool,
    /// Microseconds since the epoch, for what is told as an age.
    pub(super) now_us: u64,
}

/// Brings the model up to date for a screen of this size, and draws it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model, look: Look) {
    let area = frame.area();
    let Some((body, last)) = split_last(area) else { return };
    let lines = match &model.detail {
        Some(detail) => detail::output_height(body, detail),
        None => 1,
    };
    model.prepare(table::row_count(body), lines);
    let mut pen = Pen { buffer: frame.buffer_mut(), look };
    match &model.detail {
        _ if model.help => help::draw(&mut pen, body),
        Some(detail) => detail::draw(&mut pen, body, model, detail),
        None => table::draw(&mut pen, body, model),
    }
    prompt::draw(&mut pen, last, model);
}

/// The last line is for what is asked and said; none where there is no line at all.
fn split_last(area: Rect) -> Option<(Rect, Rect)> {
    let height = area.height.checked_sub(1)?;
    let body = Rect { height, ..area };
    let last = Rect { y: area.y + height, height: 1, ..area };
    Some((body, last))
}
