//! What a host asks for.

use super::{Note, Supervisor, isolation};
use crate::sys::clock;
use crate::vocabulary::limits::{FDS_RESERVED, LAUNCH_TIMEOUT_DEFAULT};
use crate::vocabulary::{
    EventKind, Identity, IfExists, Reply, Request, RequestError, Resources, Signal, Sink, Status,
    StreamKind, TaskId, TaskSpec, Ticket,
};
use std::time::Duration;

impl Supervisor {
    /// Launches a task. Most starts are over when this returns; one that takes longer (an
    /// executable on a network file system) goes on in later turns, and its end is an event:
    /// `Started`, or `StartFailed` and `Removed`.
    ///
    /// # Errors
    /// Why nothing was started; nothing of it is left then.
    ///
    /// ```
    /// use ostler::{Options, RequestError, Supervisor, TaskSpec};
    /// let mut supervisor = Supervisor::new(Options::default()).unwrap();
    /// let error = supervisor.launch(TaskSpec::new("/no/such/command")).unwrap_err();
    /// assert!(matches!(error, RequestError::LaunchFailed(error) if error.errno_name == "ENOENT"));
    /// ```
    pub fn launch(&mut self, spec: TaskSpec) -> Result<TaskId, RequestError> {
        let ticket = self.submit(Request::Launch {
            spec: Box::new(spec),
            if_exists: IfExists::Fail,
            timeout: LAUNCH_TIMEOUT_DEFAULT,
        });
        let before = self.events.len();
        self.starts.refill();
        self.settle();
        let launched = self.events.iter().skip(before).find(|e| e.kind == EventKind::Launched);
        let launched = launched.and_then(|event| self.find(&event.status.identity.name));
        let reply = self.replies.iter().position(|(answered, _)| *answered == ticket);
        match reply.and_then(|index| self.replies.remove(index)) {
            Some((_, Err(error))) => Err(error),
            Some((_, Ok(_))) | None => {
                self.abandon(ticket);
                launched.ok_or(RequestError::ShuttingDown)
            }
        }
    }

    /// Stops a task: `signal` (default: its kill signal) to its main process, then after `grace`
    /// (default: its kill timeout), or once that has ended, SIGKILL to all that is left. No restart
    /// follows. Its end is the event `Finished`.
    ///
    /// # Errors
    /// When there is no such task.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{EventKind, Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// # let mut events: Vec<ostler::Event> = Vec::new();
    /// let args = vec!["60".into()];
    /// let task = supervisor.launch(TaskSpec { args, ..TaskSpec::new("sleep") })?;
    /// supervisor.stop(task, Some(ostler::Signal::TERM), None)?;
    /// while !events.iter().any(|event| event.kind == EventKind::Finished) {
    ///     supervisor.turn(None, &mut events)?;
    /// }
    /// let exit = supervisor.status(task).and_then(|status| status.exit).ok_or("no exit")?;
    /// assert_eq!(exit.status.exit_code(), 128 + 15);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop(
        &mut self,
        task: TaskId,
        signal: Option<Signal>,
        grace: Option<Duration>,
    ) -> Result<(), RequestError> {
        self.ask(task, |name| Request::Stop { name, signal, grace })
    }

    /// Stops a task and starts it again at once.
    ///
    /// # Errors
    /// When there is no such task.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{EventKind, Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// # let mut events: Vec<ostler::Event> = Vec::new();
    /// let args = vec!["60".into()];
    /// let task = supervisor.launch(TaskSpec { args, ..TaskSpec::new("sleep") })?;
    /// supervisor.restart(task)?;
    /// while events.iter().filter(|event| event.kind == EventKind::Started).count() < 2 {
    ///     supervisor.turn(None, &mut events)?;
    /// }
    /// supervisor.remove(task, true)?;
    /// # while supervisor.status(task).is_some() {
    /// #     supervisor.turn(None, &mut events)?;
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn restart(&mut self, task: TaskId) -> Result<(), RequestError> {
        self.ask(task, |name| Request::Restart { name, signal: None, grace: None })
    }

    /// Signals the main process of a task, or all its processes.
    ///
    /// # Errors
    /// When there is no such task, and what the kernel refuses where that is known at once.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{EventKind, Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// # let mut events: Vec<ostler::Event> = Vec::new();
    /// let args = vec!["60".into()];
    /// let task = supervisor.launch(TaskSpec { args, ..TaskSpec::new("sleep") })?;
    /// supervisor.signal(task, ostler::Signal::KILL, false)?;
    /// while !events.iter().any(|event| event.kind == EventKind::Finished) {
    ///     supervisor.turn(None, &mut events)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn signal(&mut self, task: TaskId, signal: Signal, all: bool) -> Result<(), RequestError> {
        self.ask(task, |name| Request::Signal { name, signal, all })
    }

    /// Changes limits of a task, all or none; what is absent stays. Holds over restarts.
    ///
    /// # Errors
    /// When there is no such task, when the system cannot enforce one of the limits, or when the
    /// kernel does not take it: then all are as before.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{Options, Resources, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// let task = supervisor.launch(TaskSpec::new("true"))?;
    /// supervisor.update(task, Resources { pids_max: Some(None), ..Resources::default() })?;
    /// let status = supervisor.status(task).ok_or("no task")?;
    /// let limits = status.identity.resources();
    /// assert_eq!(limits.and_then(|limits| limits.pids_max), Some(None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn update(&mut self, task: TaskId, resources: Resources) -> Result<(), RequestError> {
        self.ask(task, |name| Request::Update { name, resources: Box::new(resources) })
    }

    /// Forgets an exited task; `force` kills it first.
    ///
    /// # Errors
    /// When there is no such task, or it lives and `force` is not given.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{EventKind, Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// # let mut events: Vec<ostler::Event> = Vec::new();
    /// let args = vec!["60".into()];
    /// let task = supervisor.launch(TaskSpec { args, ..TaskSpec::new("sleep") })?;
    /// assert!(supervisor.remove(task, false).is_err());
    /// supervisor.remove(task, true)?;
    /// while supervisor.status(task).is_some() {
    ///     supervisor.turn(None, &mut events)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove(&mut self, task: TaskId, force: bool) -> Result<(), RequestError> {
        self.ask(task, |name| Request::Remove { name, force })
    }

    fn ask(
        &mut self,
        task: TaskId,
        request: impl FnOnce(String) -> Request,
    ) -> Result<(), RequestError> {
        let Some(identity) = self.engine.identity(task) else {
            return Err(RequestError::NoSuchTask { name: task.to_string() });
        };
        let name = identity.name.to_string();
        let ticket = self.submit(request(name));
        self.starts.refill();
        self.settle();
        let reply = self.replies.iter().position(|(answered, _)| *answered == ticket);
        match reply.and_then(|index| self.replies.remove(index)) {
            Some((_, reply)) => reply.map(drop),
            None => {
                self.abandon(ticket);
                Ok(())
            }
        }
    }

    /// Asks for something; exactly one reply with this ticket comes out of a later
    /// [`Supervisor::next_reply`], unless it is abandoned.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use ostler::{Options, Request, RequestError, Supervisor};
    /// let mut supervisor = Supervisor::new(Options::default())?;
    /// let name = "nobody".to_owned();
    /// let ticket = supervisor.submit(Request::Wait { name, id: None, timeout: None });
    /// supervisor.turn(None, &mut Vec::new())?;
    /// let (answered, reply) = supervisor.next_reply().ok_or("no reply")?;
    /// assert_eq!(answered, ticket);
    /// assert!(matches!(reply, Err(RequestError::NoSuchTask { .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&mut self, request: Request) -> Ticket {
        let ticket = self.new_ticket();
        self.submit_as(ticket, request);
        ticket
    }

    pub(super) fn new_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    pub(super) fn submit_as(&mut self, ticket: Ticket, request: Request) {
        self.now = clock::now();
        if matches!(request, Request::Shutdown { stop_tasks: true, .. }) {
            self.note(Note::Stopping);
        }
        match self.refusal(&request) {
            Some(error) => self.deliver(ticket, Err(error)),
            None => self.engine.request(self.now, ticket, request),
        }
    }

    /// What this supervisor cannot give, whatever the engine would say.
    fn refusal(&mut self, request: &Request) -> Option<RequestError> {
        let Request::Launch { spec, .. } = request else { return None };
        if let Err(invalid) = spec.validate() {
            return Some(RequestError::InvalidTask(invalid));
        }
        if let Some(isolation) = spec.isolation.as_deref()
            && let Some(error) =
                isolation::refusal(isolation, self.groups.can_restrict_devices(spec))
        {
            return Some(error);
        }
        if let Some(error) = spec.cgroup.as_deref().and_then(|cgroup| self.refuse_cgroup(cgroup)) {
            return Some(error);
        }
        let sinks = [("stdout", spec.stdout()), ("stderr", spec.stderr())];
        for (stream, sink) in sinks {
            if self.options.refuse_inherit && *sink == Sink::Inherit {
                return Some(RequestError::Unsupported {
                    feature: format!("{stream} inherit"),
                    reason: "standard output carries the protocol".to_owned(),
                });
            }
        }
        if let Some(resources) = &spec.resources
            && let Some(error) = self.refuse_limits(resources, spec.cgroup.as_deref())
        {
            return Some(error);
        }
        (!self.affords_descriptors(spec, false)).then(|| RequestError::Limit {
            limit: "descriptors",
            maximum: self.descriptor_limit,
            reason: format!(
                "relayed streams cost one or two descriptors each, a pid namespace one, and {} are \
                 kept free: raise the limit of open files, or use files without rotation, direct \
                 or discard",
                FDS_RESERVED.min(self.descriptor_limit / 4)
            ),
        })
    }

    /// The next answer to what was submitted.
    pub fn next_reply(&mut self) -> Option<(Ticket, Reply)> {
        self.replies.pop_front()
    }

    /// The asker does not wait any more: no reply comes. What was asked for goes on, but for a
    /// command in a task, which is killed.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.now = clock::now();
        self.engine.abandon(self.now, ticket);
        let known = self.replies.iter().position(|(answered, _)| *answered == ticket);
        if let Some((_, Ok(answer))) = known.and_then(|place| self.replies.remove(place)) {
            self.disown_exec(&answer);
        }
        self.settle();
    }

    /// The task of this name.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use ostler::{Options, Supervisor, TaskSpec};
    /// # let mut supervisor = Supervisor::new(Options::default())?;
    /// let name = Some("web".into());
    /// let task = supervisor.launch(TaskSpec { name, ..TaskSpec::new("true") })?;
    /// assert_eq!(supervisor.find("web"), Some(task));
    /// assert_eq!(supervisor.tasks().collect::<Vec<_>>(), [task]);
    /// let status = supervisor.status(task).ok_or("gone")?;
    /// assert_eq!(&*status.identity.name, "web");
    /// assert!(supervisor.launch_id(&status.identity).ends_with("-1"));
    /// assert!(supervisor.sequence() >= 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn find(&self, name: &str) -> Option<TaskId> {
        self.engine.find(name)
    }

    /// A task as it is now; `None` once it was removed.
    pub fn status(&self, task: TaskId) -> Option<Status> {
        self.engine.status(task)
    }

    /// The relayed streams of a task that no service manager stores: what is unread in their pipes
    /// is lost if the task ends while no supervisor lives. None without a state directory.
    pub fn not_stored(&self, task: TaskId) -> Vec<StreamKind> {
        self.relay.not_stored(task)
    }

    /// Notes that a task is one of the task file, which names it.
    #[cfg(feature = "cli")]
    pub(crate) fn declare(&mut self, task: TaskId) {
        self.engine.declare(task);
    }

    /// Every task that is remembered.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = TaskId> + '_ {
        self.engine.tasks()
    }

    /// Number of the last event.
    pub fn sequence(&self) -> u64 {
        self.engine.sequence()
    }

    /// The printed form of a launch's id.
    pub fn launch_id(&self, identity: &Identity) -> String {
        self.engine.launch_id(identity)
    }

    /// The group of a task's current run, absolute path, while it has one.
    pub fn cgroup_of(&self, status: &Status) -> Option<String> {
        match status.containment? {
            crate::vocabulary::Containment::CgroupV2 => {
                self.groups.path(&self.groups.leaf(&status.identity, status.run))
            }
            _ => None,
        }
    }
}
