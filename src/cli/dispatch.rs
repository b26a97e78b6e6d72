//! From the command line to the verb, and from its outcome to the exit code.

use super::arguments::{Arguments, DaemonArguments, UpArguments, Verb};
use super::client::{self, Session};
use super::complain::complain;
use super::failure::{Failure, OWN, UsageError};
use super::output::report;
use super::units::parse_positive_duration;
use super::{check, completions, daemon, man, run, take_over, top, up};
use crate::sys::own_program;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// The program: reads the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some((command, longest_wait)) = kept_command(&words) {
        return keep(command, longest_wait);
    }
    let words = signals_as_flags(words);
    // Before the flags are parsed, which the one that starts anew does as well.
    if let Some(verb @ ("daemon" | "up")) = verb_of(&words).and_then(OsStr::to_str) {
        seal(verb);
    }
    if let Some(arguments) = daemon_alone(&words) {
        return daemon::daemon(arguments);
    }
    let parsed = Arguments::command()
        .try_get_matches_from(&words)
        .and_then(|matches| Arguments::from_arg_matches(&matches).map(|read| (matches, read)));
    match parsed {
        Ok((matches, arguments)) => dispatch(&matches, arguments),
        Err(error) => refuse(&error, &words),
    }
}

fn dispatch(matches: &ArgMatches, arguments: Arguments) -> ExitCode {
    let Arguments { socket, verb } = arguments;
    let Some((name, flags)) = matches.subcommand() else { return ExitCode::from(2) };
    // A verb has these flags or it does not: asking for one that it has not is an error here.
    let json = matches!(flags.try_get_one("json"), Ok(Some(true)));
    let task = flags.try_get_one::<String>("name").ok().flatten();
    let what = task.map_or_else(|| name.to_owned(), |task| format!("{name} {task}"));
    let mirrors = is_mirror(name);
    if socket.is_some()
        && matches!(
            name,
            "run" | "check" | "completions" | "man" | "keeper" | "take-over" | "read-tasks"
        )
    {
        let why = UsageError("--socket: this verb asks no daemon".to_owned());
        return finish(name, json, mirrors, Err(why.into()));
    }
    match verb {
        Verb::Run(arguments) => {
            if arguments.task.isolation.root.is_some() {
                seal(name);
            }
            run::run(*arguments)
        }
        Verb::Up(arguments) => up::up(UpArguments { socket, ..arguments }),
        Verb::Daemon(arguments) => daemon::daemon(DaemonArguments { socket, ..arguments }),
        Verb::Check(arguments) => check::check(arguments),
        Verb::Keeper(arguments) => keep(&arguments.command, arguments.restart_max_delay),
        verb => {
            let session = Session::new(name, json, socket);
            finish(&what, json, mirrors, ask(&session, verb))
        }
    }
}

/// The command of `ostler keeper [--restart-max-delay D] COMMAND...`, and D, found without the
/// parser of flags: that would stay in the memory of a process that is to be small. What is not
/// like that is left to it.
fn kept_command(words: &[OsString]) -> Option<(&[OsString], Option<Duration>)> {
    const FLAG: &str = "--restart-max-delay";
    let mut rest = words.strip_prefix(&[words.first()?.clone(), "keeper".into()])?;
    let mut longest_wait = None;
    if let Some(text) = rest.first()?.to_str().and_then(|word| word.strip_prefix(FLAG)) {
        let text = match text.strip_prefix('=') {
            Some(text) => text,
            None if text.is_empty() => {
                rest = rest.get(1..)?;
                rest.first()?.to_str()?
            }
            None => return None,
        };
        longest_wait = Some(parse_positive_duration(text).ok()?);
        rest = rest.get(1..)?;
    }
    let dashed = rest.first()? == "--";
    let command = if dashed { rest.get(1..)? } else { rest };
    let is_command = dashed || !command.first()?.as_encoded_bytes().starts_with(b"-");
    (is_command && !command.is_empty()).then_some((command, longest_wait))
}

fn keep(command: &[OsString], longest_wait: Option<Duration>) -> ExitCode {
    match crate::keeper::keep(command, longest_wait) {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            complain("keeper", why);
            ExitCode::FAILURE
        }
    }
}

/// The arguments of `ostler daemon ...` by its own definition alone: that of all verbs would take a
/// good part of the time that a start takes. `None` where it has something to say about them.
fn daemon_alone(words: &[OsString]) -> Option<DaemonArguments> {
    let rest = words.get(1..)?.strip_prefix(&["daemon".into()])?;
    let command = Command::new("daemon").no_binary_name(true);
    let socket = Arg::new("socket").long("socket");
    let command = DaemonArguments::augment_args(command.arg(socket));
    let matches = command.try_get_matches_from(rest).ok()?;
    let socket = matches.get_one::<String>("socket").cloned();
    Some(DaemonArguments { socket, ..DaemonArguments::from_arg_matches(&matches).ok()? })
}

/// For a process whose tasks may have a root of their own.
fn seal(verb: &str) {
    if let Err(why) = own_program::seal() {
        let risk = "a task that runs as root in a root of its own could write to this program";
        complain(verb, format_args!("cannot start from a sealed copy: {why}; {risk}"));
    }
}

/// Whether the verb exits as a task or command did, and keeps 124 to 127 for itself.
fn is_mirror(verb: &str) -> bool {
    matches!(verb, "run" | "wait" | "exec")
}

/// The verbs that ask a daemon, and those that need nobody.
fn ask(session: &Session, verb: Verb) -> Result<u8, Failure> {
    match verb {
        Verb::Launch(arguments) => client::launch(session, *arguments),
        Verb::Ps(arguments) => client::ps(session, &arguments),
        Verb::Inspect(arguments) => client::inspect(session, &arguments),
        Verb::Wait(arguments) => client::wait(session, &arguments),
        Verb::Stop(arguments) => client::stop(session, &arguments),
        Verb::Start(arguments) => client::start(session, &arguments),
        Verb::Restart(arguments) => client::restart(session, &arguments),
        Verb::Signal(arguments) => client::signal(session, &arguments),
        Verb::Exec(arguments) => client::exec(session, &arguments),
        Verb::Stats(arguments) => client::stats(session, &arguments),
        Verb::Logs(arguments) => client::logs(session, &arguments),
        Verb::Update(arguments) => client::update(session, &arguments),
        Verb::Events(arguments) => client::events(session, &arguments),
        Verb::Rm(arguments) => client::remove(session, &arguments),
        Verb::Reload(arguments) => client::reload(session, &arguments),
        Verb::Upgrade(arguments) => client::upgrade(session, &arguments),
        Verb::Shutdown(arguments) => client::shutdown(session, &arguments),
        Verb::Version(arguments) => client::version(session, &arguments),
        Verb::Completions(arguments) => completions::completions(&arguments),
        Verb::Man(arguments) => man::man(&arguments),
        Verb::TakeOver(arguments) => take_over::take_over(&arguments),
        // A daemon asks for this when its task file is read again.
        Verb::ReadTasks(arguments) => {
            daemon::tell_tasks(&arguments.file).map(|()| 0).map_err(Failure::Other)
        }
        Verb::Top(arguments) => top::top(session, &arguments),
        Verb::Keeper(_) | Verb::Run(_) | Verb::Up(_) | Verb::Daemon(_) | Verb::Check(_) => {
            Err(Failure::Other("not available in this version".to_owned()))
        }
    }
}

/// Says why a verb failed, and turns its outcome into the exit code.
fn finish(what: &str, json: bool, mirrors: bool, outcome: Result<u8, Failure>) -> ExitCode {
    let code = outcome.unwrap_or_else(|failure| {
        report(what, &failure, json);
        failure.exit_code(mirrors)
    });
    ExitCode::from(code)
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
            let why = rendered.strip_prefix("error: ").unwrap_or(&rendered).trim_end();
            if words.iter().take_while(|word| *word != "--").any(|word| word == "--json") {
                report("", &UsageError(why.to_owned()).into(), true);
            } else {
                let prefix = verb.map_or_else(String::new, |verb| format!("{verb}: "));
                let _ = writeln!(std::io::stderr(), "ostler: {prefix}{why}");
            }
        }
    }
    let mirrors = verb_of(words).and_then(OsStr::to_str).is_some_and(is_mirror);
    ExitCode::from(if mirrors { OWN } else { 2 })
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
    use clap::Parser;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_daemon_understands_the_same_by_its_own_definition() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for text in [
            "ostler daemon",
            "ostler daemon --socket /s --tasks t.toml --cgroup never --control fd:7",
            "ostler daemon --state /d --on-exit keep --stats-interval 5s --max-connections 3",
        ] {
            let alone = daemon_alone(&words(text)).expect("arguments");
            let all = Arguments::try_parse_from(words(text)).expect("arguments");
            let Verb::Daemon(other) = all.verb else { panic!("{text}") };
            let other = DaemonArguments { socket: all.socket, ..other };
            assert_eq!(format!("{alone:?}"), format!("{other:?}"));
        }
        for text in ["ostler daemon --help", "ostler daemon -x", "ostler daemon y", "ostler ps"] {
            assert!(daemon_alone(&words(text)).is_none(), "{text}");
        }
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
    #[test]
    fn the_command_of_a_keeper_is_found_without_the_parser_of_flags() {
        let find = |text: &str| {
            let words: Vec<_> = format!("ostler {text}").split(' ').map(OsString::from).collect();
            let found = kept_command(&words)?;
            let command = found.0.iter().map(|word| word.to_str().unwrap());
            Some((command.collect::<Vec<_>>().join(" "), found.1))
        };
        let found = |command: &str, millis: Option<u64>| {
            Some((command.to_owned(), millis.map(Duration::from_millis)))
        };
        assert_eq!(find("keeper a -b"), found("a -b", None));
        assert_eq!(
            find("keeper -- a --restart-max-delay 1s"),
            found("a --restart-max-delay 1s", None)
        );
        assert_eq!(find("keeper --restart-max-delay 1s a"), found("a", Some(1000)));
        assert_eq!(find("keeper --restart-max-delay=500ms -- -a b"), found("-a b", Some(500)));
        // All else is the parser's.
        for other in [
            "keeper",
            "keeper --",
            "keeper -x a",
            "keeper --restart-max-delay",
            "keeper --restart-max-delay x a",
            "keeper --restart-max-delay 99ms a",
            "keeper --restart-max-delay 1s",
            "keeper --restart-max-delay 1s --",
            "keeper --restart-max-delays 1s a",
            "keeper --restart-max-delay 1s -x a",
            "daemon keeper a",
        ] {
            assert_eq!(find(other), None, "{other}");
        }
    }
}
