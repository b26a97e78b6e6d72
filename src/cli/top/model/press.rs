//! What each key does.

use super::prompt::Answer;
use super::{Action, Effect, Model, Prompt, Verb};
use crate::cli::top::keys::Key;

/// The keys, for people. The first of each line is what the last line of the screen can offer.
pub(in crate::cli::top) const HELP: [(&str, &str); 18] = [
    ("Up Down PgUp PgDn Home End j k", "choose a task; in the view of one: scroll its output"),
    ("Enter", "look at the task: figures, events, output"),
    ("Esc", "back; choose no task; show all again"),
    ("/", "show only tasks with this text in name, state or command"),
    ("a", "show exited tasks, too"),
    ("< > Left Right", "sort by the column to the left, to the right"),
    ("o", "turn the order round"),
    ("c m n", "sort by CPU, memory, name"),
    ("S", "stop the task: signal, grace, kill"),
    ("R", "stop it and start it again"),
    ("K", "send it a signal"),
    ("", "each of these asks before it does anything"),
    ("Ctrl-L", "draw the screen anew"),
    ("Ctrl-Z", "back to the shell for a while (fg)"),
    ("? h F1", "this help"),
    ("q Ctrl-C", "leave"),
    ("", ""),
    ("", "RSS is resident memory; - is what is not measured"),
];

/// Where the cursor goes.
enum Step {
    By(isize),
    First,
    Last,
}

impl Model {
    /// A key was pressed.
    pub(in crate::cli::top) fn press(&mut self, key: Key) -> Option<Effect> {
        match key {
            Key::Control('c') => return Some(Effect::Quit),
            Key::Control('z') => return Some(Effect::Suspend),
            Key::Control('l') => return Some(Effect::Redraw),
            _ => {}
        }
        if self.prompt.is_some() {
            return self.answer(key);
        }
        if std::mem::take(&mut self.help) {
            return None;
        }
        self.note = None;
        match key {
            Key::Character('q') if self.detail.is_none() => return Some(Effect::Quit),
            Key::Character('?' | 'h') | Key::Help => self.help = true,
            Key::Character('S') => self.confirm(Verb::Stop),
            Key::Character('R') => self.confirm(Verb::Restart),
            Key::Character('K') => self.ask_for_signal(),
            key if self.detail.is_some() => return self.press_in_detail(key),
            key => return self.press_in_table(key),
        }
        None
    }

    fn press_in_table(&mut self, key: Key) -> Option<Effect> {
        let page = self.rows.saturating_sub(1).max(1) as isize;
        match key {
            Key::Up | Key::Character('k') => self.step(Step::By(-1)),
            Key::Down | Key::Character('j') => self.step(Step::By(1)),
            Key::PageUp => self.step(Step::By(-page)),
            Key::PageDown | Key::Character(' ') => self.step(Step::By(page)),
            Key::Home | Key::Character('g') => self.step(Step::First),
            Key::End | Key::Character('G') => self.step(Step::Last),
            Key::Enter => {
                let name = self.cursor.clone();
                return name.map(|name| self.follow(name)).or_else(|| self.need_a_task());
            }
            Key::Escape if self.cursor.is_some() => self.cursor = None,
            Key::Escape => self.filter(String::new()),
            Key::Character('/') => {
                let text = self.selection.filter.clone();
                self.prompt = Some(Prompt::Filter { before: text.clone(), text });
            }
            Key::Character('a') => {
                self.selection.exited = !self.selection.exited;
                self.tasks.reselect();
            }
            Key::Character('<' | ',') | Key::Left => self.sort(self.selection.sort.moved(-1)),
            Key::Character('>' | '.') | Key::Right => self.sort(self.selection.sort.moved(1)),
            Key::Character('c') => self.sort(super::Column::Cpu),
            Key::Character('m') => self.sort(super::Column::Memory),
            Key::Character('n') => self.sort(super::Column::Name),
            Key::Character('o') => {
                self.selection.descending = !self.selection.descending;
                self.tasks.reselect();
            }
            _ => {}
        }
        None
    }

    fn press_in_detail(&mut self, key: Key) -> Option<Effect> {
        let page = self.lines.saturating_sub(1).max(1);
        let detail = self.detail.as_mut()?;
        match key {
            // The bounds are those of the screen: they are kept when it is drawn.
            Key::Up | Key::Character('k') => detail.back += 1,
            Key::Down | Key::Character('j') => detail.back = detail.back.saturating_sub(1),
            Key::PageUp => detail.back += page,
            Key::PageDown | Key::Character(' ') => detail.back = detail.back.saturating_sub(page),
            Key::Home | Key::Character('g') => detail.back = detail.lines.len(),
            Key::End | Key::Character('G') => detail.back = 0,
            Key::Escape | Key::Enter | Key::Backspace | Key::Left | Key::Character('q') => {
                self.detail = None;
                return Some(Effect::Unfollow);
            }
            _ => {}
        }
        None
    }

    fn answer(&mut self, key: Key) -> Option<Effect> {
        let prompt = self.prompt.as_mut()?;
        match prompt.press(key) {
            Answer::Open => {
                if let Prompt::Filter { text, .. } = prompt {
                    let text = text.clone();
                    self.filter(text);
                }
                None
            }
            Answer::Filter(text) => {
                self.prompt = None;
                self.filter(text);
                None
            }
            Answer::Cancelled => {
                self.prompt = None;
                None
            }
            Answer::Act(action) => {
                self.prompt = None;
                self.note = Some(format!("{} {} ...", action.verb.describe(), action.name));
                Some(Effect::Act(action))
            }
        }
    }

    fn filter(&mut self, text: String) {
        if self.selection.filter != text {
            self.selection.filter = text;
            self.tasks.reselect();
        }
    }

    fn sort(&mut self, column: super::Column) {
        self.selection.sort = column;
        self.selection.descending = column.is_descending();
        self.tasks.reselect();
    }

    fn step(&mut self, step: Step) {
        let shown = self.tasks.shown();
        let Some(last) = shown.len().checked_sub(1) else { return };
        let at = self.cursor.as_ref().and_then(|name| shown.iter().position(|s| s == name));
        let to = match (step, at) {
            (Step::First, _) => 0,
            (Step::Last, _) => last,
            (Step::By(by), Some(at)) => at.saturating_add_signed(by).min(last),
            // The first step is to a task that can be seen.
            (Step::By(by), None) if by.abs() > 1 => self.first.saturating_add_signed(by).min(last),
            (Step::By(_), None) => self.first.min(last),
        };
        self.cursor = shown.get(to).cloned();
    }

    /// The task that an action would be for, and its launch.
    fn chosen(&self) -> Option<(String, String)> {
        let name = match &self.detail {
            Some(detail) => &detail.name,
            None => self.cursor.as_ref()?,
        };
        self.tasks.get(name).map(|task| (name.clone(), task.status.id.clone()))
    }

    fn need_a_task(&mut self) -> Option<Effect> {
        self.note = Some(match &self.detail {
            Some(detail) => format!("{} is gone", detail.name),
            None => "choose a task first, with the arrow keys".to_owned(),
        });
        None
    }

    fn confirm(&mut self, verb: Verb) {
        match self.chosen() {
            Some((name, id)) => self.prompt = Some(Prompt::Confirm(Action { verb, name, id })),
            None => drop(self.need_a_task()),
        }
    }

    fn ask_for_signal(&mut self) {
        match self.chosen() {
            Some((name, id)) => {
                self.prompt = Some(Prompt::Signal { name, id, text: String::new(), problem: None });
            }
            None => drop(self.need_a_task()),
        }
    }
}
