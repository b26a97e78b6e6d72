//! The verb `up`: the tasks of a file in the foreground.

mod control;
mod lines;
mod news;
mod pipes;
mod screen;
mod selection;
mod upgrade;

pub(crate) use upgrade::check_state;

use super::arguments::UpArguments;
use super::complain::complain;
use super::logging::{self, Style};
use super::task_file;
use super::upgrade::{self as next_program, Upgrade, taken_over};
use crate::reactor::{Options, ProcessSignals, Supervisor};
use crate::sys::terminal;
use crate::vocabulary::limits::LAUNCH_TIMEOUT_DEFAULT;
use crate::vocabulary::{
    Event, EventKind, IfExists, Request, RequestError, Signal, TaskSpec, Ticket, cause,
};
use control::Control;
use pipes::Pipes;
use screen::Screen;
use std::collections::{HashMap, HashSet};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

/// Runs the tasks until all have finished.
pub(crate) fn up(arguments: UpArguments) -> ExitCode {
    // First of all, since descriptors that were passed are known by their numbers alone.
    let taken = taken_over();
    logging::start(Style::Foreground);
    let started = match taken {
        Ok(Some(taken)) => Up::go_on(taken),
        Ok(None) => match tasks_of(&arguments) {
            Ok(tasks) => Up::start(tasks, &arguments),
            Err(reasons) => {
                reasons.iter().for_each(|reason| complain("up", reason));
                return ExitCode::from(2);
            }
        },
        Err(why) => Err(io::Error::other(why)),
    };
    match started.and_then(Up::until_the_end) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain("up", cause(&error));
            ExitCode::FAILURE
        }
    }
}

fn tasks_of(arguments: &UpArguments) -> Result<Vec<TaskSpec>, Vec<String>> {
    let file = task_file::load(&arguments.file)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if file.tasks.is_empty() {
        return Err(vec![format!("{}: has no task", arguments.file.display())]);
    }
    selection::select(file.tasks, &arguments.names).map_err(|reason| vec![reason])
}

#[derive(Debug)]
struct Up {
    supervisor: Supervisor,
    signals: ProcessSignals,
    caught: Vec<Signal>,
    control: Control,
    screen: Screen,
    pipes: Pipes,
    /// Launches that are not answered.
    launches: HashMap<Ticket, String>,
    /// Tasks that have not exited for good, those launched through the socket included.
    living: HashSet<Box<str>>,
    stopping: bool,
    /// No task has given up, and each could start.
    good: bool,
    upgrade: Upgrade,
}

impl Up {
    fn start(tasks: Vec<TaskSpec>, arguments: &UpArguments) -> io::Result<Up> {
        let mut supervisor = Supervisor::new(options())?;
        let caught = caught();
        let signals = ProcessSignals::catch(&mut supervisor, &caught)?;
        let control = Control::listen(&mut supervisor, arguments)?;
        let mut screen = Screen::open(&mut supervisor)?;
        if let Some(path) = control.path() {
            let hint = format!("to look in: ostler --socket {} ps", path.display());
            screen.print(&[hint.as_bytes()]);
        }
        let mut up = Up {
            supervisor,
            signals,
            caught,
            control,
            screen,
            pipes: Pipes::new(),
            launches: HashMap::new(),
            living: HashSet::new(),
            stopping: false,
            good: true,
            upgrade: Upgrade::Idle,
        };
        up.launch(tasks, is_coloured(arguments))?;
        Ok(up)
    }

    fn launch(&mut self, tasks: Vec<TaskSpec>, coloured: bool) -> io::Result<()> {
        let names = tasks.iter().filter_map(|task| task.name.as_deref());
        let width = names.map(str::len).max().unwrap_or_default();
        for (index, mut spec) in tasks.into_iter().enumerate() {
            let name = spec.name.clone().unwrap_or_default();
            // Nobody would know of them any more.
            spec.die_with_supervisor = true;
            let prefix = lines::prefix(&name, width, index, coloured);
            self.pipes.add(&mut self.supervisor, &name, &mut spec, prefix).map_err(|error| {
                let reason =
                    format!("cannot make a pipe for the output of {name}: {}", cause(&error));
                io::Error::new(error.kind(), reason)
            })?;
            let ticket = self.supervisor.submit(Request::Launch {
                spec: Box::new(spec),
                if_exists: IfExists::Fail,
                timeout: LAUNCH_TIMEOUT_DEFAULT,
            });
            self.launches.insert(ticket, name);
        }
        Ok(())
    }

    /// Whether no task has given up.
    fn until_the_end(mut self) -> io::Result<bool> {
        let mut events = Vec::new();
        loop {
            self.control.server.dispatch(&mut self.supervisor, &events);
            self.take_ready();
            self.take_replies();
            self.take_events(&mut events);
            self.pipes.work(&mut self.screen);
            self.screen.flush();
            if self.screen.is_closed() && !self.stopping {
                self.stop(None);
            }
            let ended = self.launches.is_empty() && self.living.is_empty();
            if ended && self.pipes.is_quiet() && self.screen.is_empty() {
                return Ok(self.good);
            }
            if self.control.server.takes_upgrade() {
                next_program::begin(&mut self);
            }
            next_program::proceed(&mut self);
            let more = !self.pipes.is_quiet() && !self.screen.is_full();
            let waits = [
                more.then_some(Duration::ZERO),
                self.control.server.timeout(),
                self.upgrade.timeout(),
            ];
            self.supervisor.turn(waits.into_iter().flatten().min(), &mut events)?;
        }
    }

    fn take_ready(&mut self) {
        while let Some(ready) = self.control.server.next_ready() {
            if ready.id == self.signals.watch() {
                for signal in self.signals.take() {
                    self.signaled(signal);
                }
            } else if self.upgrade.take_ready(&ready) {
                continue;
            } else if Some(ready.id) != self.screen.watch() {
                self.pipes.note(ready.id);
            }
        }
    }

    fn signaled(&mut self, signal: Signal) {
        if signal == Signal::USR2 {
            return next_program::begin(self);
        }
        let again = self.stopping || signal == Signal::QUIT;
        self.stop(again.then_some(Duration::ZERO));
    }

    /// Stops all tasks in order; none gets longer than `grace`.
    fn stop(&mut self, grace: Option<Duration>) {
        self.stopping = true;
        let ticket = self.supervisor.submit(Request::Shutdown { stop_tasks: true, grace });
        // Its end is that of all tasks.
        self.supervisor.abandon(ticket);
    }

    fn take_replies(&mut self) {
        while let Some((ticket, reply)) = self.control.server.next_reply() {
            let Some(name) = self.launches.remove(&ticket) else { continue };
            let Err(error) = reply else { continue };
            if self.stopping {
                continue;
            }
            self.good = false;
            // What failed in starting has been told as an event.
            if !matches!(error, RequestError::LaunchFailed(_)) {
                self.screen.print(&[format!("{name} cannot start: {error}").as_bytes()]);
            }
        }
    }

    fn take_events(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            let name = &event.status.identity.name;
            match event.kind {
                EventKind::Launched => drop(self.living.insert(name.clone())),
                EventKind::Finished | EventKind::Removed => drop(self.living.remove(name)),
                _ => {}
            }
            if event.kind == EventKind::Finished && event.status.gave_up {
                self.good = false;
            }
            if event.kind == EventKind::Exited {
                self.pipes.finish(name, &mut self.screen);
            }
            if let Some(news) = news::line(&event) {
                self.screen.print(&[news.as_bytes()]);
            }
        }
    }
}

fn options() -> Options {
    Options { own_process: true, ..Options::default() }
}

/// The signals that are heeded; HUP only where nohup(1) has not had it ignored.
fn caught() -> Vec<Signal> {
    let mut caught = vec![Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR2];
    caught.retain(|&signal| signal != Signal::HUP || !terminal::is_ignored(signal));
    caught
}

/// Colours are for people (no-color.org).
fn is_coloured(arguments: &UpArguments) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !arguments.no_color && !refused && io::stdout().is_terminal()
}
