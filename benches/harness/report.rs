//! One aligned table, the targets, and the same as JSON.

use super::Outcome;
use super::arguments::Arguments;
use std::fmt::Write as _;

/// What stands in a column.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    /// A figure and the digits behind its point; printed as `-` where it is not a number.
    Number(f64, usize),
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Number(value, _) if !value.is_finite() => "-".to_owned(),
            Cell::Number(value, digits) => format!("{value:.digits$}"),
        }
    }

    fn json(&self) -> String {
        match self {
            Cell::Text(text) => quoted(text),
            Cell::Number(value, _) if value.is_finite() => format!("{value}"),
            Cell::Number(..) => "null".to_owned(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

/// Which side of a target is good.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

struct Target {
    name: String,
    value: f64,
    bound: Bound,
}

impl Target {
    fn is_met(&self) -> bool {
        match self.bound {
            Bound::AtLeast(limit) => self.value >= limit,
            Bound::AtMost(limit) => self.value <= limit,
        }
    }
}

/// The result of one benchmark.
pub(crate) struct Report {
    name: &'static str,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
    targets: Vec<Target>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(name: &'static str, columns: &[&'static str]) -> Report {
        Report {
            name,
            columns: columns.to_vec(),
            rows: Vec::new(),
            targets: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// What has to hold.
    pub(crate) fn target(&mut self, name: impl Into<String>, value: f64, bound: Bound) {
        self.targets.push(Target { name: name.into(), value, bound });
    }

    /// What a reader of the figures has to know.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints everything.
    ///
    /// # Errors
    /// Where the JSON cannot be written, or `--check` was given and a target is missed.
    pub(crate) fn finish(self, arguments: &Arguments) -> Outcome<()> {
        println!("{} ({})", self.name, arguments.size("quick", "full"));
        print!("{}", self.table());
        let mut missed = 0;
        for target in &self.targets {
            let (sign, limit) = match target.bound {
                Bound::AtLeast(limit) => (">=", limit),
                Bound::AtMost(limit) => ("<=", limit),
            };
            let verdict = if target.is_met() { "met" } else { "MISSED" };
            missed += usize::from(!target.is_met());
            println!("{verdict}: {} {:.3} {sign} {limit}", target.name, target.value);
        }
        for note in &self.notes {
            println!("note: {note}");
        }
        match &arguments.json {
            Some(path) => std::fs::write(path, self.json(arguments) + "\n")?,
            None => println!("json: {}", self.json(arguments)),
        }
        if arguments.check && missed > 0 {
            return Err(format!("{missed} targets missed").into());
        }
        Ok(())
    }

    fn table(&self) -> String {
        let lines: Vec<Vec<String>> =
            std::iter::once(self.columns.iter().map(|&column| column.to_owned()).collect())
                .chain(self.rows.iter().map(|row| row.iter().map(Cell::text).collect()))
                .collect();
        let width = |column: usize| {
            lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                // The first column is a name, the others are figures.
                let _ = match column {
                    0 => write!(text, "{cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.push('\n');
        }
        text
    }

    fn json(&self, arguments: &Arguments) -> String {
        let rows = self.rows.iter().map(|row| {
            let fields = self.columns.iter().zip(row);
            object(fields.map(|(column, cell)| (*column, cell.json())))
        });
        let targets = self.targets.iter().map(|target| {
            let (sign, limit) = match target.bound {
                Bound::AtLeast(limit) => ("at_least", limit),
                Bound::AtMost(limit) => ("at_most", limit),
            };
            object([
                ("name", quoted(&target.name)),
                ("value", Cell::Number(target.value, 0).json()),
                (sign, limit.to_string()),
                ("met", target.is_met().to_string()),
            ])
        });
        let notes = self.notes.iter().map(|note| quoted(note));
        object([
            ("bench", quoted(self.name)),
            ("quick", arguments.quick.to_string()),
            ("rows", array(rows)),
            ("targets", array(targets)),
            ("notes", array(notes)),
        ])
    }
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> =
        fields.into_iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", fields.join(", "))
}

fn array(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<String>>().join(", "))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
