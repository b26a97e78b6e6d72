//! What must be true after every step, whatever happened: a second, simpler account of every task,
//! kept from what goes in and out of the engine.

mod task;

use crate::commands_check::Commands;
use crate::kinds::{action_name, error_name, exec_action_name};
use ostler::engine::{Action, Engine, ExecInput, Input, Output};
use ostler::{
    Answer, Event, EventKind, ExecId, Identity, Leftover, Mono, Now, Pid, Reply, Request,
    StateName, TaskId, Ticket,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Everything that was seen so far.
#[derive(Clone, Default)]
pub(crate) struct Checker {
    tickets: BTreeMap<Ticket, Asked>,
    sequence: u64,
    /// By the number of their launch.
    tasks: BTreeMap<u64, Seen>,
    ids: BTreeMap<TaskId, u64>,
    forgotten: BTreeSet<TaskId>,
    commands: Commands,
    ever_ran: BTreeSet<TaskId>,
    /// The grace that a shutdown leaves.
    shutdown: Option<Option<Duration>>,
    stops_tasks: bool,
    /// How often each kind of event and action was seen.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// Of all that was seen; equal for equal seeds.
    pub(crate) trace: u64,
    /// Inputs, requests and deadlines.
    pub(crate) steps: u64,
    /// It does not know what a supervisor forgets when it dies.
    pub(crate) off: bool,
}

#[derive(Copy, Clone, PartialEq)]
enum Asked {
    Launch,
    Wait,
    Restart,
    Other,
}

/// One task as it looks from outside.
#[derive(Clone)]
struct Seen {
    id: Option<TaskId>,
    identity: Arc<Identity>,
    after: Vec<TaskId>,
    run: Option<Run>,
    /// A request, not a shutdown, stops or restarts it.
    asked: bool,
    restarts: u32,
    /// Automatic starts.
    attempts: Vec<Mono>,
    backoff: Option<Mono>,
    stuck: bool,
    output_pending: bool,
    /// The last run was longer than the interval of its policy.
    long: bool,
    began: Mono,
}

/// A run from its `Spawn` to the event that ends it.
#[derive(Copy, Clone, Default)]
struct Run {
    pid: Option<Pid>,
    started: bool,
    main_ended: bool,
    empty: bool,
    /// It is being stopped: until then it must not be killed, from then on it must be.
    kill_from: Option<Mono>,
    /// Or let go of.
    killed: bool,
    /// Its start is being taken back, for its slowness alone or by a shutdown.
    too_slow: bool,
    list_asked: bool,
    listed: bool,
}

impl Checker {
    /// A request is about to be made.
    pub(crate) fn request(&mut self, now: Now, ticket: Ticket, request: &Request, engine: &Engine) {
        if self.off {
            return;
        }
        let asked = match request {
            Request::Launch { .. } => Asked::Launch,
            Request::Wait { .. } => Asked::Wait,
            Request::Restart { .. } => Asked::Restart,
            _ => Asked::Other,
        };
        self.note(1);
        assert!(self.tickets.insert(ticket, asked).is_none(), "the simulation repeats a ticket");
        let most = self.shutdown.flatten().unwrap_or(Duration::MAX);
        let (name, grace) = match request {
            Request::Stop { name, grace, .. } => (name, *grace),
            Request::Restart { .. } if self.shutdown.is_some() => return,
            Request::Restart { name, grace, .. } => (name, *grace),
            Request::Remove { name, force: true } => (name, Some(Duration::ZERO)),
            Request::Exec { spec, .. } => return self.commands.asked(ticket, spec.timeout),
            Request::Shutdown { stop_tasks: true, grace } => return self.shut_down(now, *grace),
            Request::Shutdown { stop_tasks: false, .. } => {
                self.shutdown.get_or_insert(None);
                return;
            }
            _ => return,
        };
        let Some(seen) = engine.find(name).and_then(|id| self.seen(id)) else { return };
        seen.asked = true;
        if matches!(request, Request::Restart { .. }) {
            seen.attempts.clear();
            if seen.run.is_some_and(|run| !run.started && run.kill_from.is_none()) {
                // It waits for the start that is under way.
                return;
            }
        }
        let grace = grace.unwrap_or_else(|| seen.identity.kill_timeout());
        seen.promise(now, grace.min(most));
    }

    /// Something is about to be told.
    pub(crate) fn input(&mut self, now: Now, task: TaskId, input: &Input) {
        self.note(2);
        if self.off {
            return;
        }
        let Some(seen) = self.seen(task) else { return };
        if let Input::OutputDelivered = input {
            seen.output_pending = false;
        }
        let Some(run) = &mut seen.run else { return };
        match input {
            Input::Spawned { pid, .. } => run.pid = Some(*pid),
            Input::MainExited(_) => {
                run.main_ended = true;
                run.kill_from = run.kill_from.map(|_| now.mono);
            }
            Input::Empty { .. } => {
                run.empty = true;
                seen.stuck = false;
            }
            Input::Processes(_) => run.listed = std::mem::take(&mut run.list_asked),
            Input::OutputSettled { pending } if run.empty => seen.output_pending = *pending,
            _ => {}
        }
    }

    pub(crate) fn exec_input(&mut self, exec: ExecId, input: &ExecInput) {
        self.note(3);
        self.commands.input(exec, input);
    }

    /// Nobody waits for a command any more.
    pub(crate) fn exec_unwanted(&mut self, exec: ExecId) {
        if let Some(ticket) = self.commands.unwanted(exec) {
            self.tickets.remove(&ticket);
        }
    }

    /// Whoever has the ticket does not wait any more. False where it is answered already.
    pub(crate) fn abandon(&mut self, ticket: Ticket) -> bool {
        self.commands.abandoned(ticket);
        self.tickets.remove(&ticket).is_some()
    }

    /// How many wait for something, and how many for more than the exit of a task.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let patient = self.tickets.values().filter(|&&asked| asked == Asked::Wait).count();
        (self.tickets.len(), self.tickets.len() - patient)
    }

    /// Something came out.
    pub(crate) fn output(&mut self, now: Now, output: &Output, engine: &Engine) {
        match output {
            _ if self.off => {}
            Output::Do(task, action) => self.action(now, *task, action, engine),
            Output::Exec(exec, action) => {
                self.note_name(exec_action_name(action));
                let (ids, tasks, shutdown) = (&self.ids, &self.tasks, self.shutdown.is_some());
                let run = |task| ids.get(&task).and_then(|number| tasks.get(number)?.run);
                let ends =
                    |task| shutdown || run(task).is_none_or(|run: Run| run.killed || run.empty);
                self.commands.action(now, *exec, action, ends);
            }
            Output::ExecEnded(executed) => self.commands.ended(executed),
            Output::Reply(ticket, reply) => self.reply(*ticket, reply),
            Output::Event(event) => self.event(now, event, engine),
        }
    }

    /// Everything of this step came out.
    pub(crate) fn after_step(&mut self, now: Now, engine: &Engine, expired: bool) {
        self.steps += 1;
        if self.off {
            return;
        }
        if expired {
            assert!(engine.next_deadline().is_none_or(|at| at > now.mono), "a deadline is missed");
        }
        assert_eq!(engine.sequence(), self.sequence);
        assert_eq!(engine.len(), self.tasks.len());
        assert_eq!(engine.tasks().count(), self.tasks.len());
        for (&id, number) in &self.ids {
            let seen = &self.tasks[number];
            let status = engine.status(id).expect("a task that nobody removed");
            assert_eq!(engine.find(&seen.identity.name), Some(id));
            let run = seen.run.unwrap_or(Run { empty: true, ..Run::default() });
            let overrun = run.kill_from.is_some_and(|from| from <= now.mono);
            assert!(!(expired && overrun && run.started) || run.killed || run.empty, "no kill");
            let held = run.pid.is_some() && !run.empty;
            assert_eq!(status.containment.is_some(), held, "{status:?}");
            assert_eq!(status.pid, run.pid.filter(|_| !run.main_ended), "{status:?}");
            assert_eq!(status.output_pending, seen.output_pending && seen.run.is_none());
            assert_eq!(status.next_start.is_some(), status.state == StateName::Backoff);
            match status.state {
                StateName::Pending => assert!(!run.started),
                StateName::Running => assert!(run.started && !run.empty),
                StateName::Stopping => assert!(run.started),
                StateName::Backoff | StateName::Exited => assert!(seen.run.is_none()),
            }
        }
        let (ids, tasks) = (&self.ids, &self.tasks);
        let run = |task| ids.get(&task).and_then(|number| tasks.get(number)?.run);
        let runs = |task| run(task).is_some_and(|run: Run| run.started && !run.killed);
        self.commands.after_step(now, expired, runs);
        for run in self.tasks.values_mut().filter_map(|seen| seen.run.as_mut()) {
            // It has outrun that.
            run.too_slow &= !run.started;
        }
    }

    /// Nothing is left: no task, nobody who waits, no memory of either.
    pub(crate) fn after_all(&self, engine: &Engine) {
        assert_eq!(engine.len(), 0, "tasks are left");
        assert_eq!(self.tickets.len(), 0, "requests were never answered");
        self.commands.after_all();
        assert_eq!(engine.entries(), 0, "something is left behind");
    }

    fn action(&mut self, now: Now, task: TaskId, action: &Action, engine: &Engine) {
        self.note_name(action_name(action));
        assert!(!self.forgotten.contains(&task), "{action:?} for a forgotten task");
        let stops = self.stops_tasks;
        if let Action::Spawn { .. } = action {
            return self.spawn(now, task, engine);
        }
        let Some(seen) = self.seen(task) else {
            let at_once = self.tasks.len() > self.ids.len() && *action == Action::Forget;
            assert!(at_once, "{action:?} for a task that was not launched");
            return;
        };
        if let Action::Update { .. } = action {
            return;
        }
        if let Action::Forget = action {
            assert!(seen.run.is_none(), "forgotten in a run");
            return;
        }
        let Some(run) = &mut seen.run else {
            assert!(matches!(action, Action::CloseOutput), "{action:?} without a run");
            return;
        };
        match action {
            Action::Spawn { .. } | Action::Update { .. } | Action::Forget => {}
            Action::AbortSpawn => {
                assert!(!run.started, "a start is taken back that has succeeded");
                run.too_slow = run.kill_from.is_none();
                run.kill_from = Some(now.mono);
            }
            Action::Signal { all, ticket, .. } => {
                assert!(run.started && !run.empty, "a signal without a process");
                assert!(*all || !run.main_ended, "a signal to the main process after its end");
                let stop_all = seen.identity.stop_all();
                assert!(ticket.is_some() || *all == (stop_all || run.main_ended));
            }
            Action::KillAll => {
                assert!(run.started && !run.empty, "a kill without a process");
                run.killed = true;
                match run.kill_from {
                    Some(from) => assert!(now.mono >= from, "the grace is cut short"),
                    None => {
                        let leftover = seen.identity.leftover();
                        let asked = leftover == Leftover::Kill || run.too_slow && stops;
                        assert!(run.main_ended && asked, "a kill unasked for");
                    }
                }
            }
            Action::AwaitEmpty | Action::LeaveRest => {
                assert!(run.main_ended && !run.empty);
                assert!(run.kill_from.is_none(), "a stop leaves nothing");
                run.killed = *action == Action::LeaveRest;
            }
            Action::ListProcesses => {
                assert!(!run.empty);
                run.list_asked = true;
            }
            Action::FinishOutput => assert!(run.empty),
            Action::CloseOutput => panic!("the sinks are closed in a run"),
        }
    }

    fn spawn(&mut self, now: Now, task: TaskId, engine: &Engine) {
        let ever_ran = &self.ever_ran;
        let seen = self.ids.get(&task).and_then(|number| self.tasks.get_mut(number));
        let Some(seen) = seen else { panic!("a start without a launch") };
        assert!(seen.run.is_none(), "a second run at the same time");
        seen.run = Some(Run::default());
        seen.output_pending = false;
        assert!(!self.stops_tasks, "started in a shutdown");
        let restarts = engine.status(task).map_or(0, |status| status.restarts);
        if restarts > seen.restarts {
            seen.automatic(now);
        } else {
            seen.attempts.clear();
            assert!(
                self.shutdown.is_none() || !ever_ran.contains(&task),
                "restarted in a shutdown"
            );
            let first = !ever_ran.contains(&task) && !seen.asked;
            let may = |id| ever_ran.contains(id);
            assert!(!first || seen.after.iter().all(may), "started before what it comes after");
        }
        seen.restarts = restarts;
        seen.asked = false;
    }

    fn reply(&mut self, ticket: Ticket, reply: &Reply) {
        self.note(20 + u64::from(reply.is_ok()) + ticket.0 * 64);
        let Some(asked) = self.tickets.remove(&ticket) else {
            panic!("a reply that nobody waits for: {ticket:?} {reply:?}")
        };
        if let Err(error) = reply {
            self.note_name(error_name(error));
        }
        match reply {
            Ok(Answer::ExecStarted { exec, .. }) => self.commands.started(ticket, *exec),
            Ok(Answer::Executed(executed)) => self.commands.executed(executed),
            _ => {}
        }
        if let (Asked::Wait, Ok(Answer::Status(status))) = (asked, reply) {
            assert_eq!(status.state, StateName::Exited, "a wait ends too early");
        }
        if let (Asked::Restart, Ok(Answer::Status(status))) = (asked, reply) {
            let run = self.tasks.get(&status.identity.number).and_then(|seen| seen.run);
            let fresh = run.is_some_and(|run| run.started && run.kill_from.is_none());
            assert!(fresh, "a restart is answered by a run that is being ended");
        }
        if asked == Asked::Launch {
            assert!(!matches!(reply, Ok(Answer::Done)));
        }
    }

    fn event(&mut self, now: Now, event: &Event, engine: &Engine) {
        self.sequence += 1;
        assert_eq!(event.sequence, self.sequence, "a gap in the events");
        self.note_name(event.kind.as_str());
        self.note(event.status.run * 64 + event.status.state as u64);
        let identity = &event.status.identity;
        if event.kind == EventKind::Launched {
            return self.launched(identity, engine);
        }
        let Some(seen) = self.tasks.get_mut(&identity.number) else {
            panic!("{:?} of no task", event.kind)
        };
        if event.kind == EventKind::Started {
            self.ever_ran.extend(seen.id);
        }
        let asked = seen.asked;
        let id = seen.id;
        seen.event(now, event, self.shutdown.flatten());
        if event.kind == EventKind::Removed {
            self.tasks.remove(&identity.number);
            self.forgotten.extend(id);
            self.ids.retain(|_, number| *number != identity.number);
        }
        if event.kind == EventKind::Stopping && self.shutdown.is_some() && !asked {
            self.in_order(id);
        }
    }

    fn launched(&mut self, identity: &Arc<Identity>, engine: &Engine) {
        // One that was launched and forgotten in one step has no place in the table any more.
        let id = engine.tasks().find(|&id| engine.identity(id) == Some(identity));
        if let Some(id) = id {
            assert!(!self.forgotten.contains(&id), "the id of a forgotten task is used again");
            self.ids.insert(id, identity.number);
        }
        let seen = Seen {
            id,
            identity: Arc::clone(identity),
            after: identity.spec().after.iter().filter_map(|name| engine.find(name)).collect(),
            run: None,
            asked: false,
            restarts: 0,
            attempts: Vec::new(),
            backoff: None,
            stuck: false,
            output_pending: false,
            long: false,
            began: Mono::default(),
        };
        assert!(self.tasks.insert(identity.number, seen).is_none(), "a launch is numbered twice");
    }

    fn seen(&mut self, id: TaskId) -> Option<&mut Seen> {
        self.ids.get(&id).and_then(|number| self.tasks.get_mut(number))
    }

    /// In a shutdown nothing is stopped while something that comes after it lives.
    fn in_order(&self, id: Option<TaskId>) {
        let Some(id) = id.filter(|_| self.shutdown.flatten() != Some(Duration::ZERO)) else {
            return;
        };
        for later in self.tasks.values().filter(|later| later.after.contains(&id)) {
            let gone = later.run.is_none() || later.stuck;
            assert!(gone, "stopped before {}, which comes after it", later.identity.name);
        }
    }

    fn shut_down(&mut self, now: Now, grace: Option<Duration>) {
        let before = self.shutdown.flatten();
        let least = [before, grace].into_iter().flatten().min();
        self.shutdown = Some(least);
        self.stops_tasks = true;
        for seen in self.tasks.values_mut() {
            let stopping = seen.run.is_some_and(|run| run.started && run.kill_from.is_some());
            if stopping {
                seen.promise(now, least.unwrap_or(Duration::MAX));
            }
        }
    }

    fn note_name(&mut self, name: &'static str) {
        *self.seen.entry(name).or_default() += 1;
        name.bytes().for_each(|byte| self.note(byte.into()));
    }

    fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }
}
