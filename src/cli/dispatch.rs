//! From the command line to the verb, and from its outcome to the exit code.

use super::arguments::{Arguments, Verb};
use super::failure::OWN;
use super::{check, daemon, run, up};
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

/// The program: reads the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let words = signals_as_flags(std::env::args_os().collect());
    match Arguments::try_parse_from(&words) {
        Ok(arguments) => dispatch(arguments),
        Err(error) => refuse(&error, &words),
    }
}

fn dispatch(arguments: Arguments) -> ExitCode {
    let socket = arguments.socket;
    match arguments.verb {
        Verb::Run(arguments) => run::run(*arguments),
        Verb::Up(mut arguments) => {
            arguments.socket = socket;
            up::up(arguments)
        }
        Verb::Daemon(mut arguments) => {
            arguments.socket = socket;
            daemon::daemon(arguments)
        }
        Verb::Check(arguments) => check::check(arguments),
        other => {
            eprintln!("ostler: {other:?}: not available in this version");
            ExitCode::FAILURE
        }
    }
}

/// Prints help to standard output, and what is wrong to standard error.
fn refuse(error: &clap::Error, words: &[OsString]) -> ExitCode {
    let rendered = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Nobody to tell when standard output is closed.
            let _ = std::io::stdout().write_all(rendered.as_bytes());
            return ExitCode::SUCCESS;
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = std::io::stderr().write_all(rendered.as_bytes());
        }
        _ => {
            let verb = verb_of(words).and_then(OsStr::to_str);
            let prefix = verb.map_or_else(|| "ostler: ".to_owned(), |v| format!("ostler: {v}: "));
            let why = rendered.strip_prefix("error: ").unwrap_or(&rendered);
            let _ = write!(std::io::stderr(), "{prefix}{why}");
        }
    }
    ExitCode::from(match verb_of(words).and_then(OsStr::to_str) {
        Some("run" | "wait" | "exec") => OWN,
        _ => 2,
    })
}

/// The position of the verb: the first word that is neither a flag nor the value of `--socket`.
fn verb_position(words: &[OsString]) -> Option<usize> {
    let mut position = 1;
    while let Some(word) = words.get(position) {
        if word == "--socket" {
            position += 2;
        } else if word.as_encoded_bytes().starts_with(b"-") {
            position += 1;
        } else {
            return Some(position);
        }
    }
    None
}

fn verb_of(words: &[OsString]) -> Option<&OsStr> {
    verb_position(words).and_then(|position| words.get(position)).map(OsString::as_os_str)
}

/// Makes `-s 9` of the `-9` and `-HUP` of kill(1), after the verb signal or kill only.
fn signals_as_flags(words: Vec<OsString>) -> Vec<OsString> {
    let Some(position) = verb_position(&words) else { return words };
    if !matches!(words.get(position).and_then(|word| word.to_str()), Some("signal" | "kill")) {
        return words;
    }
    let is_signal = |word: &OsString| {
        let name = word.to_str().and_then(|word| word.strip_prefix('-')).unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let mut changed = Vec::with_capacity(words.len() + 1);
    let mut literal = false;
    for (index, word) in words.into_iter().enumerate() {
        literal |= word == "--";
        if index > position && !literal && is_signal(&word) {
            changed.push("-s".into());
            changed.push(word.to_string_lossy().trim_start_matches('-').into());
        } else {
            changed.push(word);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn signals_are_flags_of_signal_alone() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let changed = |text: &str| signals_as_flags(words(text));
        assert_eq!(changed("ostler kill -9 web"), words("ostler kill -s 9 web"));
        assert_eq!(changed("ostler --socket kill ps -9"), words("ostler --socket kill ps -9"));
        assert_eq!(
            changed("ostler --socket /x signal web -RTMIN+3"),
            words("ostler --socket /x signal web -s RTMIN+3")
        );
        assert_eq!(changed("ostler kill -s HUP -- -X"), words("ostler kill -s HUP -- -X"));
    }
}
