//! Every short sequence of what can happen to one task, from each place where a task can stand, and
//! each followed to the end: nothing may break, and nobody may wait for ever.
//!
//! `OSTLER_DEPTH=n` makes the sequences longer.

use crate::check::Checker;
use ostler::engine::{Action, Config, Engine, Input, Output};
use ostler::{
    Containment, ExitStatus, IfExists, Leftover, Mono, Now, Pid, Request, RestartMode,
    RestartPolicy, Signal, Stage, StartError, StateName, StreamKind, TaskId, TaskSpec, Ticket,
    Wall,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DEPTH: u64 = 3;

/// What can happen next.
#[derive(Copy, Clone, PartialEq, Debug)]
enum Step {
    Launch(IfExists),
    Wait(Option<u64>),
    /// With so many seconds of grace.
    Stop(Option<u64>),
    Restart(Option<u64>),
    Signal {
        all: bool,
    },
    Remove {
        force: bool,
    },
    Shutdown {
        stop_tasks: bool,
    },
    Spawned,
    ExecSucceeded,
    StartFailed,
    MainExited(u8),
    Empty,
    Processes {
        none: bool,
    },
    Signaled,
    Settled {
        pending: bool,
    },
    Delivered,
    Deadline,
}

const REQUESTS: [Step; 15] = [
    Step::Launch(IfExists::Same),
    Step::Launch(IfExists::Replace),
    Step::Wait(None),
    Step::Wait(Some(1)),
    Step::Stop(None),
    Step::Stop(Some(0)),
    Step::Stop(Some(1)),
    Step::Restart(None),
    Step::Restart(Some(0)),
    Step::Signal { all: false },
    Step::Signal { all: true },
    Step::Remove { force: false },
    Step::Remove { force: true },
    Step::Shutdown { stop_tasks: true },
    Step::Shutdown { stop_tasks: false },
];

const INPUTS: [Step; 13] = [
    Step::Spawned,
    Step::ExecSucceeded,
    Step::StartFailed,
    Step::MainExited(0),
    Step::MainExited(1),
    Step::Empty,
    Step::Processes { none: false },
    Step::Processes { none: true },
    Step::Signaled,
    Step::Settled { pending: false },
    Step::Settled { pending: true },
    Step::Delivered,
    Step::Deadline,
];

/// The ways to each place where a task can stand.
const WAYS: [&[Step]; 12] = {
    use Step::{Deadline, Empty, ExecSucceeded, MainExited, Settled, Spawned, Stop};
    const LAUNCH: Step = Step::Launch(IfExists::Fail);
    [
        &[],
        &[LAUNCH],
        &[LAUNCH, Spawned, Deadline],
        &[LAUNCH, Spawned, Stop(None)],
        &[LAUNCH, Spawned, ExecSucceeded],
        &[LAUNCH, Spawned, ExecSucceeded, Stop(None)],
        &[LAUNCH, Spawned, ExecSucceeded, Stop(Some(0))],
        &[LAUNCH, Spawned, ExecSucceeded, Stop(Some(0)), Deadline, Step::Processes { none: false }],
        &[LAUNCH, Spawned, ExecSucceeded, MainExited(1)],
        &[LAUNCH, Spawned, ExecSucceeded, MainExited(1), Stop(None)],
        &[LAUNCH, Spawned, ExecSucceeded, MainExited(1), Empty],
        &[LAUNCH, Spawned, ExecSucceeded, MainExited(1), Empty, Settled { pending: true }],
    ]
};

/// What the kernel knows of the task, and still owes the engine.
#[derive(Clone, Default)]
struct Kernel {
    task: Option<TaskId>,
    /// From `Spawn` to the last input of that run.
    active: bool,
    spawned: bool,
    exec: bool,
    aborted: bool,
    main_ended: bool,
    killed: bool,
    owes_empty: bool,
    owes_list: bool,
    owes_settled: bool,
    owes_delivered: bool,
    signals: Vec<Option<Ticket>>,
}

#[derive(Clone)]
struct Small {
    engine: Engine,
    check: Checker,
    kernel: Kernel,
    now: Mono,
    next_ticket: u64,
    spec: TaskSpec,
    steps: Vec<Step>,
}

impl Small {
    fn new(spec: TaskSpec) -> Small {
        let config = Config {
            instance: "small".to_owned(),
            seed: 0,
            first_launch: 1,
            first_run: 1,
            first_event: 1,
        };
        Small {
            engine: Engine::new(config),
            check: Checker::default(),
            kernel: Kernel::default(),
            now: Mono::default(),
            next_ticket: 1,
            spec,
            steps: Vec::new(),
        }
    }

    /// Whether the kernel could say this now.
    fn may(&self, step: Step) -> bool {
        let kernel = &self.kernel;
        match step {
            Step::Spawned => kernel.active && !kernel.spawned && !kernel.aborted,
            Step::ExecSucceeded => kernel.spawned && !kernel.exec && !kernel.main_ended,
            Step::StartFailed => kernel.active && !kernel.exec && !kernel.main_ended,
            Step::MainExited(_) => kernel.spawned && !kernel.main_ended,
            Step::Empty => kernel.owes_empty && kernel.main_ended,
            Step::Processes { .. } => kernel.owes_list,
            Step::Signaled => !kernel.signals.is_empty(),
            Step::Settled { .. } => kernel.owes_settled,
            Step::Delivered => kernel.owes_delivered,
            Step::Deadline => self.engine.next_deadline().is_some(),
            _ => true,
        }
    }

    fn step(&mut self, step: Step) {
        self.steps.push(step);
        match step {
            Step::Spawned => {
                self.kernel.spawned = true;
                let pid = Pid::new(7).expect("positive");
                self.tell(Input::Spawned { pid, containment: Containment::Session });
            }
            Step::ExecSucceeded => {
                self.kernel.exec = true;
                self.tell(Input::ExecSucceeded);
            }
            Step::StartFailed => {
                self.end_of_run();
                self.tell(Input::StartFailed(start_error()));
            }
            Step::MainExited(code) => {
                self.kernel.main_ended = true;
                self.tell(Input::MainExited(ExitStatus::Exited(code)));
            }
            Step::Empty => {
                self.kernel.owes_empty = false;
                self.tell(Input::Empty { oom_killed: None });
            }
            Step::Processes { none } => {
                self.kernel.owes_list = false;
                let pids = if none { None } else { Pid::new(8) };
                self.tell(Input::Processes(pids.into_iter().collect()));
            }
            Step::Signaled => {
                let ticket = self.kernel.signals.remove(0);
                self.tell(Input::Signaled { ticket, result: Ok(()) });
            }
            Step::Settled { pending } => {
                self.end_of_run();
                self.kernel.owes_delivered = pending;
                self.tell(Input::OutputSettled { pending });
            }
            Step::Delivered => {
                self.kernel.owes_delivered = false;
                self.tell(Input::OutputLost { stream: StreamKind::Stderr, bytes: None });
                self.tell(Input::OutputDelivered);
            }
            Step::Deadline => {
                self.now = self.engine.next_deadline().unwrap_or(self.now);
                let now = self.now();
                self.engine.expire(now);
                self.drain(true);
            }
            request => self.ask(request),
        }
    }

    fn ask(&mut self, step: Step) {
        let name = || "t".to_owned();
        let seconds = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let request = match step {
            Step::Launch(if_exists) => {
                let timeout = Duration::from_secs(2);
                Request::Launch { spec: Box::new(self.spec.clone()), if_exists, timeout }
            }
            Step::Wait(timeout) => {
                Request::Wait { name: name(), id: None, timeout: seconds(timeout) }
            }
            Step::Stop(grace) => {
                Request::Stop { name: name(), signal: None, grace: seconds(grace) }
            }
            Step::Restart(grace) => {
                Request::Restart { name: name(), signal: None, grace: seconds(grace) }
            }
            Step::Signal { all } => Request::Signal { name: name(), signal: Signal::HUP, all },
            Step::Remove { force } => Request::Remove { name: name(), force },
            Step::Shutdown { stop_tasks } => Request::Shutdown { stop_tasks, grace: None },
            input => panic!("{input:?} is no request"),
        };
        let (now, ticket) = (self.now(), Ticket(self.next_ticket));
        self.next_ticket += 1;
        self.check.request(now, ticket, &request, &self.engine);
        self.engine.request(now, ticket, request);
        self.drain(false);
    }

    fn tell(&mut self, input: Input) {
        let Some(task) = self.kernel.task else { return };
        let now = self.now();
        self.check.input(now, task, &input);
        self.engine.handle(now, task, input);
        self.drain(false);
    }

    fn drain(&mut self, expired: bool) {
        let now = self.now();
        while let Some(output) = self.engine.next_output() {
            self.check.output(now, &output, &self.engine);
            if let Output::Do(task, action) = output {
                self.perform(task, action);
            }
        }
        self.check.after_step(now, &self.engine, expired);
    }

    fn perform(&mut self, task: TaskId, action: Action) {
        let kernel = &mut self.kernel;
        match action {
            Action::Spawn { .. } => {
                let signals = std::mem::take(&mut kernel.signals);
                *kernel = Kernel { task: Some(task), active: true, signals, ..Kernel::default() };
            }
            Action::AbortSpawn => kernel.aborted = true,
            Action::Signal { ticket, .. } => kernel.signals.push(ticket),
            Action::KillAll => {
                kernel.killed = true;
                kernel.owes_empty = true;
            }
            Action::AwaitEmpty | Action::LeaveRest => kernel.owes_empty = true,
            Action::Update { .. } => panic!("nobody asks for limits here"),
            Action::ListProcesses => kernel.owes_list = true,
            Action::FinishOutput => kernel.owes_settled = true,
            Action::CloseOutput => {}
            Action::Forget => *kernel = Kernel::default(),
        }
    }

    fn end_of_run(&mut self) {
        let kernel = &mut self.kernel;
        let signals = std::mem::take(&mut kernel.signals);
        *kernel = Kernel { task: kernel.task, signals, ..Kernel::default() };
    }

    /// The kernel does all that it owes, the user removes the task: all must end.
    fn finish(mut self) -> u64 {
        for _ in 0..60 {
            let owed = INPUTS.into_iter().find(|&step| match step {
                Step::Spawned | Step::ExecSucceeded | Step::Deadline => false,
                Step::StartFailed => self.kernel.aborted && self.may(step),
                Step::MainExited(_) => self.kernel.killed && self.may(step),
                _ => self.may(step),
            });
            match owed {
                Some(step) => self.step(step),
                None if self.engine.is_empty() => break,
                None if self.exited() => {
                    assert_eq!(self.check.waiting().0, 0, "exited, and somebody still waits");
                    self.step(Step::Remove { force: false });
                }
                None => self.step(Step::Remove { force: true }),
            }
        }
        self.check.after_all(&self.engine);
        self.check.steps
    }

    fn exited(&self) -> bool {
        let status = self.kernel.task.and_then(|task| self.engine.status(task));
        status.is_some_and(|status| status.state == StateName::Exited)
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall::default() + self.now.since(Mono::default()) }
    }
}

static TOLD: AtomicBool = AtomicBool::new(false);

/// A failure names the steps that led to it.
impl Drop for Small {
    fn drop(&mut self) {
        // The longest one alone: those that it was made from go after it.
        if std::thread::panicking() && !TOLD.swap(true, Ordering::Relaxed) {
            eprintln!("after {:?}\nwith {:?}", self.steps, self.spec);
        }
    }
}

fn start_error() -> StartError {
    StartError {
        stage: Stage::Exec,
        errno: 2,
        errno_name: "ENOENT".to_owned(),
        message: "no such file".to_owned(),
        retry: false,
        time: Wall::default(),
    }
}

fn specs() -> [TaskSpec; 4] {
    let named = || TaskSpec { name: Some("t".to_owned()), ..TaskSpec::new("t") };
    let restart = |mode| RestartPolicy { mode, attempts: Some(Some(1)), ..Default::default() };
    [
        TaskSpec { stop_all: true, ..named() },
        TaskSpec { restart: restart(RestartMode::Always), ..named() },
        TaskSpec { restart: restart(RestartMode::OnFailure), leftover: Leftover::Wait, ..named() },
        TaskSpec { leftover: Leftover::Leave, auto_remove: true, ..named() },
    ]
}

fn explore(small: &Small, depth: u64) -> u64 {
    if depth == 0 {
        return small.clone().finish();
    }
    let mut steps = 0;
    for step in REQUESTS.into_iter().chain(INPUTS) {
        if small.may(step) {
            let mut next = small.clone();
            next.step(step);
            steps += explore(&next, depth - 1);
        }
    }
    steps
}

#[test]
fn every_short_sequence_ends_well() {
    let depth = crate::number("OSTLER_DEPTH").unwrap_or(DEPTH);
    let mut steps = 0;
    for spec in specs() {
        for way in WAYS {
            let mut small = Small::new(spec.clone());
            // Where a way is no way for this task, it is one step shorter.
            for &step in way {
                if small.may(step) {
                    small.step(step);
                }
            }
            steps += explore(&small, depth);
        }
    }
    println!("{steps} steps");
    assert!(steps > 10_000);
}
