//! The engine: every decision about tasks, as a pure and deterministic state machine.
//!
//! No clock, no system call, no log. It is driven in one way: one [`Engine::request`],
//! [`Engine::handle`] or [`Engine::expire`], then [`Engine::next_output`] until it says `None`.
//! [`Engine::next_deadline`] says until when nothing has to be done.
//!
//! It is public so that simulations outside the crate can reach it, and carries no promise of a
//! stable interface.

mod chance;
mod exec;
mod execs;
mod handed;
mod io;
mod launch;
mod life;
mod names;
mod order;
mod requests;
mod restart;
mod saved;
mod shutdown;
mod start;
mod stop;
mod table;
mod task;
mod update;
mod waiting;

pub use handed::{Asking, Executing};
pub use io::{Action, ExecAction, ExecInput, Input, Output, Updated};
pub use restart::Attempts;
pub use saved::{Change, Saved};
pub use task::{Abort, Cause, Ended, Main, State, Then};
pub use waiting::Ask;

use crate::vocabulary::{
    Answer, Deadlines, Event, EventKind, ExecId, Identity, Mono, Now, Ordered, Pid, Reply, Request,
    RequestError, Status, TaskId, TaskSpec, Ticket,
};
use chance::Chance;
use execs::Execs;
use order::Order;
use shutdown::Shutdown;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use table::Table;
use waiting::Askers;

/// Room in queues that is kept for the next turn; more is given back after a burst.
const ROOM_KEPT: usize = 256;

/// How an engine starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Part of every launch's id: ids and event numbers rise for ever within one instance.
    pub instance: String,
    /// Seed of the chance in restart delays.
    pub seed: u64,
    /// Number of the first launch.
    pub first_launch: u64,
    /// Number of the first run.
    pub first_run: u64,
    /// Number of the first event.
    pub first_event: u64,
}

/// The state of every task.
#[derive(Clone, Debug)]
pub struct Engine {
    instance: String,
    next_launch: u64,
    next_run: u64,
    next_event: u64,
    table: Table,
    askers: Askers,
    execs: Execs,
    order: Order,
    deadlines: Deadlines<Timer>,
    /// Since a shutdown was asked for.
    shutdown: Option<Shutdown>,
    /// The tasks whose processes outlived their kill, and those processes.
    stuck: Ordered<TaskId, Vec<Pid>>,
    chance: Chance,
    /// That of the last launch: many launches in a row have the same.
    last_specs: VecDeque<Weak<TaskSpec>>,
    /// What the end or failure of one task does to others: a list, since a chain of tasks may be
    /// longer than the stack is deep.
    work: VecDeque<Work>,
    outputs: VecDeque<Output>,
    /// The task whose [`Action::Forget`] was the last output taken.
    forgetting: Option<TaskId>,
}

/// What a deadline is for.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    Task(TaskId),
    Asker(Ticket),
    Exec(ExecId),
}

/// What is to be done to a task because of another one.
#[derive(Clone, Debug)]
enum Work {
    /// What it comes after will not run.
    Fail(TaskId, Arc<Identity>),
    /// It is its turn in a shutdown.
    ShutDown(TaskId),
}

/// What a request comes to at once; `None`: it is answered later.
type Outcome = Result<Option<Answer>, RequestError>;

impl Engine {
    /// An engine without a task.
    pub fn new(config: Config) -> Engine {
        Engine {
            instance: config.instance,
            next_launch: config.first_launch,
            next_run: config.first_run,
            next_event: config.first_event,
            table: Table::default(),
            askers: Askers::default(),
            execs: Execs::default(),
            order: Order::default(),
            deadlines: Deadlines::default(),
            shutdown: None,
            stuck: Ordered::new(),
            chance: Chance::new(config.seed),
            last_specs: VecDeque::new(),
            work: VecDeque::new(),
            outputs: VecDeque::new(),
            forgetting: None,
        }
    }

    /// A request of somebody's; exactly one `Output::Reply` with this ticket follows, now or later,
    /// unless it is abandoned.
    pub fn request(&mut self, now: Now, ticket: Ticket, request: Request) {
        let outcome = match request {
            Request::Launch { spec, if_exists, timeout } => {
                self.launch(now, ticket, *spec, if_exists, timeout)
            }
            Request::Wait { name, id, timeout } => self.wait(now, ticket, name, id, timeout),
            Request::Stop { name, signal, grace } => {
                self.stop_request(now, ticket, name, signal, grace)
            }
            Request::Restart { name, signal, grace } => {
                self.restart_request(now, ticket, name, signal, grace)
            }
            Request::Signal { name, signal, all } => self.signal(ticket, name, signal, all),
            Request::Update { name, resources } => self.update(ticket, name, resources),
            Request::Exec { name, spec } => self.exec(now, ticket, name, spec),
            Request::Remove { name, force } => self.remove(now, ticket, name, force),
            Request::Shutdown { stop_tasks, grace } => {
                self.shutdown(now, ticket, stop_tasks, grace)
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(answer)) => self.reply(ticket, Ok(answer)),
            Err(error) => self.reply(ticket, Err(error)),
        }
        self.settle(now);
    }

    /// Something happened outside.
    pub fn handle(&mut self, now: Now, task: TaskId, input: Input) {
        match input {
            Input::OutputLost { stream, bytes } if self.forgetting == Some(task) => {
                self.lost_at_last(stream, bytes);
            }
            input => self.transition(now, task, input),
        }
        self.settle(now);
    }

    /// Handles every deadline that is due.
    pub fn expire(&mut self, now: Now) {
        while let Some(timer) = self.deadlines.expired(now.mono) {
            match timer {
                Timer::Task(id) => self.expired(now, id),
                Timer::Exec(exec) => self.exec_expired(now, exec),
                Timer::Asker(ticket) => {
                    if self.askers.take(ticket).is_some() {
                        self.reply(ticket, Err(RequestError::TimedOut));
                    }
                }
            }
            self.settle(now);
        }
    }

    /// Whoever asked does not wait any more: no reply follows. What was asked for goes on, but for
    /// a command, which is killed.
    pub fn abandon(&mut self, now: Now, ticket: Ticket) {
        if let Some(exec) = self.execs.of_ticket(ticket) {
            self.kill_exec(now, exec);
        }
        if let Some(shutdown) = &mut self.shutdown {
            shutdown.askers.remove(&ticket);
        }
        self.dismiss(ticket);
    }

    /// The next thing to be done, in order.
    pub fn next_output(&mut self) -> Option<Output> {
        let mut output = self.outputs.pop_front();
        self.forgetting = None;
        match &mut output {
            Some(Output::Event(event)) => {
                event.sequence = self.next_event;
                self.next_event += 1;
            }
            Some(Output::Do(task, Action::Forget)) => self.forgetting = Some(*task),
            Some(Output::Do(..) | Output::Exec(..) | Output::ExecEnded(_) | Output::Reply(..)) => {}
            None => {
                give_back(&mut self.outputs);
                give_back(&mut self.work);
            }
        }
        output
    }

    /// Gives back memory that more tasks than there are now have needed.
    pub fn shrink(&mut self) {
        self.table.shrink();
    }

    /// When [`Engine::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.next()
    }

    /// The task of this name.
    pub fn find(&self, name: &str) -> Option<TaskId> {
        self.table.find(name)
    }

    /// What is known of a task; `None` once it is forgotten.
    pub fn status(&self, task: TaskId) -> Option<Status> {
        self.table.get(task).map(task::Task::status)
    }

    /// Name, launch and spec of a task; `None` once it is forgotten.
    pub fn identity(&self, task: TaskId) -> Option<&Arc<Identity>> {
        self.table.get(task).map(|task| &task.identity)
    }

    /// Every task that is remembered, oldest launch first is not promised.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = TaskId> + '_ {
        self.table.ids()
    }

    /// Places of the table, for a walk in slices.
    pub fn places(&self) -> usize {
        self.table.places()
    }

    /// The task in this place of the table.
    pub fn at(&self, place: usize) -> Option<TaskId> {
        self.table.at(place)
    }

    /// How many tasks are remembered.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no task is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of the last event that was taken out; 0 or `first_event - 1` before the first.
    pub fn sequence(&self) -> u64 {
        self.next_event.saturating_sub(1)
    }

    /// The printed form of a launch's id: `INSTANCE-NUMBER`.
    pub fn launch_id(&self, identity: &Identity) -> String {
        format!("{}-{}", self.instance, identity.number)
    }

    /// Entries of every table but that of the tasks: 0 when nothing runs and nobody waits.
    /// For simulations, which look for what is left behind.
    pub fn entries(&self) -> usize {
        self.table.names.entries()
            + self.askers.len()
            + self.execs.entries()
            + self.order.len()
            + self.deadlines.len()
            + self.stuck.len()
            + self.work.len()
            + self.outputs.len()
            + self.shutdown.as_ref().map_or(0, Shutdown::entries)
    }

    /// Does what one change brought about elsewhere.
    fn settle(&mut self, now: Now) {
        while let Some(work) = self.work.pop_front() {
            match work {
                Work::Fail(task, dependency) => self.dependency_failed(now, task, &dependency),
                Work::ShutDown(task) => self.shut_down(now, task),
            }
        }
        self.answer_shutdown();
    }

    /// Puts a task into another state, to last until `deadline`.
    fn enter(&mut self, id: TaskId, state: State, deadline: Option<Mono>) {
        self.table.enter(id, state);
        self.set_deadline(id, deadline);
    }

    fn set_deadline(&mut self, id: TaskId, deadline: Option<Mono>) {
        let Some(task) = self.table.get_mut(id) else { return };
        let before = std::mem::replace(&mut task.deadline, deadline);
        if let Some(at) = before {
            self.deadlines.cancel(at, Timer::Task(id));
        }
        if let Some(at) = deadline {
            self.deadlines.add(at, Timer::Task(id));
        }
    }

    fn act(&mut self, id: TaskId, action: Action) {
        self.outputs.push_back(Output::Do(id, action));
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) {
        self.outputs.push_back(Output::Reply(ticket, reply));
    }

    fn event(&mut self, now: Now, id: TaskId, kind: EventKind, detail: Option<String>) {
        let Some(status) = self.status(id) else { return };
        let detail = detail.map(String::into_boxed_str);
        // Its number it gets when it is taken out.
        let event = Event { sequence: 0, time: now.wall, kind, status, detail };
        self.outputs.push_back(Output::Event(event));
    }

    /// Somebody does not wait any more.
    fn dismiss(&mut self, ticket: Ticket) -> Option<waiting::Asker> {
        let asker = self.askers.take(ticket)?;
        if let Some(at) = asker.deadline {
            self.deadlines.cancel(at, Timer::Asker(ticket));
        }
        Some(asker)
    }

    /// Answers everybody who waits for this of the task.
    fn answer(&mut self, id: TaskId, ask: Ask, reply: &Reply) {
        while let Some(ticket) = self.askers.first(id, ask) {
            self.dismiss(ticket);
            self.reply(ticket, reply.clone());
        }
    }

    /// The same, with the task's status.
    fn answer_status(&mut self, id: TaskId, ask: Ask) {
        if self.askers.first(id, ask).is_none() {
            return;
        }
        if let Some(status) = self.status(id) {
            self.answer(id, ask, &Ok(Answer::Status(Box::new(status))));
        }
    }
}

fn give_back<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > ROOM_KEPT {
        queue.shrink_to(ROOM_KEPT);
    }
}
