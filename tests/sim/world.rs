//! A world of processes that do not exist: performs what the engine asks for, on a clock of its
//! own, and asks the engine for things as users do.

use crate::check::Checker;
use crate::commands::{self, Commands};
use crate::fault::{Faults, Random};
use crate::journal::Journal;
use crate::users::any_request;
use ostler::engine::{Action, Config, Engine, ExecInput, Input, Output, Updated};
use ostler::{
    Containment, ExecId, ExitStatus, Mono, Now, Pid, Request, RequestError, Signal, Stage,
    StartError, StreamKind, TaskId, Ticket, Wall,
};
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) check: Checker,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    /// What outlives the supervisor, where that may die.
    pub(crate) journal: Option<Journal>,
    now: Mono,
    /// What happens when, by itself.
    pub(crate) agenda: BTreeMap<(Mono, u64), Due>,
    pub(crate) runs: BTreeMap<TaskId, Run>,
    pub(crate) commands: Commands,
    order: u64,
    pub(crate) next_pid: i32,
    next_ticket: u64,
}

/// Of whom something happens.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    Run(TaskId, u64, Happening),
    Command(ExecId, commands::Happening),
}

/// The processes of a run.
#[derive(Clone, Default)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pid: Option<Pid>,
    pub(crate) exec: bool,
    pub(crate) aborted: bool,
    pub(crate) main: bool,
    pub(crate) main_told: bool,
    pub(crate) rest: u64,
    pub(crate) awaits_empty: bool,
    pub(crate) empty: bool,
    stubborn: bool,
    oom: bool,
}

impl Run {
    /// Nothing of it is there.
    pub(crate) fn gone(number: u64) -> Run {
        Run { number, ..Run::default() }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Spawned,
    Exec,
    Fails,
    /// All of a start that was taken back is gone.
    Aborted,
    MainEnds(ExitStatus),
    OneOfTheRestEnds,
    AllKilled,
    Tell(Input),
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let faults = Faults::swarm(&mut random);
        let config = Config {
            instance: "sim".to_owned(),
            seed,
            first_launch: 1,
            first_run: 1,
            first_event: 1,
        };
        World {
            engine: Engine::new(config),
            check: Checker::default(),
            random,
            faults,
            journal: None,
            now: Mono::default(),
            agenda: BTreeMap::new(),
            runs: BTreeMap::new(),
            commands: Commands::default(),
            order: 0,
            next_pid: 1,
            next_ticket: 1,
        }
    }

    /// One step: somebody asks for something, or time goes on.
    pub(crate) fn step(&mut self) {
        if self.random.percent(self.faults.noise / 4) {
            self.noise();
        } else if self.random.percent(2) {
            self.order_a_command();
        } else if self.random.percent(30) || self.until_next() == Duration::MAX {
            let request = any_request(&mut self.random);
            let ticket = self.ask(request);
            if self.random.percent(self.faults.abandons) {
                self.abandon(ticket);
            }
        } else if self.random.percent(5) {
            self.now = self.now + self.random.millis(2000).min(self.until_next());
            self.expire();
        } else {
            self.advance();
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Ticket {
        let (now, ticket) = (self.now(), Ticket(self.next_ticket));
        self.next_ticket += 1;
        self.check.request(now, ticket, &request, &self.engine);
        self.engine.request(now, ticket, request);
        self.drain(false);
        ticket
    }

    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        if self.check.abandon(ticket) {
            let now = self.now();
            self.engine.abandon(now, ticket);
            self.drain(false);
        }
    }

    /// What happens next happens. False where nothing is due within `bound`.
    pub(crate) fn advance_within(&mut self, bound: Duration) -> bool {
        let wait = self.until_next();
        wait <= bound && {
            self.advance();
            true
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall::default() + self.now.since(Mono::default()) }
    }

    fn until_next(&self) -> Duration {
        let agenda = self.agenda.first_key_value().map(|(&(at, _), _)| at);
        let next = [agenda, self.engine.next_deadline()].into_iter().flatten().min();
        next.map_or(Duration::MAX, |at| at.since(self.now))
    }

    fn advance(&mut self) {
        let agenda = self.agenda.first_key_value().map(|(&key, _)| key);
        match (agenda, self.engine.next_deadline()) {
            (Some(key), deadline) if deadline.is_none_or(|at| key.0 <= at) => {
                self.now = self.now.max(key.0);
                match self.agenda.remove(&key) {
                    Some(Due::Run(task, run, happening)) => self.happen(task, run, happening),
                    Some(Due::Command(exec, happening)) => self.command_happens(exec, happening),
                    None => {}
                }
            }
            (_, Some(at)) => {
                self.now = self.now.max(at);
                self.expire();
            }
            (_, None) => {}
        }
    }

    fn expire(&mut self) {
        let now = self.now();
        self.engine.expire(now);
        self.drain(true);
    }

    pub(crate) fn tell(&mut self, task: TaskId, input: Input) {
        let now = self.now();
        self.check.input(now, task, &input);
        self.engine.handle(now, task, input);
        self.drain(false);
    }

    pub(crate) fn tell_command(&mut self, exec: ExecId, input: ExecInput) {
        let now = self.now();
        self.check.exec_input(exec, &input);
        self.engine.handle_exec(now, exec, input);
        self.drain(false);
    }

    pub(crate) fn drain(&mut self, expired: bool) {
        let now = self.now();
        while let Some(output) = self.engine.next_output() {
            if let Output::Do(_, Action::Spawn { .. }) = output {
                self.take_down();
            }
            if self.dies() {
                return self.die();
            }
            self.check.output(now, &output, &self.engine);
            match output {
                Output::Do(task, action) => self.perform(task, action),
                Output::Exec(exec, action) => self.perform_command(exec, action),
                Output::ExecEnded(_) | Output::Reply(..) | Output::Event(_) => {}
            }
        }
        self.take_down();
        self.check.after_step(now, &self.engine, expired);
    }

    fn perform(&mut self, task: TaskId, action: Action) {
        match action {
            Action::Spawn { run } => self.spawn(task, run),
            Action::AbortSpawn => self.abort(task),
            Action::Signal { signal, all, ticket } => self.signal(task, signal, all, ticket),
            Action::KillAll => {
                let wait = self.kill_delay();
                self.later(task, wait, Happening::AllKilled);
            }
            Action::AwaitEmpty => {
                if let Some(run) = self.runs.get_mut(&task) {
                    run.awaits_empty = true;
                }
                self.look_if_empty(task);
            }
            Action::LeaveRest => {
                self.runs.entry(task).and_modify(|run| run.empty = true);
                self.later(
                    task,
                    Duration::ZERO,
                    Happening::Tell(Input::Empty { oom_killed: None }),
                );
            }
            Action::Update { change, ticket } => {
                let forbidden = self.random.percent(self.faults.forbidden);
                let field = "resources.pids_max".to_owned();
                let refused = RequestError::NotPermitted { field, reason: "no".to_owned() };
                let result = if forbidden { Err(refused) } else { Ok(()) };
                let updated = Input::Updated(Updated { ticket, change, result });
                self.later(task, Duration::ZERO, Happening::Tell(updated));
            }
            Action::ListProcesses => {
                let run = self.runs.get(&task);
                let count = run.map_or(0, |run| u64::from(run.main) + run.rest);
                let pids = (0..count).filter_map(|n| Pid::new(n as i32 + 1)).collect();
                self.later(task, Duration::ZERO, Happening::Tell(Input::Processes(pids)));
            }
            Action::FinishOutput => self.finish_output(task),
            Action::CloseOutput => {}
            Action::Forget => {
                self.runs.remove(&task);
            }
        }
    }

    fn spawn(&mut self, task: TaskId, number: u64) {
        let stubborn = self.random.percent(self.faults.stubborn);
        let run = Run {
            number,
            pid: None,
            exec: false,
            aborted: false,
            main: false,
            main_told: false,
            rest: 0,
            awaits_empty: false,
            empty: false,
            stubborn,
            oom: self.random.percent(self.faults.oom),
        };
        self.runs.insert(task, run);
        let first = self.delay();
        if self.random.percent(self.faults.fails_early) {
            return self.later(task, first, Happening::Fails);
        }
        self.later(task, first, Happening::Spawned);
        let second = first + self.delay();
        if self.random.percent(self.faults.hangs) {
            return;
        }
        if self.random.percent(self.faults.fails_late) {
            return self.later(task, second, Happening::Fails);
        }
        if self.random.percent(self.faults.exits_first) {
            let status = self.any_exit();
            return self.later(task, second, Happening::MainEnds(status));
        }
        self.later(task, second, Happening::Exec);
    }

    fn abort(&mut self, task: TaskId) {
        let races = self.random.percent(self.faults.races);
        let untold = self.random.percent(50);
        let wait = self.kill_delay();
        let Some(run) = self.runs.get_mut(&task) else { return };
        if std::mem::replace(&mut run.aborted, true) {
            // By the supervisor that found it.
            return;
        }
        if run.pid.is_none() || !races {
            return self.later(task, wait, Happening::Aborted);
        }
        run.exec = true;
        run.main = true;
        if !untold {
            self.later(task, Duration::ZERO, Happening::Tell(Input::ExecSucceeded));
        }
        let status = ExitStatus::Signaled(9);
        self.later(task, wait, Happening::MainEnds(status));
    }

    fn signal(&mut self, task: TaskId, signal: Signal, all: bool, ticket: Option<Ticket>) {
        let forbidden = self.random.percent(self.faults.forbidden);
        let (answer, effect) = (self.delay(), self.delay());
        let refused =
            RequestError::NotPermitted { field: "signal".to_owned(), reason: "no".to_owned() };
        let result = if forbidden { Err(refused) } else { Ok(()) };
        self.later(task, answer, Happening::Tell(Input::Signaled { ticket, result }));
        let Some(run) = self.runs.get(&task) else { return };
        if forbidden || (run.stubborn && signal != Signal::KILL) {
            return;
        }
        let rest = if all { run.rest } else { 0 };
        let status = ExitStatus::Signaled(signal.number() as u8);
        self.later(task, effect, Happening::MainEnds(status));
        for _ in 0..rest {
            self.later(task, effect, Happening::OneOfTheRestEnds);
        }
    }

    fn finish_output(&mut self, task: TaskId) {
        let pending = self.random.percent(self.faults.stalls);
        let wait = self.delay().min(Duration::from_secs(1));
        self.later(task, wait, Happening::Tell(Input::OutputSettled { pending }));
        if !pending {
            return;
        }
        let late = wait + self.random.millis(300_000);
        let stream = StreamKind::Stdout;
        if self.random.percent(50) {
            let reason = "no reader".to_owned();
            self.later(task, wait, Happening::Tell(Input::OutputStalled { stream, reason }));
            let bytes = Some(7);
            self.later(task, late, Happening::Tell(Input::OutputLost { stream, bytes }));
        }
        self.later(task, late, Happening::Tell(Input::OutputDelivered));
    }

    pub(crate) fn later(&mut self, task: TaskId, wait: Duration, happening: Happening) {
        let number = self.runs.get(&task).map_or(0, |run| run.number);
        self.order += 1;
        self.agenda.insert((self.now + wait, self.order), Due::Run(task, number, happening));
    }

    pub(crate) fn command_later(
        &mut self,
        exec: ExecId,
        wait: Duration,
        happening: commands::Happening,
    ) {
        self.order += 1;
        self.agenda.insert((self.now + wait, self.order), Due::Command(exec, happening));
    }

    fn happen(&mut self, task: TaskId, number: u64, happening: Happening) {
        if let Happening::Tell(input @ (Input::Signaled { .. } | Input::Updated(_))) = happening {
            return self.tell(task, input);
        }
        // What a run that is over still had to say is said to nobody.
        let Some(run) = self.runs.get_mut(&task).filter(|run| run.number == number) else { return };
        match happening {
            Happening::Spawned if run.aborted => {}
            Happening::Spawned => {
                let pid = Pid::new(self.next_pid);
                self.next_pid += 1;
                run.pid = pid;
                let containment = Containment::CgroupV2;
                if let Some(pid) = pid {
                    self.tell(task, Input::Spawned { pid, containment });
                }
            }
            Happening::Exec if run.aborted => {}
            Happening::Exec => self.exec(task),
            Happening::Fails if run.aborted => {}
            Happening::Fails | Happening::Aborted => {
                self.runs.remove(&task);
                self.tell(task, Input::StartFailed(start_error()));
            }
            Happening::MainEnds(_) if run.main_told || (run.aborted && !run.exec) => {}
            Happening::MainEnds(status) => {
                run.exec = true;
                run.main = false;
                run.main_told = true;
                self.tell(task, Input::MainExited(status));
                self.look_if_empty(task);
            }
            Happening::OneOfTheRestEnds => {
                run.rest = run.rest.saturating_sub(1);
                self.look_if_empty(task);
            }
            Happening::AllKilled => {
                run.rest = 0;
                run.main = false;
                run.awaits_empty = true;
                if !std::mem::replace(&mut run.main_told, true) {
                    self.tell(task, Input::MainExited(ExitStatus::Signaled(9)));
                }
                self.look_if_empty(task);
            }
            Happening::Tell(input) => self.tell(task, input),
        }
    }

    fn exec(&mut self, task: TaskId) {
        let leaves = self.random.percent(self.faults.leaves);
        let rest = if leaves { 1 + self.random.below(3) } else { 0 };
        if let Some(run) = self.runs.get_mut(&task) {
            run.exec = true;
            run.main = true;
            run.rest = rest;
        }
        for _ in 0..rest {
            if self.random.percent(50) {
                let life = self.random.millis(120_000);
                self.later(task, life, Happening::OneOfTheRestEnds);
            }
        }
        if self.random.percent(self.faults.short_lived) {
            let life = self.random.millis(60_000);
            let status = self.any_exit();
            self.later(task, life, Happening::MainEnds(status));
        }
        self.tell(task, Input::ExecSucceeded);
    }

    pub(crate) fn look_if_empty(&mut self, task: TaskId) {
        let held = self.commands.hold(task);
        let Some(run) = self.runs.get_mut(&task) else { return };
        if !held && run.main_told && run.rest == 0 && run.awaits_empty && !run.empty {
            run.empty = true;
            let oom_killed = Some(run.oom);
            let wait = self.delay();
            self.later(task, wait, Happening::Tell(Input::Empty { oom_killed }));
        }
    }

    pub(crate) fn delay(&mut self) -> Duration {
        if self.random.percent(self.faults.slow) {
            self.random.millis(3000)
        } else {
            Duration::ZERO
        }
    }

    pub(crate) fn kill_delay(&mut self) -> Duration {
        if self.random.percent(self.faults.unkillable) {
            self.random.millis(60_000)
        } else {
            self.delay()
        }
    }

    pub(crate) fn any_exit(&mut self) -> ExitStatus {
        self.random.pick(&[
            ExitStatus::Exited(0),
            ExitStatus::Exited(1),
            ExitStatus::Signaled(11),
            ExitStatus::Unknown,
        ])
    }
}

impl Due {
    pub(crate) fn task(&self) -> Option<TaskId> {
        match self {
            Due::Run(task, ..) => Some(*task),
            Due::Command(..) => None,
        }
    }
}

pub(crate) fn start_error() -> StartError {
    StartError {
        stage: Stage::Exec,
        errno: 2,
        errno_name: "ENOENT".to_owned(),
        message: "no such file".to_owned(),
        retry: false,
        time: Wall::default(),
    }
}
