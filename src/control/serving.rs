//! Serving one client: its calls in order, its streams as fast as it reads.

use super::calls::{self, Context, Progress, Step, Stream};
use super::connection::Pending;
use super::message::Call;
use super::server::{Parts, Server};
use crate::reactor::Supervisor;
use crate::vocabulary::limits::CALLS_PER_TURN;
use std::time::Instant;

/// One read.
const READ_BYTES: usize = 64 << 10;

impl Server {
    /// Reads, calls, streams, sends; a client that has more is served again in the next turn.
    pub(super) fn serve(&mut self, supervisor: &mut Supervisor, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.queued = false;
        if matches!(connection.pending, Pending::Upgraded(_)) {
            return self.serve_upgraded(supervisor, key);
        }
        self.scratch.resize(READ_BYTES, 0);
        if connection.receive(&mut self.scratch).is_err() {
            return self.remove(supervisor, key);
        }
        let step = self.take_calls(supervisor, key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        let sent = connection.send();
        let more = match step {
            Step::More => true,
            // Unless it is written whole, the next room in the socket is told.
            Step::Full => connection.session.output().is_empty(),
            Step::Idle | Step::Over => false,
        };
        if connection.session.is_full() {
            connection.stalled.get_or_insert_with(Instant::now);
            self.full.insert(key);
            self.look_later();
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        // One whose calls are held may have some that are to be answered.
        if sent.is_err() || !more && !self.held && connection.is_over() {
            self.remove(supervisor, key);
        } else if more || connection.can_go_on() {
            self.wake(key);
        }
    }

    /// Begins calls and steps streams, until one of them waits for something.
    fn take_calls(&mut self, supervisor: &mut Supervisor, key: usize) -> Step {
        for _ in 0..CALLS_PER_TURN {
            let Some(connection) = self.connections.get_mut(key) else { return Step::Over };
            match &connection.pending {
                Pending::Asked(_) | Pending::Host(_) | Pending::Upgrade | Pending::Upgraded(_) => {
                    return Step::Idle;
                }
                Pending::Streams(_) => match self.step(supervisor, key) {
                    Step::Over => {}
                    step => return step,
                },
                Pending::None if self.held => return Step::Idle,
                Pending::None => match connection.session.next_call() {
                    None if connection.session.is_full() => return Step::Full,
                    None => return Step::Idle,
                    Some(call) => self.begin(supervisor, key, call),
                },
            }
        }
        Step::More
    }

    fn begin(&mut self, supervisor: &mut Supervisor, key: usize, call: Call) {
        let (oneway, method) = (call.oneway, call.method.clone());
        let Parts { history, socket, host, connections, .. } = self.parts();
        let Some(connection) = connections.get_mut(key) else { return };
        let stdio = connection.stdio;
        let mut context = Context { supervisor, history, socket, stdio, host };
        let progress = calls::begin(call, &mut connection.session, &mut context);
        match progress {
            Ok(Progress::Done) => {}
            Ok(Progress::Asked(ticket, kind)) if oneway => {
                connection.session.end();
                self.asked(ticket, None, method, kind);
            }
            Ok(Progress::Asked(ticket, kind)) => {
                connection.pending = Pending::Asked(ticket);
                self.asked(ticket, Some(key), method, kind);
            }
            Ok(Progress::Reload { dry_run }) if oneway => {
                connection.session.end();
                self.host_calls.ask(dry_run, None);
            }
            Ok(Progress::Reload { dry_run }) => {
                let ticket = self.host_calls.ask(dry_run, Some(key));
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.pending = Pending::Host(ticket);
                }
            }
            Ok(Progress::Upgrade) => {
                match oneway {
                    true => connection.session.end(),
                    false => connection.pending = Pending::Upgrade,
                }
                self.upgrade_asked = true;
            }
            // What is only answered leaves nothing to do when no answer is wanted.
            Ok(Progress::Streams(_)) if oneway => connection.session.end(),
            Ok(Progress::Streams(stream)) => {
                self.streams(supervisor, key, &stream);
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.pending = Pending::Streams(stream);
                }
            }
            Err(failure) => {
                if oneway {
                    let (error, parameters) = (failure.error, &failure.parameters);
                    log::warn!("method={method} failed, oneway: {error} {parameters}");
                }
                connection.session.fail(&failure);
            }
        }
    }

    fn step(&mut self, supervisor: &mut Supervisor, key: usize) -> Step {
        let Parts { history, socket, host, connections, watching } = self.parts();
        let Some(connection) = connections.get_mut(key) else { return Step::Idle };
        let Pending::Streams(stream) = &mut connection.pending else { return Step::Idle };
        let stdio = connection.stdio;
        let mut context = Context { supervisor, history, socket, stdio, host };
        let mut step = stream.step(&mut connection.session, &mut context);
        if let (Step::Idle, Stream::Logs(log)) = (step, &mut *stream)
            && log.watch(watching, key)
        {
            step = Step::More;
        }
        let look_later = matches!(stream, Stream::Logs(log) if log.needs_looking());
        if step == Step::Over
            && let Pending::Streams(stream) = std::mem::take(&mut connection.pending)
        {
            self.stopped_streaming(key, stream);
        } else if look_later {
            self.look_later();
        }
        step
    }
}
