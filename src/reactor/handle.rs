//! Other threads ask through the control pipe.

use super::{Facts, Figures, Supervisor};
use crate::sys::wake_pipe::{WakeReader, WakeWriter, wake_pipe};
use crate::vocabulary::limits::ORDERS_PER_TURN;
use crate::vocabulary::{
    Event, ExecStreams, Ordered, Reply, Request, RequestError, Status, Ticket,
};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Asks a supervisor from any thread. Cheap to clone.
///
/// Answers come when the supervisor's own thread turns its loop; to ask from that thread would
/// wait for ever: use [`Supervisor::submit`] there.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ostler::{IfExists, Options, Request, Supervisor, TaskSpec};
/// let mut supervisor = Supervisor::new(Options::default())?;
/// let handle = supervisor.handle();
/// let asker = std::thread::spawn(move || {
///     let spec = Box::new(TaskSpec { name: Some("t".into()), ..TaskSpec::new("true") });
///     let timeout = std::time::Duration::from_secs(10);
///     handle.request(Request::Launch { spec, if_exists: IfExists::Fail, timeout })??;
///     handle.request(Request::Wait { name: "t".into(), id: None, timeout: None })?
///         .map_err(Box::<dyn std::error::Error + Send + Sync>::from)
/// });
/// let mut events = Vec::new();
/// while !asker.is_finished() {
///     supervisor.turn(Some(std::time::Duration::from_millis(100)), &mut events)?;
/// }
/// assert!(asker.join().is_ok_and(|answer| answer.is_ok()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// The supervisor is gone.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Disconnected;

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the supervisor is gone")
    }
}

impl std::error::Error for Disconnected {}

struct Shared {
    /// `None` once the supervisor is gone.
    orders: Mutex<Option<VecDeque<Order>>>,
    writer: WakeWriter,
}

/// What another thread asks for, as what the supervisor's own does then: a program in which nobody
/// has a handle has neither its code nor that of channels.
type Order = Box<dyn FnOnce(&mut Supervisor) + Send>;
/// Takes the answer to a request.
type Asker = Box<dyn FnOnce(Reply) + Send>;
/// Takes an event; false: it takes no more.
type Subscriber = Box<dyn FnMut(&Event) -> bool + Send>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Option<VecDeque<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the supervisor was dropped before it answered.
    pub fn request(&self, request: Request) -> Result<Reply, Disconnected> {
        self.submit(request)?.recv().map_err(|_| Disconnected)
    }

    /// Asks; the answer comes through the channel.
    ///
    /// # Errors
    /// When the supervisor was dropped.
    pub fn submit(&self, request: Request) -> Result<Receiver<Reply>, Disconnected> {
        self.order(1, |sender: SyncSender<Reply>| {
            Box::new(move |supervisor| {
                if wants_streams(&request) {
                    let feature = "streams of a command through a handle".to_owned();
                    let reason = "their ends belong to the thread of the supervisor".to_owned();
                    drop(sender.try_send(Err(RequestError::Unsupported { feature, reason })));
                    return;
                }
                let asker = Box::new(move |reply| drop(sender.try_send(reply)));
                let ticket = supervisor.new_ticket();
                supervisor.orders.waiting.insert(ticket, asker);
                supervisor.submit_as(ticket, request);
                supervisor.settle();
            })
        })
    }

    /// The task of this name as it is now.
    ///
    /// # Errors
    /// When the supervisor was dropped before it answered.
    pub fn status(&self, name: &str) -> Result<Option<Status>, Disconnected> {
        let name = name.to_owned();
        self.look(move |supervisor| supervisor.find(&name).and_then(|task| supervisor.status(task)))
    }

    /// Every task that is remembered, as it is now.
    ///
    /// # Errors
    /// When the supervisor was dropped before it answered.
    pub fn list(&self) -> Result<Vec<Status>, Disconnected> {
        self.look(|supervisor| {
            supervisor.tasks().filter_map(|task| supervisor.status(task)).collect()
        })
    }

    /// What the supervisor and the system can do.
    ///
    /// # Errors
    /// When the supervisor was dropped before it answered.
    pub fn facts(&self) -> Result<Facts, Disconnected> {
        self.look(Supervisor::facts)
    }

    /// What the supervisor costs.
    ///
    /// # Errors
    /// When the supervisor was dropped before it answered.
    pub fn figures(&self) -> Result<Figures, Disconnected> {
        self.look(Supervisor::figures)
    }

    /// Every event from now on. Whoever lets `queued` of them pile up is dropped: the channel ends
    /// behind the last one that fit.
    ///
    /// # Errors
    /// When the supervisor was dropped.
    pub fn events(&self, queued: usize) -> Result<Receiver<Event>, Disconnected> {
        self.order(queued, |sender: SyncSender<Event>| {
            Box::new(move |supervisor| {
                let subscriber =
                    Box::new(move |event: &Event| match sender.try_send(event.clone()) {
                        Ok(()) => true,
                        Err(TrySendError::Full(_)) => {
                            log::warn!("a subscriber does not read its events: it is dropped");
                            false
                        }
                        Err(TrySendError::Disconnected(_)) => false,
                    });
                supervisor.orders.subscribers.push(subscriber);
            })
        })
    }

    /// Makes [`Supervisor::turn`] return early.
    pub fn wake(&self) {
        // Nobody is there to be woken else.
        let _ = self.push(Box::new(|_| {}));
    }

    /// What the supervisor says of itself, as soon as it does.
    fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Supervisor) -> T + Send + 'static,
    ) -> Result<T, Disconnected> {
        let answer = self.order(1, |sender| {
            Box::new(move |supervisor| drop(sender.try_send(look(supervisor))))
        })?;
        answer.recv().map_err(|_| Disconnected)
    }

    fn order<T>(
        &self,
        queued: usize,
        order: impl FnOnce(SyncSender<T>) -> Order,
    ) -> Result<Receiver<T>, Disconnected> {
        let (sender, receiver) = sync_channel(queued);
        self.push(order(sender))?;
        Ok(receiver)
    }

    fn push(&self, order: Order) -> Result<(), Disconnected> {
        self.shared.orders().as_mut().ok_or(Disconnected)?.push_back(order);
        self.shared.writer.wake();
        Ok(())
    }
}

/// The loop's side of every handle.
pub(super) struct Orders {
    shared: Arc<Shared>,
    reader: WakeReader,
    waiting: Ordered<Ticket, Asker>,
    subscribers: Vec<Subscriber>,
}

impl fmt::Debug for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orders").finish_non_exhaustive()
    }
}

impl Orders {
    pub(super) fn new() -> io::Result<Orders> {
        let (reader, writer) = wake_pipe()?;
        let shared = Arc::new(Shared { orders: Mutex::new(Some(VecDeque::new())), writer });
        Ok(Orders { shared, reader, waiting: Ordered::new(), subscribers: Vec::new() })
    }

    /// Hands an event to every subscriber that keeps up.
    pub(super) fn publish(&mut self, event: &Event) {
        self.subscribers.retain_mut(|subscriber| subscriber(event));
    }
}

impl AsFd for Orders {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Orders {
    /// Whoever waits learns that there is no answer: its sender goes with the order.
    fn drop(&mut self) {
        *self.shared.orders() = None;
    }
}

fn wants_streams(request: &Request) -> bool {
    matches!(request, Request::Exec { spec, .. } if spec.streams != ExecStreams::Collected)
}

impl Supervisor {
    /// For other threads.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.orders.shared) }
    }

    pub(super) fn take_orders(&mut self) {
        self.orders.reader.drain();
        for _ in 0..ORDERS_PER_TURN {
            let order = self.orders.shared.orders().as_mut().and_then(VecDeque::pop_front);
            let Some(order) = order else { return };
            order(self);
        }
        // There may be more: the next turn comes at once.
        self.orders.shared.writer.wake();
    }

    /// Hands an answer to the thread that waits for it, or queues it for this one.
    pub(super) fn deliver(&mut self, ticket: Ticket, reply: Reply) {
        match self.orders.waiting.remove(&ticket) {
            Some(asker) => asker(reply),
            None => self.replies.push_back((ticket, reply)),
        }
    }
}
