//! The reactor: the only place where events of the kernel meet the engine, and the only user of
//! mio.
//!
//! Readiness becomes inputs, the engine's actions become system calls. Order within a turn: what
//! was asked, readiness, output, deadlines; after each the engine's output is taken out.

mod adopted_end;
mod adoption;
mod api;
mod descriptor_store;
mod ending;
mod exec;
mod exits;
mod facts;
mod groups;
mod handle;
#[cfg(feature = "cli")]
mod handover;
#[cfg(feature = "cli")]
mod helper;
mod init;
mod isolation;
mod kept_exits;
mod limits;
mod oom;
mod options;
mod orphans;
mod output;
#[cfg(fuzzing)]
mod pretend;
mod room;
mod run;
#[cfg(feature = "stats")]
mod sampling;
#[cfg(feature = "cli")]
mod signals;
mod start;
mod store;
#[cfg(test)]
mod tests;
mod token;
mod turn;
mod watch;

pub use descriptor_store::Manager;
pub use exec::ExecEnds;
pub use handle::{Disconnected, Handle};
#[cfg(feature = "cli")]
pub(crate) use handover::{
    HandedAsking, HandedExec, HandedHeld, HandedInit, HandedOutput, HandedOver, HandedRun,
    HandedSink, HandedSource, HandedStream, HandedSupervisor, HandedTail, TakenExecs,
};
pub use options::{CgroupMode, ExitNotification, Facts, Figures, LaunchWay, Options};
#[cfg(feature = "stats")]
pub use sampling::Measurement;
#[cfg(feature = "cli")]
pub(crate) use signals::ProcessSignals;
pub use store::{Counters, Kept, Note, Process, Store};
pub use watch::{Ready, WatchId};

use crate::engine::{Config, Engine, Input};
use crate::sys::child_signal::ChildSignal;
use crate::sys::spawn::{Spawner, SpawnerOptions};
use crate::sys::{cgroup, clock, faults, own_process};
use crate::vocabulary::limits::READINESS_PER_TURN;
use crate::vocabulary::{Deadlines, Event, ExecId, Mono, Now, Reply, TaskId, Ticket};
use adoption::Unadopted;
use descriptor_store::DescriptorStore;
use exec::Execs;
use exits::Sweep;
use groups::Groups;
use handle::Orders;
use init::LeftInits;
use kept_exits::KeptExits;
use mio::{Interest, Poll, Token, unix::SourceFd};
use orphans::Looks;
use output::{Relay, RelayOptions};
use room::Room;
use run::Runs;
#[cfg(feature = "stats")]
use sampling::Sampler;
use start::{Starts, files_until, scarce_from};
use std::cell::OnceCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use store::Keeping;
use token::Owner;
use turn::Health;
use watch::Watches;

/// The tasks of a host, in the host's own thread.
///
/// Nothing happens but in [`Supervisor::turn`] (and in `launch`, which tries to start at once): no
/// thread, no signal handler, no global state. Two supervisors in one process work.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use ostler::{EventKind, Options, Supervisor, TaskSpec};
/// let mut supervisor = Supervisor::new(Options::default())?;
/// let args = vec!["-c".into(), "exit 7".into()];
/// supervisor.launch(TaskSpec { args, ..TaskSpec::new("sh") })?;
/// let mut events = Vec::new();
/// while !events.iter().any(|event: &ostler::Event| event.kind == EventKind::Finished) {
///     supervisor.turn(None, &mut events)?;
/// }
/// let exit = events.last().and_then(|event| event.status.exit).ok_or("no exit")?;
/// assert_eq!(exit.status.exit_code(), 7);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Supervisor {
    options: Options,
    instance: String,
    poll: Poll,
    readiness: mio::Events,
    now: Now,
    engine: Engine,
    relay: Relay,
    spawner: Spawner,
    runs: Runs,
    room: Room,
    starts: Starts,
    execs: Execs,
    groups: Groups,
    child_signal: Option<ChildSignal>,
    /// Tasks whose main process has ended, or their init, as the loop tells.
    ended: VecDeque<TaskId>,
    sweep: Sweep,
    looks: Looks,
    left_inits: LeftInits,
    #[cfg(feature = "cli")]
    helper: Option<helper::Helper>,
    watches: Watches,
    orders: Orders,
    deadlines: Deadlines<Due>,
    /// What the kernel answered, for the engine.
    inputs: VecDeque<(TaskId, Input)>,
    events: Vec<Event>,
    replies: VecDeque<(Ticket, Reply)>,
    next_ticket: u64,
    /// Descriptors that this process may have.
    descriptor_limit: u64,
    /// Where the state is kept, if it is.
    keeping: Option<Keeping>,
    /// See [`Supervisor::is_resumed`].
    resumed: bool,
    /// What a keeper tells, where there is one.
    kept_exits: Option<KeptExits>,
    /// When descriptors are sent again that could not be stored.
    descriptors_due: Option<Mono>,
    /// What of earlier tasks could not be taken over yet.
    unadopted: Unadopted,
    relay_has_more: bool,
    #[cfg(feature = "stats")]
    sampler: Sampler,
    health: Health,
    /// By the stage of the groups.
    known_facts: [OnceCell<Facts>; 3],
}

/// What a deadline of the reactor's own is for.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// Look again at what is left of a run.
    Rest(TaskId),
    /// Look again at what is left of a command.
    ExecRest(ExecId),
    /// The looks that are wanted may be made.
    Look,
    /// Try again to remove a group.
    Group(token::Key),
    /// Look again for what the OOM killer has done.
    Oom(TaskId),
    /// Look for children whose signal was lost.
    Sweep,
    /// Try again to open the streams of an adopted task.
    Streams(TaskId),
    /// How an adopted process has ended is not waited for any longer.
    Status(TaskId),
    /// Try again to keep the state.
    Store,
    /// Try again to have descriptors stored.
    Descriptors,
    /// Look again at what a keeper tells.
    Keeper,
    /// Try again to remove v1 groups.
    LeftGroups,
}

impl Supervisor {
    /// Makes a supervisor without tasks.
    ///
    /// # Errors
    /// What the system refuses: descriptors, an epoll instance, a signalfd.
    pub fn new(options: Options) -> io::Result<Supervisor> {
        let mut supervisor = Supervisor::begin(
            options,
            Config {
                instance: new_instance(),
                seed: own_process::random_u64(),
                first_launch: 1,
                first_run: 1,
                first_event: 1,
            },
        )?;
        supervisor.relay.adoption_is_over();
        Ok(supervisor)
    }

    fn begin(mut options: Options, config: Config) -> io::Result<Supervisor> {
        options.check()?;
        // What it has passed is open for as long as it is needed, and no longer.
        let manager = std::mem::take(&mut options.manager);
        let spawner = Spawner::new(SpawnerOptions {
            own_process: options.own_process,
            always_copied: options.launch_way == LaunchWay::Copied,
        })?;
        let poll = Poll::new()?;
        let child_signal = match options.own_process {
            true => Some(take_children(&poll)?),
            false => None,
        };
        let descriptor_limit = own_process::descriptor_limit();
        let orders = Orders::new()?;
        register(&poll, orders.as_fd(), Owner::Control, Interest::READABLE)?;
        let relay_options = RelayOptions {
            scarce_from: RawFd::try_from(scarce_from(descriptor_limit)).ok(),
            files_until: RawFd::try_from(files_until(descriptor_limit)).unwrap_or(RawFd::MAX),
            state_dir: options.state_dir.clone(),
            refuse_inherit: options.refuse_inherit,
        };
        let store = DescriptorStore::new(&manager);
        let relay = Relay::new(poll.registry().try_clone()?, relay_options, store);
        let kept_exits = manager.exits.map(|pipe| KeptExits::new(&poll, &pipe)).transpose()?;
        let instance = config.instance.clone();
        let engine = Engine::new(config);
        let (mode, own_process) = (options.cgroup, options.own_process);
        let groups = Groups::new(mode, own_process, cgroup::mounted(), &instance);
        Ok(Supervisor {
            looks: Looks::new(options.own_process),
            options,
            instance,
            poll,
            readiness: mio::Events::with_capacity(READINESS_PER_TURN),
            now: clock::now(),
            engine,
            relay,
            spawner,
            runs: Runs::default(),
            room: Room::default(),
            starts: Starts::default(),
            execs: Execs::default(),
            groups,
            child_signal,
            ended: VecDeque::new(),
            sweep: Sweep::default(),
            left_inits: LeftInits::default(),
            #[cfg(feature = "cli")]
            helper: None,
            watches: Watches::default(),
            orders,
            deadlines: Deadlines::default(),
            inputs: VecDeque::new(),
            events: Vec::new(),
            replies: VecDeque::new(),
            next_ticket: 1,
            descriptor_limit,
            keeping: None,
            resumed: false,
            kept_exits,
            descriptors_due: None,
            unadopted: Unadopted::default(),
            relay_has_more: false,
            #[cfg(feature = "stats")]
            sampler: Sampler::default(),
            health: Health::default(),
            known_facts: Default::default(),
        })
    }

    fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }
}

/// Orphans become our children, and their ends are told.
fn take_children(poll: &Poll) -> io::Result<ChildSignal> {
    own_process::become_subreaper()?;
    let signal = ChildSignal::take()?;
    register(poll, signal.as_fd(), Owner::Sigchld, Interest::READABLE)?;
    Ok(signal)
}

impl AsFd for Supervisor {
    /// One descriptor that becomes readable when `turn` has something to do. Deadlines are not in
    /// it: see [`Supervisor::next_deadline`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        crate::sys::borrowed(&self.poll)
    }
}

/// The name of a new row of launches and events.
pub(crate) fn new_instance() -> String {
    format!("{:016x}", own_process::random_u64())
}

/// Takes a descriptor out again that stays open.
fn deregister(poll: &Poll, fd: BorrowedFd<'_>) -> io::Result<()> {
    poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))
}

/// Registers a descriptor, edge-triggered as everything in mio.
fn register(poll: &Poll, fd: BorrowedFd<'_>, owner: Owner, interest: Interest) -> io::Result<()> {
    faults::check("epoll_ctl")?;
    poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token::from(owner), interest)
}
