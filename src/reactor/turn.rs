//! One turn of the loop.

use super::exec::id_of;
use super::token::Owner;
use super::{Due, Supervisor};
use crate::engine::{Action, Output};
use crate::sys::clock;
use crate::vocabulary::limits::STORE_RETRY_DESCRIPTORS;
use crate::vocabulary::{Answer, Event, Mono, StreamKind, TaskId};
use std::io;
use std::time::Duration;

/// How the loop does.
#[derive(Debug, Default)]
pub(super) struct Health {
    pub(super) turns: u64,
    /// Turns before which it slept.
    pub(super) wakeups: u64,
    /// Without the sleep.
    pub(super) longest_turn_us: u64,
    /// When it last woke, in a process of our own: whatever is done there until it sleeps again
    /// holds up the loop.
    woke: Option<Mono>,
}

impl Health {
    fn note(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.longest_turn_us = self.longest_turn_us.max(took);
    }
}

impl Supervisor {
    /// One turn of the loop: waits until something happens or `timeout` is over (`None`: for
    /// ever), handles it, and appends the events. Returns early when replies or watched
    /// descriptors are ready. Whatever is ready is handled within bounds, so that a turn is short;
    /// what is left makes the next turn return at once.
    ///
    /// # Errors
    /// When epoll itself fails, which no load and no task can cause.
    pub fn turn(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.now = clock::now();
        let begun = self.health.woke.unwrap_or(self.now.mono);
        self.starts.refill();
        self.settle();
        let before = clock::now().mono.since(begun);
        self.health.note(before);
        let wait = match (timeout, self.next_deadline()) {
            (Some(timeout), Some(deadline)) => Some(timeout.min(deadline)),
            (timeout, deadline) => timeout.or(deadline),
        };
        match self.poll.poll(&mut self.readiness, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => self.health.turns += 1,
        }
        if wait != Some(Duration::ZERO) {
            self.health.wakeups += 1;
            self.starts.woke();
        }
        self.now = clock::now();
        let started = self.now.mono;
        self.take_readiness();
        self.continue_scan();
        self.relay_has_more = self.relay.work(self.now.mono);
        self.collect_exec_output();
        #[cfg(feature = "stats")]
        self.sample();
        self.expire();
        self.settle();
        while self.look_for_rests() {
            self.settle();
        }
        events.append(&mut self.events);
        self.give_back_room();
        match self.options.own_process {
            // The rest of it, with what the layers above do, is told before the next wait.
            true => self.health.woke = Some(started),
            false => self.health.note(before + clock::now().mono.since(started)),
        }
        Ok(())
    }

    /// How long `turn` waits at most: until the nearest deadline, not at all where work is left.
    /// `None`: for ever. For a host that waits in its own loop.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.has_more() {
            return Some(Duration::ZERO);
        }
        [self.engine.next_deadline(), self.relay.next_deadline(), self.deadlines.next()]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.since(clock::now().mono))
    }

    fn has_more(&self) -> bool {
        self.relay_has_more
            || !self.starts.is_empty()
            || !self.ended.is_empty()
            || self.execs.has_more()
            || !self.inputs.is_empty()
            || !self.events.is_empty()
            || !self.replies.is_empty()
            || !self.watches.ready.is_empty()
            || self.sweep.is_scanning()
            || self.is_renewing()
            || self.is_sampling()
    }

    #[cfg(feature = "stats")]
    fn is_sampling(&self) -> bool {
        self.sampler.has_more()
    }

    #[cfg(not(feature = "stats"))]
    fn is_sampling(&self) -> bool {
        false
    }

    fn take_readiness(&mut self) {
        let (mut ended, mut signaled) = (false, false);
        let readiness = std::mem::replace(&mut self.readiness, mio::Events::with_capacity(0));
        for event in &readiness {
            let Some(owner) = Owner::of(event.token()) else { continue };
            match owner {
                Owner::Control => self.take_orders(),
                Owner::Sigchld => signaled = true,
                Owner::KeptExits => self.keeper_tells(),
                Owner::Process(key) => {
                    ended = true;
                    self.ended.push_back(TaskId::new(key.index, key.generation));
                }
                Owner::Start(key) => self.start_told(TaskId::new(key.index, key.generation)),
                Owner::Group(key) => self.group_changed(key),
                Owner::Init(key) => self.left_init_ended(key),
                Owner::Oom(key) => self.oom_told(TaskId::new(key.index, key.generation)),
                Owner::Source(key) => self.relay.source_ready(
                    key,
                    event.is_readable(),
                    event.is_read_closed() || event.is_error(),
                ),
                Owner::Target(key) => self.relay.target_ready(key),
                Owner::Crowd => self.relay.crowd_ready(),
                Owner::Exec(key) => self.exec_process_ended(id_of(key)),
                Owner::ExecStart(key) => self.exec_start_told(id_of(key)),
                Owner::ExecStdout(key) => {
                    self.exec_output_ready(id_of(key), StreamKind::Stdout);
                }
                Owner::ExecStderr(key) => {
                    self.exec_output_ready(id_of(key), StreamKind::Stderr);
                }
                Owner::Watch(key) => {
                    let closed = event.is_read_closed() || event.is_error();
                    let readable = event.is_readable() || closed;
                    let writable = event.is_writable() || event.is_write_closed() || closed;
                    self.watches.note(key, readable, writable);
                }
            }
        }
        self.readiness = readiness;
        self.take_ended();
        // The signal of a child comes with its end: read now it wakes nobody later.
        if signaled || ended && self.child_signal.is_some() {
            self.child_signaled();
        }
    }

    fn expire(&mut self) {
        while let Some(due) = self.deadlines.expired(self.now.mono) {
            match due {
                Due::Rest(task) => self.look_at_rest(task),
                Due::ExecRest(exec) => self.look_at_exec(exec),
                // At the end of the turn.
                Due::Look => {}
                Due::Group(key) => self.group_changed(key),
                Due::Oom(task) => self.oom_told(task),
                Due::Sweep => self.sweep_children(),
                Due::Status(task) => self.process_ended(task),
                Due::Streams(task) => self.adopt_streams_again(task),
                // At the end of the turn.
                Due::Store => {}
                Due::Descriptors => self.relay.retry_store(),
                Due::LeftGroups => self.remove_left_groups(),
                Due::Keeper => self.keeper_tells(),
            }
        }
        self.relay.expire(self.now.mono);
        self.engine.expire(self.now);
    }

    /// Takes everything out of the engine and the relay, and puts every answer in, until both are
    /// quiet. Starts beyond the budget of this turn wait in their queue.
    pub(super) fn settle(&mut self) {
        loop {
            while let Some(news) = self.relay.next_news() {
                self.inputs.push_back(news);
            }
            if let Some(output) = self.engine.next_output() {
                self.put_out(output);
            } else if let Some((task, input)) = self.inputs.pop_front() {
                self.engine.handle(self.now, task, input);
            } else if let Some((exec, input)) = self.execs.next_input() {
                self.engine.handle_exec(self.now, exec, input);
            } else if let Some((task, run)) = self.starts.next() {
                self.start(task, run);
            } else if !self.start_next_exec() && !self.follow_keeper() {
                self.retry_descriptors();
                self.look_for_left_groups();
                return self.take_down_at_leisure();
            }
        }
    }

    /// Has descriptors that the service manager had no room for sent again after a while.
    fn retry_descriptors(&mut self) {
        let due = self.descriptors_due.is_some_and(|due| due > self.now.mono);
        if self.relay.store_is_behind() && !due {
            let at = self.now.mono + STORE_RETRY_DESCRIPTORS;
            self.descriptors_due = Some(at);
            self.deadlines.add(at, Due::Descriptors);
        }
    }

    fn put_out(&mut self, output: Output) {
        match output {
            Output::Do(task, action) => self.perform(task, action),
            Output::Exec(exec, action) => self.perform_exec(exec, action),
            Output::ExecEnded(executed) => self.exec_ended(*executed),
            Output::Reply(ticket, Ok(Answer::Executed(mut executed))) => {
                self.add_exec_output(&mut executed);
                self.deliver(ticket, Ok(Answer::Executed(executed)));
            }
            Output::Reply(ticket, reply) => self.deliver(ticket, reply),
            Output::Event(event) => {
                self.orders.publish(&event);
                self.events.push(event);
            }
        }
    }

    fn perform(&mut self, task: TaskId, action: Action) {
        #[cfg(fuzzing)]
        if self.pretence().is_some() {
            return self.pretend_to(task, action);
        }
        match action {
            Action::Spawn { run } => self.starts.push(task, run),
            Action::AbortSpawn => self.abort_start(task),
            Action::Signal { signal, all, ticket } => self.send_signal(task, signal, all, ticket),
            Action::KillAll => self.kill_all(task),
            Action::AwaitEmpty => self.await_empty(task),
            Action::LeaveRest => self.leave_rest(task),
            Action::Update { change, ticket } => self.update_limits(task, change, ticket),
            Action::ListProcesses => self.list_processes(task),
            Action::FinishOutput => self.relay.finish_run(self.now.mono, task),
            Action::CloseOutput => self.relay.close(self.now.mono, task),
            Action::Forget => {
                for lost in self.relay.forget(task) {
                    self.engine.handle(self.now, task, lost);
                }
            }
        }
    }
}
