//! What is asked of the user: a filter, a signal, whether something is really meant.

use crate::cli::top::keys::Key;
use crate::vocabulary::Signal;

/// What the daemon is to do with a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) struct Action {
    pub(in crate::cli::top) verb: Verb,
    pub(in crate::cli::top) name: String,
    /// The launch that was looked at when it was asked for.
    pub(in crate::cli::top) id: String,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) enum Verb {
    Stop,
    Restart,
    Signal(Signal),
}

impl Verb {
    /// As a word in a sentence.
    pub(in crate::cli::top) fn describe(self) -> String {
        match self {
            Verb::Stop => "stop".to_owned(),
            Verb::Restart => "restart".to_owned(),
            Verb::Signal(signal) => format!("send {signal} to"),
        }
    }
}

/// What is asked of the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::cli::top) enum Prompt {
    /// What the tasks are filtered by, and what they were before.
    Filter { text: String, before: String },
    /// Which signal to send to this task (nothing: TERM); with what is wrong with the last answer.
    Signal { name: String, id: String, text: String, problem: Option<String> },
    /// Whether this is really meant.
    Confirm(Action),
}

/// What an answer came to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It is not complete.
    Open,
    /// The filter is this from now on.
    Filter(String),
    /// To be done.
    Act(Action),
    /// Nothing is to be done.
    Cancelled,
}

/// A longer answer makes no sense.
const TEXT_CHARACTERS_MAX: usize = 100;

impl Prompt {
    /// Takes a key; whether the prompt is over is in the answer, but for a filter, which holds
    /// while it is typed.
    pub(super) fn press(&mut self, key: Key) -> Answer {
        match self {
            Prompt::Filter { text, before } => match key {
                Key::Enter => Answer::Filter(text.clone()),
                Key::Escape => Answer::Filter(before.clone()),
                key => {
                    edit(text, key);
                    Answer::Open
                }
            },
            Prompt::Signal { name, id, text, problem } => match key {
                Key::Enter if text.is_empty() => {
                    let (verb, name, id) = (Verb::Signal(Signal::TERM), name.clone(), id.clone());
                    Answer::Act(Action { verb, name, id })
                }
                Key::Enter => match text.parse::<Signal>() {
                    Ok(signal) => {
                        let (verb, name, id) = (Verb::Signal(signal), name.clone(), id.clone());
                        Answer::Act(Action { verb, name, id })
                    }
                    Err(unknown) => {
                        *problem = Some(unknown.to_string());
                        Answer::Open
                    }
                },
                Key::Escape => Answer::Cancelled,
                key => {
                    *problem = None;
                    edit(text, key);
                    Answer::Open
                }
            },
            Prompt::Confirm(action) => match key {
                Key::Character('y' | 'Y') | Key::Enter => Answer::Act(action.clone()),
                Key::Character('n' | 'N' | 'q') | Key::Escape => Answer::Cancelled,
                _ => Answer::Open,
            },
        }
    }

    /// The task that it is about.
    pub(super) fn task(&self) -> Option<(&str, &str)> {
        match self {
            Prompt::Filter { .. } => None,
            Prompt::Signal { name, id, .. } => Some((name, id)),
            Prompt::Confirm(action) => Some((&action.name, &action.id)),
        }
    }
}

fn edit(text: &mut String, key: Key) {
    match key {
        Key::Character(character) if text.chars().count() < TEXT_CHARACTERS_MAX => {
            text.push(character);
        }
        Key::Backspace => drop(text.pop()),
        Key::Control('u') => text.clear(),
        Key::Control('w') => {
            let kept = text.trim_end().rfind(' ').map_or(0, |space| space + 1);
            text.truncate(kept);
        }
        _ => {}
    }
}
