//! The last line: what is asked, else what was said last, else what the keys do.

use super::pen::{BOLD, Pen, REVERSED};
use crate::cli::table::{Tone, printable};
use crate::cli::top::model::{Model, Prompt};
use ratatui::layout::Rect;

pub(super) fn draw(pen: &mut Pen<'_>, line: Rect, model: &Model) {
    if let Some(prompt) = &model.prompt {
        return ask(pen, line, prompt);
    }
    let faint = pen.tone(Tone::Faint);
    match (&model.note, model.help, &model.detail) {
        (_, true, _) => pen.line(line, "any key goes back", faint),
        (Some(note), ..) => pen.line(line, &printable(note), BOLD),
        (None, _, None) => {
            let keys = "? help  q quit  Enter look  S stop  R restart  K signal  / filter  <> sort";
            pen.line(line, keys, faint);
        }
        (None, _, Some(_)) => {
            let keys = "? help  Esc back  S stop  R restart  K signal  PgUp PgDn scroll";
            pen.line(line, keys, faint);
        }
    }
}

fn ask(pen: &mut Pen<'_>, line: Rect, prompt: &Prompt) {
    let warning = pen.tone(Tone::Warning).patch(BOLD);
    let (question, text, rest) = match prompt {
        Prompt::Filter { text, .. } => ("only tasks with: ".to_owned(), text.as_str(), None),
        Prompt::Signal { name, text, problem, .. } => {
            (format!("signal for {} [TERM]: ", printable(name)), text.as_str(), problem.as_ref())
        }
        Prompt::Confirm(action) => {
            let (what, name) = (action.verb.describe(), printable(&action.name));
            let question = format!("{what} {name}? y: yes  n: no ");
            (question, "", None)
        }
    };
    let x = pen.put(line, line.x, &question, warning);
    let x = pen.put(line, x, &printable(text), BOLD);
    // The cursor.
    let x = pen.put(line, x, " ", REVERSED);
    if let Some(problem) = rest {
        let bad = pen.tone(Tone::Bad);
        pen.put(line, x, &format!("  {}", printable(problem)), bad);
    }
}
