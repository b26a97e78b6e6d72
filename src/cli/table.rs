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
        let shown = |cell: &Cell| paint(&cell.text, cell.tone, coloured);
        let mut table = comfy_table::Table::new();
        table
            .load_style(comfy_table::presets::NOTHING)
            .set_content_arrangement(comfy_table::ContentArrangement::Disabled)
            .set_header(
                self.headings
                    .iter()
                    .map(|heading| paint(heading.trim_start_matches('>'), Tone::Faint, coloured)),
            )
            .add_rows(self.rows.iter().map(|row| row.iter().map(shown)));
        for (column, heading) in table.column_iter_mut().zip(self.headings) {
            column.set_padding((0, 2));
            if heading.starts_with('>') {
                column.set_cell_alignment(comfy_table::CellAlignment::Right);
            }
        }
        table.trim_fmt() + "\n"
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
