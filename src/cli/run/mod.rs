//! The verb `run`: one task in the foreground, without a daemon.

mod job;
mod outcome;

use super::arguments::RunArguments;
use super::complain::complain;
use super::failure::OWN;
use super::logging::{self, Style};
use super::task_flags::Context;
use crate::reactor::{CgroupMode, Options, ProcessSignals, Supervisor};
use crate::sys::{inherited, terminal};
use crate::vocabulary::{
    Event, EventKind, RestartMode, Signal, StateName, Status, TaskId, TaskSpec, cause,
};
use job::Job;
use std::fmt::Display;
use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

/// Passed on, whatever else the task's policy says.
const FORWARDED: [Signal; 7] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
];

/// Where nobody has set a time after which all is killed.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Why there is no exit code of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Refusal {
    code: u8,
    why: String,
}

impl Refusal {
    fn own(why: impl Display) -> Refusal {
        Refusal { code: OWN, why: why.to_string() }
    }
}

/// Runs the task and exits as it did.
pub(crate) fn run(arguments: RunArguments) -> ExitCode {
    match Run::start(arguments).and_then(Run::until_the_end) {
        Ok(code) => ExitCode::from(code),
        Err(refusal) => {
            complain("run", refusal.why);
            ExitCode::from(refusal.code)
        }
    }
}

#[derive(Debug)]
struct Run {
    supervisor: Supervisor,
    signals: ProcessSignals,
    task: TaskId,
    /// The task shares our terminal.
    job: Option<Job>,
    /// Where the status is written at the end.
    report: Option<File>,
    /// The first TERM starts this clock.
    kill_timeout: Option<Duration>,
    restarts: bool,
    stop_all: bool,
    /// Came before the task had a process.
    early: Vec<Signal>,
}

impl Run {
    fn start(arguments: RunArguments) -> Result<Run, Refusal> {
        // First of all, since it is known by its number alone.
        let report = arguments.status_fd.map(take_report).transpose()?;
        logging::start(Style::Foreground);
        let mut spec =
            arguments.task.into_spec(arguments.command, Context::Run).map_err(Refusal::own)?;
        let job = Job::new();
        spec.foreground = job.is_some();
        let options =
            Options { own_process: true, cgroup: cgroup_mode(&spec), ..Options::default() };
        let mut supervisor = Supervisor::new(options)
            .map_err(|error| Refusal::own(format_args!("cannot set up: {}", cause(&error))))?;
        let mut caught: Vec<Signal> = FORWARDED.to_vec();
        // nohup(1) is for the task as well.
        caught.retain(|&signal| signal != Signal::HUP || !terminal::is_ignored(signal));
        if job.is_some() {
            caught.extend(job::signals());
        }
        let signals = ProcessSignals::catch(&mut supervisor, &caught).map_err(|error| {
            Refusal::own(format_args!("cannot catch signals: {}", cause(&error)))
        })?;
        let (kill_timeout, stop_all) = (spec.kill_timeout, spec.stop_all);
        let restarts = spec.restart.mode != RestartMode::Never;
        let launched = supervisor.launch(spec);
        let task = launched.map_err(|error| outcome::of_refusal(&error))?;
        let early = Vec::new();
        Ok(Run { supervisor, signals, task, job, report, kill_timeout, restarts, stop_all, early })
    }

    fn until_the_end(mut self) -> Result<u8, Refusal> {
        let mut events = Vec::new();
        loop {
            if let Some(status) = self.take_events(&mut events) {
                return self.end(&status);
            }
            self.supervisor.turn(None, &mut events).map_err(|error| {
                Refusal::own(format_args!("cannot wait for the task: {}", cause(&error)))
            })?;
            while let Some(ready) = self.supervisor.next_ready() {
                if ready.id == self.signals.watch() {
                    self.take_signals();
                }
            }
            // Nobody waits for these.
            while self.supervisor.next_reply().is_some() {}
            let pid = self.status().and_then(|status| status.pid);
            if let (Some(job), Some(pid)) = (&mut self.job, pid) {
                job.look_after(pid);
            }
        }
    }

    fn status(&self) -> Option<Status> {
        self.supervisor.status(self.task)
    }

    /// The last status, once the task has exited for good.
    fn take_events(&mut self, events: &mut Vec<Event>) -> Option<Status> {
        let mut failed = None;
        for event in events.drain(..) {
            match event.kind {
                EventKind::Started => {
                    for signal in std::mem::take(&mut self.early) {
                        self.forward(signal);
                    }
                }
                EventKind::StartFailed => failed = Some(event.status),
                EventKind::Exited => {
                    if let (Some(job), Some(exit)) = (&mut self.job, event.status.exit) {
                        job.run_ended(exit);
                    }
                }
                EventKind::Backoff => outcome::tell_restart(&event.status),
                EventKind::Finished => return Some(event.status),
                // A launch that failed is forgotten at once.
                EventKind::Removed => return failed.or(Some(event.status)),
                _ => {}
            }
        }
        None
    }

    fn take_signals(&mut self) {
        for signal in self.signals.take() {
            match (&mut self.job, self.supervisor.status(self.task)) {
                (Some(job), status) if job::signals().contains(&signal) => {
                    job.signaled(signal, status.and_then(|status| status.pid));
                }
                _ => self.forward(signal),
            }
        }
    }

    fn forward(&mut self, signal: Signal) {
        if self.status().is_some_and(|status| status.state == StateName::Pending) {
            self.early.push(signal);
            return;
        }
        // A task that is started again and again has to be stopped for good.
        let ends = self.restarts && [Signal::TERM, Signal::INT].contains(&signal);
        let starts_clock = signal == Signal::TERM && self.kill_timeout.is_some();
        let sent = if ends || starts_clock {
            let grace = self.kill_timeout.unwrap_or(NEVER);
            self.supervisor.stop(self.task, Some(signal), Some(grace))
        } else {
            self.supervisor.signal(self.task, signal, self.stop_all)
        };
        if let Err(error) = sent {
            log::debug!("{signal} is not passed on: {error}");
        }
    }

    /// The task has exited for good: passes on how.
    fn end(mut self, status: &Status) -> Result<u8, Refusal> {
        if let Some(report) = self.report.take() {
            outcome::report(report, status, &self.supervisor);
        }
        outcome::of_end(status)
    }
}

/// Without limits a group would cost time and give nothing: every process of the task is ours
/// anyway, since this process has no other task.
fn cgroup_mode(spec: &TaskSpec) -> CgroupMode {
    let devices = spec.isolation.as_ref().is_some_and(|isolation| isolation.devices.is_some());
    if spec.resources.is_some() || spec.cgroup.is_some() || devices {
        CgroupMode::Auto
    } else {
        CgroupMode::Never
    }
}

fn take_report(number: i32) -> Result<File, Refusal> {
    inherited::take(number).map(File::from).map_err(|errno| {
        let hint = "redirect it, as in 3>status.json";
        Refusal::own(format_args!("--status-fd {number}: {} ({hint})", errno.desc()))
    })
}
