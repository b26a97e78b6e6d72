//! What is shown: what the daemon tells and the keys of the user go in, and what is to be done
//! comes out. No clock, no terminal, no connection.

mod columns;
mod detail;
mod press;
mod prompt;
mod tasks;
#[cfg(test)]
mod tests;

pub(super) use columns::Column;
pub(super) use detail::{Detail, Stream};
pub(super) use press::HELP;
pub(super) use prompt::{Action, Prompt, Verb};
pub(super) use tasks::{STATES, Selection, Task, Tasks};

use super::wire::{Event, Status, TaskStats};

/// What is to be done outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Quit,
    /// Give the terminal to the shell for a while.
    Suspend,
    /// Forget what is on the terminal, and draw it anew.
    Redraw,
    /// Ask the daemon for all about this task from now on.
    Follow(String),
    /// No more about it.
    Unfollow,
    Act(Action),
}

/// What is known of the figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Figures {
    /// They come, or have not come yet.
    Expected,
    /// The daemon has none, for this reason.
    Missing(String),
}

/// All that is shown.
#[derive(Debug)]
pub(super) struct Model {
    /// The daemon's socket.
    pub(super) socket: String,
    pub(super) tasks: Tasks,
    pub(super) selection: Selection,
    /// The name of the task under the cursor.
    pub(super) cursor: Option<String>,
    /// The position of the first task on the screen.
    pub(super) first: usize,
    /// Tasks that fit on the screen.
    pub(super) rows: usize,
    /// Lines of output that fit in the view of one task.
    pub(super) lines: usize,
    pub(super) detail: Option<Detail>,
    pub(super) prompt: Option<Prompt>,
    pub(super) help: bool,
    /// What came of the last action.
    pub(super) note: Option<String>,
    pub(super) figures: Figures,
    /// The first list has come.
    pub(super) listed: bool,
}

impl Model {
    /// Nothing is known yet.
    pub(super) fn new(socket: String, selection: Selection) -> Model {
        Model {
            socket,
            tasks: Tasks::default(),
            selection,
            cursor: None,
            first: 0,
            rows: 1,
            lines: 1,
            detail: None,
            prompt: None,
            help: false,
            note: None,
            figures: Figures::Expected,
            listed: false,
        }
    }

    /// All tasks that there are.
    pub(super) fn take_list(&mut self, tasks: Vec<Status>) {
        self.tasks.replace(tasks);
        self.listed = true;
    }

    /// Something has happened.
    pub(super) fn take_event(&mut self, event: &Event) -> Option<Effect> {
        self.tasks.take_event(event);
        let another = |id: &str| event.id != id || event.kind == "removed";
        if let Some((name, id)) = self.prompt.as_ref().and_then(Prompt::task)
            && name == event.name
            && another(id)
        {
            self.note = Some(format!("{name} is not the one that it was any more"));
            self.prompt = None;
        }
        let followed = self.detail.as_ref().filter(|detail| detail.name == event.name)?;
        let outdated = match event.kind.as_str() {
            "launched" | "started" => followed.id != event.id || followed.over,
            kind => kind == "updated",
        };
        outdated.then(|| self.follow(event.name.clone()))
    }

    /// What tasks use.
    pub(super) fn take_stats(&mut self, stats: &[TaskStats]) {
        self.figures = Figures::Expected;
        for task in stats {
            self.tasks.measure(task);
        }
    }

    /// The daemon does not measure.
    pub(super) fn take_no_stats(&mut self, why: String) {
        self.figures = Figures::Missing(why);
    }

    /// What events did not tell of a task.
    pub(super) fn take_completion(&mut self, status: &Status) {
        self.tasks.complete(status);
    }

    /// The next task on the screen whose command has to be asked for.
    pub(super) fn next_incomplete(&mut self) -> Option<String> {
        let last = (self.first + self.rows).min(self.tasks.shown().len());
        self.tasks.next_incomplete(self.first.min(last)..last)
    }

    /// What came of an action.
    pub(super) fn take_outcome(&mut self, action: &Action, failure: Option<&str>) {
        let what = action.verb.describe();
        self.note = Some(match failure {
            None => format!("{what} {}: done", action.name),
            Some(why) => format!("{what} {}: {why}", action.name),
        });
    }

    /// All about the task that is looked at.
    pub(super) fn take_inspection(&mut self, status: Status) {
        if let Some(detail) = &mut self.detail {
            detail.id.clone_from(&status.id);
            detail.status = Some(status);
        }
    }

    /// Something that happened to the task that is looked at, perhaps long ago.
    pub(super) fn take_past_event(&mut self, event: Event) {
        if let Some(detail) = &mut self.detail {
            detail.take_event(event);
        }
    }

    /// Output of the task that is looked at.
    pub(super) fn take_output(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(detail) = &mut self.detail {
            detail.take_output(stream, bytes);
        }
    }

    /// No more output of it comes; why not, unless that was all.
    pub(super) fn end_output(&mut self, stream: Stream, why: Option<String>) {
        if let Some(detail) = &mut self.detail {
            detail.end_output(stream, why);
        }
    }

    /// Brings what is shown up to date, where so many tasks and lines of output fit.
    pub(super) fn prepare(&mut self, rows: usize, lines: usize) {
        (self.rows, self.lines) = (rows.max(1), lines.max(1));
        let changed = self.tasks.refresh(&self.selection);
        let shown = self.tasks.shown();
        let at = self.cursor.as_ref().and_then(|name| shown.iter().position(|s| s == name));
        if self.cursor.is_some() && at.is_none() && changed {
            // It is not shown any more: the next best would be a task that nobody has chosen.
            self.cursor = None;
        }
        if let Some(at) = at {
            self.first = self.first.clamp((at + 1).saturating_sub(self.rows), at);
        }
        self.first = self.first.min(shown.len().saturating_sub(self.rows));
        if let Some(detail) = &mut self.detail {
            detail.back = detail.back.min(detail.lines.len().saturating_sub(self.lines));
        }
    }

    fn follow(&mut self, name: String) -> Effect {
        self.detail = Some(Detail::new(name.clone()));
        Effect::Follow(name)
    }
}
