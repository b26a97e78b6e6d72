//! The verb `daemon`.

mod change;
mod declared;
mod handed;
mod launches;
mod memory;
mod metrics;
mod own_socket;
mod passed;
mod reading;
mod settings;
mod tasks;
mod told;
mod transitions;
mod upgrade;
#[cfg(test)]
mod upgrade_tests;

use super::arguments::DaemonArguments;
use super::complain::complain;
use super::logging::{self, Style};
use super::notify::Notifier;
use super::upgrade::{self as next_program, Upgrade, taken_over};
use crate::control::{Finished, Server, Socket};
use crate::reactor::{ProcessSignals, Supervisor};
use crate::sys::own_process::kernel_release;
use crate::vocabulary::{Event, Request, Signal, Ticket, cause};
use handed::HandedHost;
use memory::Memory;
use metrics::Collected;
use own_socket::own_socket;
use settings::{Refusal, Settings};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tasks::Tasks;
pub(crate) use told::tell_tasks;
use transitions::Transitions;

/// Room for the events of a turn that is kept for the next one.
const EVENTS_ROOM: usize = 256;
const CAUGHT: [Signal; 5] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::USR1, Signal::USR2];

/// Supervises until it is told to end.
pub(crate) fn daemon(arguments: DaemonArguments) -> ExitCode {
    // First of all, since descriptors that were passed are known by their numbers alone.
    let taken = taken_over().map_err(Refusal::failed);
    let goes_on = !matches!(taken, Ok(None));
    let settings = Settings::of(arguments, goes_on);
    logging::start(Style::Daemon);
    let started = taken.and_then(|taken| match taken {
        None => settings.and_then(Daemon::start),
        Some(taken) => settings.and_then(|settings| Daemon::go_on(settings, taken)),
    });
    match started.and_then(Daemon::until_the_end) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Usage(why)) => {
            complain("daemon", why);
            ExitCode::from(2)
        }
        Err(Refusal::Failed(reasons)) => {
            reasons.iter().for_each(|why| complain("daemon", why));
            ExitCode::FAILURE
        }
    }
}

/// Reads the state of another daemon, to say whether this program could go on with it, with these
/// arguments.
///
/// # Errors
/// What of it is not understood.
pub(crate) fn check_state(bytes: &[u8], arguments: DaemonArguments) -> Result<(), String> {
    next_program::read::<HandedHost>(bytes).map_err(|why| format!("the state: {why}"))?;
    match Settings::of(arguments, true) {
        Ok(_) => Ok(()),
        Err(Refusal::Usage(why)) => Err(format!("the arguments: {why}")),
        Err(Refusal::Failed(reasons)) => Err(reasons.join("; ")),
    }
}

#[derive(Debug)]
struct Daemon {
    supervisor: Supervisor,
    server: Server,
    /// Removed at the end.
    socket: Option<Socket>,
    metrics: Collected,
    signals: ProcessSignals,
    notifier: Notifier,
    transitions: Transitions,
    tasks: Tasks,
    memory: Memory,
    /// Tasks go on when the daemon ends.
    keep: bool,
    has_state: bool,
    ending: Option<Ticket>,
    upgrade: Upgrade,
}

impl Daemon {
    fn start(settings: Settings) -> Result<Daemon, Refusal> {
        let failed = |what: &'static str| {
            move |error: std::io::Error| Refusal::failed(format_args!("{what}: {}", cause(&error)))
        };
        let gid = settings.server.allowed_gid;
        let notifier = Notifier::from_environment();
        // Before anything is done to the process: another daemon may be there.
        let path = settings.socket.as_deref();
        let (socket, listener) = own_socket(path, gid, settings.stored_sockets, &notifier)?.unzip();
        let has_state = settings.options.state_dir.is_some();
        let mut supervisor = match settings.options.state_dir {
            Some(_) => Supervisor::reopen(settings.options).map_err(Refusal::failed),
            None => {
                Supervisor::new(settings.options).map_err(failed("cannot set up the supervisor"))
            }
        }?;
        let signals = ProcessSignals::catch(&mut supervisor, &CAUGHT)
            .map_err(failed("cannot catch signals"))?;
        let mut server = Server::new(&supervisor, settings.server);
        for listener in settings.listeners.into_iter().chain(listener) {
            server
                .listen(&mut supervisor, listener)
                .map_err(failed("cannot listen on the socket"))?;
        }
        for (reader, writer, stdio) in settings.attached {
            server
                .attach(&mut supervisor, reader, writer, stdio)
                .map_err(failed("cannot serve a passed descriptor"))?;
        }
        let metrics =
            Collected::new(&mut supervisor, settings.stats_interval, settings.metrics, gid)?;
        greet(&supervisor, settings.socket.as_deref());
        if has_state && notifier.lacks_store() {
            log::warn!(
                "the service manager stores no descriptors (FileDescriptorStoreMax=): what is \
                 unread of a task that ends while no daemon is there is lost"
            );
        }
        settings::warn(&settings.tasks);
        let tasks = Tasks::start(settings.task_file, settings.tasks, &mut supervisor);
        let mut daemon = Daemon {
            supervisor,
            server,
            socket,
            metrics,
            signals,
            notifier,
            transitions: Transitions::default(),
            tasks,
            memory: Memory::default(),
            keep: settings.keep,
            has_state,
            ending: None,
            upgrade: Upgrade::Idle,
        };
        daemon.tell_launches()?;
        daemon.notifier.ready();
        Ok(Daemon { memory: Memory::started(), ..daemon })
    }

    /// All tasks of the file are known, and told of, before anybody is served: for thousands of
    /// them that takes longer than a turn of the loop may.
    fn tell_launches(&mut self) -> Result<(), Refusal> {
        let mut events = Vec::new();
        if self.tasks.is_reloading() {
            self.turn(Some(Duration::ZERO), &mut events)?;
            events.iter().for_each(|event| self.log_event(event));
            self.server.dispatch(&mut self.supervisor, &events);
        }
        Ok(())
    }

    fn until_the_end(mut self) -> Result<(), Refusal> {
        let mut events = Vec::new();
        // What an earlier daemon has left is taken over before anybody is told of it.
        self.turn(Some(Duration::ZERO), &mut events)?;
        while !self.step(&mut events)? {}
        self.tell_of_what_runs_on();
        log::info!("ostler has ended");
        Ok(())
    }

    fn tell_of_what_runs_on(&self) {
        let lives = |task| self.supervisor.status(task).is_some_and(|status| status.pid.is_some());
        let number = self.supervisor.tasks().filter(|&task| lives(task)).count();
        if number > 0 && self.has_state {
            log::info!("tasks={number} run on: the next daemon goes on with them");
        } else if number > 0 {
            log::warn!(
                "tasks={number} run on, and no daemon will know of them: --state was not given"
            );
        }
    }

    /// Does what the last turn of the loop has given reason to, and makes the next one. Whether
    /// the end has come.
    fn step(&mut self, events: &mut Vec<Event>) -> Result<bool, Refusal> {
        self.server.dispatch(&mut self.supervisor, events);
        self.log(events);
        self.take_signals();
        if self.take_replies() || self.is_finished() {
            return Ok(true);
        }
        self.metrics.dispatch(&mut self.supervisor);
        if self.server.takes_upgrade() {
            next_program::begin(self);
        }
        next_program::proceed(self);
        self.memory.look(self.supervisor.tasks().len(), self.tasks.is_reloading());
        let waits = [
            self.server.timeout(),
            self.metrics.timeout(),
            self.notifier.keep_alive(),
            self.upgrade.timeout(),
            self.transitions.timeout(),
            self.tasks.has_more().then_some(Duration::ZERO),
        ];
        self.turn(waits.into_iter().flatten().min(), events)?;
        Ok(false)
    }

    fn turn(&mut self, wait: Option<Duration>, events: &mut Vec<Event>) -> Result<(), Refusal> {
        let turned = self.supervisor.turn(wait, events);
        turned.map_err(|error| {
            Refusal::failed(format_args!("the loop has failed: {}", cause(&error)))
        })
    }

    fn log(&mut self, events: &mut Vec<Event>) {
        events.drain(..).for_each(|event| self.log_event(&event));
        if events.capacity() > EVENTS_ROOM {
            events.shrink_to(EVENTS_ROOM);
        }
        if self.transitions.tidy(Instant::now()) {
            self.memory.give_back();
        }
    }

    fn log_event(&mut self, event: &Event) {
        let id = self.supervisor.launch_id(&event.status.identity);
        self.transitions.log(event, &id);
    }

    /// Whether the end that was asked for has come.
    fn take_replies(&mut self) -> bool {
        while let Some((ticket, reply)) = self.server.next_reply() {
            if Some(ticket) == self.ending {
                return true;
            }
            self.tasks.take(ticket, &reply, &mut self.supervisor);
        }
        while let Some(call) = self.server.next_reload() {
            self.tasks.reload(Some(call));
        }
        self.tasks.step(&mut self.supervisor, &mut self.server, self.ending.is_some());
        if !self.tasks.is_reloading() && self.upgrade.is_idle() {
            self.notifier.reloaded();
        }
        false
    }

    fn is_finished(&mut self) -> bool {
        match self.server.finished() {
            Some(Finished::Shutdown) => true,
            Some(Finished::EndOfInput) => {
                if self.ending.is_none() {
                    log::info!("standard input is at its end");
                    self.end(None);
                }
                false
            }
            None => false,
        }
    }

    fn take_signals(&mut self) {
        while let Some(ready) = self.server.next_ready() {
            let others = self.metrics.take_ready(&ready)
                || self.upgrade.take_ready(&ready)
                || self.tasks.take_ready(&ready);
            if others || ready.id != self.signals.watch() {
                continue;
            }
            for signal in self.signals.take() {
                self.signaled(signal);
            }
        }
    }

    fn signaled(&mut self, signal: Signal) {
        match signal {
            Signal::TERM | Signal::INT => {
                log::info!("{signal} came");
                let again = self.ending.is_some();
                self.end(again.then_some(Duration::ZERO));
            }
            Signal::HUP => {
                self.notifier.reloading();
                self.tasks.reload(None);
            }
            Signal::USR1 => self.log_figures(),
            // USR2: no other is caught.
            _ => next_program::begin(self),
        }
    }

    /// Begins the end; or hurries it, where it has begun.
    fn end(&mut self, grace: Option<Duration>) {
        self.notifier.stopping();
        let stop_tasks = !self.keep;
        if let Some(earlier) =
            self.ending.replace(self.supervisor.submit(Request::Shutdown { stop_tasks, grace }))
        {
            self.supervisor.abandon(earlier);
        }
    }

    fn log_figures(&self) {
        let figures = self.supervisor.figures();
        log::info!(
            "tasks={} fds={} threads={} rss_bytes={} cpu_us={} turns={} wakeups={} loop_max_us={} \
             relayed_bytes={}",
            figures.tasks,
            figures.fds,
            figures.threads,
            figures.rss_bytes,
            figures.cpu_us,
            figures.turns,
            figures.wakeups,
            figures.loop_max_us,
            figures.relayed_bytes
        );
    }
}

fn greet(supervisor: &Supervisor, socket: Option<&std::path::Path>) {
    let socket = socket.map_or("none".to_owned(), |path| path.display().to_string());
    log::info!(
        "ostler version={} pid={} socket={socket} kernel={} cgroup={}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        kernel_release(),
        supervisor.hierarchy()
    );
}
