//! Tables for eyes: aligned columns, colours on a terminal only.

use std::io::IsTerminal;

/// How a cell looks on a terminal.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell of this tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: printable(&text.into()), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::toned(text, Tone::Plain)
    }
}

/// Rows under a heading. Columns whose heading starts with `>` are aligned to the right.
#[derive(Debug)]
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(headings: &'static [&'static str]) -> Table {
        Table { headings, rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines of the table, each with its end.
    pub(crate) fn render(&self, coloured: bool) -> String {
        let names = || self.headings.iter().map(|name| name.trim_start_matches('>'));
        let mut widths: Vec<usize> = names().map(|name| name.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let heading: Vec<Cell> = names().map(|name| Cell::toned(name, Tone::Faint)).collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), name) in row.iter().zip(&widths).zip(self.headings) {
                let gap = " ".repeat(width.saturating_sub(cell.text.chars().count()));
                let shown = paint(&cell.text, cell.tone, coloured);
                if name.starts_with('>') {
                    line.push_str(&gap);
                    line.push_str(&shown);
                } else {
                    line.push_str(&shown);
                    line.push_str(&gap);
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text in its tone.
pub(crate) fn paint(text: &str, tone: Tone, coloured: bool) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
        Tone::Faint => "2",
        Tone::Plain => return text.to_owned(),
    };
    if coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Whether standard output wants colours: a terminal, and nobody has said no (no-color.org).
pub(crate) fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !dumb && std::io::stdout().is_terminal()
}

/// The text without control characters, so that a task's words cannot steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_are_shown() {
        let mut table = Table::new(&["NAME", ">PID", "COMMAND"]);
        table.row(vec!["web".into(), "7".into(), "a\x1b[2J".into()]);
        table.row(vec![Cell::toned("long-name", Tone::Bad), "1234".into(), "b".into()]);
        assert_eq!(
            table.render(false),
            "NAME        PID  COMMAND\nweb           7  a\\u{1b}[2J\nlong-name  1234  b\n"
        );
        assert!(table.render(true).contains("\x1b[31mlong-name\x1b[0m  1234"));
    }
}
