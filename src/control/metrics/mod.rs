//! Figures for collectors: into a file at each interval, and through a socket when one asks.

mod client;
mod exposition;
mod file;
mod socket;

use super::ticks::next_tick;
use crate::reactor::{Measurement, Ready, Supervisor};
use crate::vocabulary::TaskId;
use exposition::Exposition;
use file::MetricsFile;
use socket::MetricsSocket;
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::RawFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Measures all tasks at an interval, and hands their figures to collectors as OpenMetrics text.
///
/// After each turn of the supervisor comes one [`Metrics::dispatch`]. Between them the loop waits
/// no longer than [`Metrics::timeout`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use ostler::control::Metrics;
/// let mut supervisor = ostler::Supervisor::new(ostler::Options::default())?;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("ostler.prom");
/// let mut metrics = Metrics::new(Some(std::time::Duration::from_secs(10)));
/// metrics.write_to(path.clone())?;
/// while !path.exists() {
///     supervisor.turn(metrics.timeout(), &mut Vec::new())?;
///     metrics.dispatch(&mut supervisor);
/// }
/// assert!(std::fs::read_to_string(&path)?.ends_with("# EOF\n"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Metrics {
    interval: Option<Duration>,
    /// When all tasks are measured next.
    due: Option<Instant>,
    round: Round,
    file: Option<MetricsFile>,
    socket: Option<MetricsSocket>,
}

/// How far the measurement of an interval is.
#[derive(Debug)]
enum Round {
    Idle,
    Measuring(Measurement, Vec<TaskId>),
    Writing(Exposition),
}

impl Metrics {
    /// Measures at this interval, the first time at once; `None`: only when a collector asks.
    pub fn new(interval: Option<Duration>) -> Metrics {
        let due = interval.map(|_| Instant::now());
        Metrics { interval, due, round: Round::Idle, file: None, socket: None }
    }

    /// Replaces this file at each interval. It is removed at the end.
    ///
    /// # Errors
    /// Where no file can be made there.
    pub fn write_to(&mut self, path: PathBuf) -> io::Result<()> {
        self.file = Some(MetricsFile::new(path)?);
        Ok(())
    }

    /// Answers whoever asks on this socket, by HTTP; who closes its sending side without a word
    /// gets the bare text.
    ///
    /// # Errors
    /// Where the socket cannot be watched.
    pub fn listen(
        &mut self,
        supervisor: &mut Supervisor,
        listener: UnixListener,
    ) -> io::Result<()> {
        self.socket = Some(MetricsSocket::new(supervisor, listener)?);
        Ok(())
    }

    /// The number of the listening socket's descriptor, for another program of this process.
    #[cfg(feature = "cli")]
    pub(crate) fn listener(&self) -> Option<RawFd> {
        self.socket.as_ref().map(MetricsSocket::listener)
    }

    /// Whether a collector is being served.
    #[cfg(feature = "cli")]
    pub(crate) fn is_busy(&self) -> bool {
        self.socket.as_ref().is_some_and(MetricsSocket::is_busy)
    }

    /// Takes note of a descriptor that became ready; whether it is one of these.
    pub fn take_ready(&mut self, ready: &Ready) -> bool {
        self.socket.as_mut().is_some_and(|socket| socket.take_ready(ready))
    }

    /// Does what is due, a fraction of a millisecond of it.
    pub fn dispatch(&mut self, supervisor: &mut Supervisor) {
        if let Some(socket) = &mut self.socket {
            socket.dispatch(supervisor);
        }
        self.round = match std::mem::replace(&mut self.round, Round::Idle) {
            Round::Idle => self.begin(supervisor),
            Round::Measuring(measurement, tasks) if supervisor.is_measured(measurement) => {
                let begun = self.file.as_mut().is_some_and(MetricsFile::begin);
                if begun { Round::Writing(Exposition::new(tasks)) } else { Round::Idle }
            }
            Round::Writing(exposition) => self.write(supervisor, exposition),
            measuring => measuring,
        };
    }

    fn write(&mut self, supervisor: &Supervisor, mut exposition: Exposition) -> Round {
        let Some(file) = &mut self.file else { return Round::Idle };
        match exposition.next_piece(supervisor) {
            Some(piece) => {
                if file.write(&piece) {
                    return Round::Writing(exposition);
                }
            }
            None => file.finish(),
        }
        Round::Idle
    }

    fn begin(&mut self, supervisor: &mut Supervisor) -> Round {
        let Some(interval) = self.interval else { return Round::Idle };
        if self.due.is_some_and(|due| due > Instant::now()) {
            return Round::Idle;
        }
        self.due = Some(next_tick(interval));
        let tasks = measurable(supervisor);
        Round::Measuring(supervisor.measure(tasks.iter().copied(), false), tasks)
    }

    /// How long the supervisor's turn may wait at most. `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        let due = match &self.round {
            Round::Idle => self.due,
            // The supervisor does not wait before it has measured.
            Round::Measuring(..) | Round::Writing(_) => return Some(Duration::ZERO),
        };
        let clients = self.socket.as_ref().and_then(MetricsSocket::due);
        let at = [due, clients].into_iter().flatten().min()?;
        Some(at.saturating_duration_since(Instant::now()))
    }
}

/// The tasks that have a process.
fn measurable(supervisor: &Supervisor) -> Vec<TaskId> {
    supervisor.tasks().filter(|task| supervisor.has_process(*task)).collect()
}
