//! What is wrong with a task file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Something wrong in a task file. Its text names file, line and column and shows the line with a
/// caret below the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Where in it, where that is known (not in JSON, apart from its syntax).
    pub place: Option<Place>,
    /// The path of the field: `task.web.restart.mode`; empty where the file as a whole is meant.
    pub field: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// A place in a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The whole line.
    pub text: String,
    /// How many characters are meant, at least 1.
    pub width: usize,
}

impl Place {
    /// The place of a range of bytes; one that reaches over several lines is cut at the first.
    fn of(text: &str, span: &Range<usize>) -> Place {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let meant = text.get(start..end).unwrap_or_default();
        let width = meant.split('\n').next().unwrap_or_default().trim_end().chars().count();
        Place {
            line: before.matches('\n').count() + 1,
            column,
            text: line.to_owned(),
            width: width.max(1),
        }
    }

    /// The place that a parser names by line and column.
    fn at(text: &str, line: usize, column: usize) -> Place {
        let shown = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
        Place { line, column: column.max(1), text: shown.to_owned(), width: 1 }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {}", self.reason)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let indent: String = place
                .text
                .chars()
                .take(place.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            write!(f, "\n  {number} | {}", place.text)?;
            write!(f, "\n  {:w$} | {indent}{}", "", "^".repeat(place.width), w = number.len())?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Nobody reads more of them at once.
const PROBLEMS_MAX: usize = 100;

/// Collects what is wrong with one text.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    file: &'a Path,
    text: &'a str,
    found: Vec<(Option<Range<usize>>, Problem)>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Problems<'a> {
        Problems { file, text, found: Vec::new() }
    }

    /// Notes a problem; what is wrong in `[defaults]` is told once, not for every task.
    pub(super) fn add(
        &mut self,
        span: Option<Range<usize>>,
        field: impl Into<String>,
        reason: impl Into<String>,
    ) {
        let (field, reason) = (field.into(), reason.into());
        if self.found.len() >= PROBLEMS_MAX {
            return;
        }
        if span.is_some() && self.found.iter().any(|(s, p)| *s == span && p.reason == reason) {
            return;
        }
        let place = span.as_ref().map(|span| Place::of(self.text, span));
        self.found.push((span, Problem { file: self.file.to_owned(), place, field, reason }));
    }

    /// Notes a problem whose place is known as line and column.
    pub(super) fn add_at(&mut self, line: usize, column: usize, reason: impl Into<String>) {
        let place = Some(Place::at(self.text, line, column));
        let (file, field) = (self.file.to_owned(), String::new());
        self.found.push((None, Problem { file, place, field, reason: reason.into() }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, in the order of the file.
    pub(super) fn into_vec(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(span, _)| span.as_ref().map(|span| span.start));
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// The one of `known` that `given` was probably meant to be.
pub(super) fn suggestion<'k>(
    given: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    // No key is longer; a long text would take its square in time.
    if given.len() > 64 {
        return None;
    }
    let given = plain(given);
    known
        .into_iter()
        .map(|name| (distance(&given, &plain(name)), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 5)
        .min()
        .map(|(_, name)| name)
}

/// Insertions, removals, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut least =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row[j] = least;
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_shown_with_a_caret() {
        let text = "[task.web]\n\tworkdir = \"ä\" # x\n";
        let mut problems = Problems::new(Path::new("t.toml"), text);
        problems.add(Some(12..19), "task.web", "unknown key \"workdir\"");
        problems.add(Some(22..26), "task.web.workdir", "bad");
        let shown: Vec<String> = problems.into_vec().iter().map(Problem::to_string).collect();
        let line = "\tworkdir = \"ä\" # x";
        assert_eq!(
            shown[0],
            format!("t.toml:2:2: task.web: unknown key \"workdir\"\n  2 | {line}\n    | \t^^^^^^^")
        );
        assert_eq!(
            shown[1],
            format!("t.toml:2:12: task.web.workdir: bad\n  2 | {line}\n    | \t          ^^^")
        );
    }

    #[test]
    fn places_outside_the_text_do_no_harm() {
        let place = Place::of("ab", &(7..9));
        assert_eq!((place.line, place.column, place.width), (1, 3, 1));
        let place = Place::of("ä", &(1..1));
        assert_eq!((place.line, place.column), (1, 1));
        assert_eq!(Place::at("a\nb", 9, 0).text, "");
    }

    #[test]
    fn a_slip_gets_a_suggestion_and_nonsense_none() {
        let known = ["work_dir", "kill_timeout", "env", "args"];
        assert_eq!(suggestion("workdir", known), Some("work_dir"));
        assert_eq!(suggestion("work-dir", known), Some("work_dir"));
        assert_eq!(suggestion("kill_timoeut", known), Some("kill_timeout"));
        assert_eq!(suggestion("agrs", known), Some("args"));
        assert_eq!(suggestion("port", known), None);
    }
}
