//! Scenes that chance plays too seldom: told one by one, and some with very many tasks.

use ostler::engine::{Action, Config, Engine, Input, Output};
use ostler::{
    Answer, Containment, EventKind, ExitStatus, IfExists, Mono, Now, Pid, Reply, Request,
    RequestError, Stage, StartError, StateName, StreamKind, TaskId, TaskSpec, Ticket, Wall, limits,
};
use std::time::Duration;

mod updates;

/// An engine whose kernel does what the scene says.
pub(crate) struct Scene {
    pub(crate) engine: Engine,
    now: Mono,
    next_ticket: u64,
    actions: Vec<(String, Action)>,
    replies: Vec<(Ticket, Reply)>,
    events: Vec<(String, EventKind)>,
}

impl Scene {
    pub(crate) fn new() -> Scene {
        let config = Config {
            instance: "i".to_owned(),
            seed: 0,
            first_launch: 1,
            first_run: 1,
            first_event: 1,
        };
        Scene {
            engine: Engine::new(config),
            now: Mono::default(),
            next_ticket: 1,
            actions: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: Wall::from_micros(self.now.as_nanos() / 1000) }
    }

    pub(crate) fn ask(&mut self, request: Request) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.engine.request(self.now(), ticket, request);
        self.drain();
        ticket
    }

    pub(crate) fn launch(&mut self, name: &str, after: &[&str]) -> Ticket {
        self.launch_spec(spec(name, after), IfExists::Fail)
    }

    pub(crate) fn launch_spec(&mut self, spec: TaskSpec, if_exists: IfExists) -> Ticket {
        let timeout = Duration::from_secs(3);
        self.ask(Request::Launch { spec: Box::new(spec), if_exists, timeout })
    }

    pub(crate) fn stop(&mut self, name: &str) -> Ticket {
        self.ask(Request::Stop { name: name.to_owned(), signal: None, grace: None })
    }

    pub(crate) fn restart(&mut self, name: &str) -> Ticket {
        self.ask(Request::Restart { name: name.to_owned(), signal: None, grace: None })
    }

    pub(crate) fn shutdown(&mut self, grace: Option<Duration>) -> Ticket {
        self.ask(Request::Shutdown { stop_tasks: true, grace })
    }

    pub(crate) fn tell(&mut self, name: &str, input: Input) {
        let task = self.id(name);
        self.engine.handle(self.now(), task, input);
        self.drain();
    }

    /// The run that is being made runs.
    pub(crate) fn runs(&mut self, name: &str) {
        let pid = Pid::new(7).expect("positive");
        self.tell(name, Input::Spawned { pid, containment: Containment::CgroupV2 });
        self.tell(name, Input::ExecSucceeded);
    }

    /// The run ends with all that it has.
    pub(crate) fn ends(&mut self, name: &str) {
        self.tell(name, Input::MainExited(ExitStatus::Exited(0)));
        self.tell(name, Input::Empty { oom_killed: None });
        self.tell(name, Input::OutputSettled { pending: false });
    }

    pub(crate) fn passes(&mut self, time: Duration) {
        self.now = self.now + time;
        self.engine.expire(self.now());
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.next_output() {
            match output {
                Output::Do(task, action) => self.actions.push((self.name(task), action)),
                Output::Exec(..) | Output::ExecEnded(_) => {}
                Output::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                Output::Event(event) => {
                    self.events.push((event.status.identity.name.to_string(), event.kind));
                }
            }
        }
    }

    fn name(&self, task: TaskId) -> String {
        self.engine.identity(task).map_or_else(String::new, |identity| identity.name.to_string())
    }

    fn id(&self, name: &str) -> TaskId {
        self.engine.find(name).expect("a task")
    }

    pub(crate) fn state(&self, name: &str) -> StateName {
        self.engine.status(self.id(name)).expect("a task").state
    }

    /// The answer, where there is one by now.
    pub(crate) fn reply(&self, ticket: Ticket) -> Option<&Reply> {
        self.replies.iter().find(|(of, _)| *of == ticket).map(|(_, reply)| reply)
    }

    pub(crate) fn error(&self, ticket: Ticket) -> RequestError {
        self.reply(ticket).expect("an answer").clone().expect_err("an error")
    }

    /// The actions since the last call, `Signal` without its parts.
    pub(crate) fn done(&mut self) -> Vec<String> {
        let kind = |action: Action| {
            let text = format!("{action:?}");
            text.split(' ').next().unwrap_or_default().to_owned()
        };
        self.actions.drain(..).map(|(name, action)| format!("{name} {}", kind(action))).collect()
    }
}

pub(crate) fn spec(name: &str, after: &[&str]) -> TaskSpec {
    let after = after.iter().map(ToString::to_string).collect();
    TaskSpec { name: Some(name.to_owned()), after, ..TaskSpec::new("x") }
}

fn failure() -> Input {
    Input::StartFailed(StartError {
        stage: Stage::Exec,
        errno: 2,
        errno_name: "ENOENT".to_owned(),
        message: "no such file".to_owned(),
        retry: false,
        time: Wall::default(),
    })
}

fn state_of(reply: Option<&Reply>) -> Option<StateName> {
    match reply {
        Some(Ok(Answer::Status(status))) => Some(status.state),
        _ => None,
    }
}

#[test]
fn a_launch_is_answered_when_it_runs() {
    let mut scene = Scene::new();
    let ticket = scene.launch("a", &[]);
    let same = scene.launch_spec(spec("a", &[]), IfExists::Same);
    assert_eq!((scene.reply(ticket), scene.reply(same)), (None, None));
    scene.runs("a");
    assert_eq!(state_of(scene.reply(ticket)), Some(StateName::Running));
    assert_eq!(state_of(scene.reply(same)), Some(StateName::Running));
    let same = scene.launch_spec(spec("a", &[]), IfExists::Same);
    assert_eq!(state_of(scene.reply(same)), Some(StateName::Running));
    let other = TaskSpec { stop_all: true, ..spec("a", &[]) };
    let other = scene.launch_spec(other, IfExists::Same);
    assert!(matches!(scene.error(other), RequestError::TaskExists { .. }));
    assert_eq!(scene.done(), ["a Spawn"]);
}

#[test]
fn a_launch_that_fails_leaves_nothing() {
    let mut scene = Scene::new();
    let ticket = scene.launch("a", &[]);
    let (wait, restart) = (
        scene.ask(Request::Wait { name: "a".to_owned(), id: None, timeout: None }),
        scene.restart("a"),
    );
    scene.tell("a", failure());
    assert!(matches!(scene.error(ticket), RequestError::LaunchFailed(_)));
    assert!(matches!(scene.error(restart), RequestError::LaunchFailed(_)));
    assert_eq!(state_of(scene.reply(wait)), Some(StateName::Exited));
    assert_eq!((scene.engine.len(), scene.engine.entries()), (0, 0));
    let kinds: Vec<EventKind> = scene.events.iter().map(|&(_, kind)| kind).collect();
    assert_eq!(kinds, [EventKind::Launched, EventKind::StartFailed, EventKind::Removed]);
    assert_eq!(scene.done(), ["a Spawn", " Forget"]);
}

#[test]
fn what_a_removal_loses_is_told_before_it() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    scene.ends("a");
    let (task, now) = (scene.id("a"), scene.now());
    let remove = Request::Remove { name: "a".to_owned(), force: false };
    scene.engine.request(now, Ticket(99), remove);
    assert_eq!(scene.engine.next_output(), Some(Output::Do(task, Action::Forget)));
    let lost = Input::OutputLost { stream: StreamKind::Stderr, bytes: Some(3) };
    scene.engine.handle(now, task, lost.clone());
    scene.drain();
    // Too late: nobody knows the task any more.
    scene.engine.handle(now, task, lost);
    scene.drain();
    let kinds: Vec<EventKind> = scene.events.iter().map(|&(_, kind)| kind).collect();
    assert_eq!(
        kinds[kinds.len() - 3..],
        [EventKind::Finished, EventKind::OutputLost, EventKind::Removed]
    );
    assert_eq!(scene.engine.sequence(), kinds.len() as u64);
}

#[test]
fn an_exec_that_takes_too_long_is_taken_back() {
    let mut scene = Scene::new();
    let ticket = scene.launch("a", &[]);
    scene.passes(Duration::from_millis(2999));
    assert_eq!(scene.done(), ["a Spawn"]);
    scene.passes(Duration::from_millis(1));
    assert_eq!(scene.done(), ["a AbortSpawn"]);
    assert_eq!(scene.reply(ticket), None, "something of it may be left");
    scene.tell("a", failure());
    match scene.error(ticket) {
        RequestError::LaunchFailed(error) => {
            assert_eq!((error.stage, error.retry), (Stage::Timeout, true));
            assert_eq!(error.time, scene.now().wall);
        }
        other => panic!("{other}"),
    }
    let ticket = scene.launch("a", &[]);
    scene.tell(
        "a",
        Input::Spawned { pid: Pid::new(7).expect("positive"), containment: Containment::Session },
    );
    scene.passes(Duration::from_secs(3));
    scene.tell("a", Input::MainExited(ExitStatus::Signaled(9)));
    assert_eq!(state_of(scene.reply(ticket)), Some(StateName::Running), "it had succeeded");
}

#[test]
fn what_comes_after_waits_for_the_first_run() {
    let mut scene = Scene::new();
    let unknown = scene.launch("b", &["a"]);
    match scene.error(unknown) {
        RequestError::InvalidTask(wrong) => assert_eq!(wrong.field, "after[0]"),
        other => panic!("{other}"),
    }
    let own = scene.launch("a", &["a"]);
    assert!(matches!(scene.error(own), RequestError::InvalidTask(_)));
    scene.launch("a", &[]);
    scene.launch("z", &[]);
    let later = scene.launch("b", &["a", "z", "a"]);
    assert_eq!(state_of(scene.reply(later)), Some(StateName::Pending));
    scene.runs("a");
    scene.ends("a");
    assert_eq!(scene.state("b"), StateName::Pending);
    scene.done();
    scene.runs("z");
    assert_eq!(scene.done(), ["b Spawn"]);
    scene.runs("b");
    scene.restart("a");
    assert_eq!(scene.done(), ["a Spawn"], "what has started is left alone");
}

#[test]
fn what_comes_after_nothing_does_not_start() {
    let mut scene = Scene::new();
    scene.launch("0", &[]);
    // Longer than a stack of calls could be.
    let last = 30_000;
    for number in 1..=last {
        scene.launch(&number.to_string(), &[&(number - 1).to_string()]);
    }
    scene.tell("0", failure());
    let status = scene.engine.status(scene.id(&last.to_string())).expect("remembered");
    assert!(status.state == StateName::Exited && status.gave_up);
    let error = status.error.expect("why");
    assert_eq!(error.message, "comes after \"29999\", which did not start");
    let ticket = scene.launch("x", &["7"]);
    assert!(matches!(scene.error(ticket), RequestError::LaunchFailed(_)));
    assert_eq!(scene.engine.len(), last);
}

#[test]
fn a_restart_that_is_stuck_starts_nothing_later() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    let restart = scene.restart("a");
    scene.tell("a", Input::MainExited(ExitStatus::Signaled(2)));
    scene.passes(limits::STUCK_AFTER);
    scene.tell("a", Input::Processes(Vec::new()));
    assert_eq!(scene.reply(restart), None, "none is seen: it may be over any moment");
    scene.passes(limits::STUCK_AFTER);
    scene.tell("a", Input::Processes(vec![Pid::new(8).expect("positive")]));
    assert!(matches!(scene.error(restart), RequestError::StillRunning { .. }));
    scene.tell("a", Input::Empty { oom_killed: None });
    scene.tell("a", Input::OutputSettled { pending: false });
    assert_eq!(scene.state("a"), StateName::Exited);
}

#[test]
fn a_stop_takes_a_restart_back() {
    let mut scene = Scene::new();
    scene.launch("a", &[]);
    scene.runs("a");
    let (restart, stop) = (scene.restart("a"), scene.stop("a"));
    scene.ends("a");
    assert_eq!(state_of(scene.reply(stop)), Some(StateName::Exited));
    let over = RequestError::NotRunning { name: "a".to_owned(), state: StateName::Exited };
    assert_eq!(scene.error(restart), over);
    let restart = scene.restart("a");
    scene.runs("a");
    assert_eq!(state_of(scene.reply(restart)), Some(StateName::Running));
    let (stop, restart) = (scene.stop("a"), scene.restart("a"));
    scene.ends("a");
    assert_eq!(state_of(scene.reply(stop)), Some(StateName::Pending), "nothing is left of the run");
    scene.tell("a", failure());
    assert!(matches!(scene.error(restart), RequestError::LaunchFailed(_)));
    assert_eq!(scene.state("a"), StateName::Exited);
}

#[test]
fn an_end_among_very_many_is_cheap() {
    // With a scan of all tasks for each end this would take minutes.
    let mut scene = Scene::new();
    scene.launch("first", &[]);
    let names: Vec<String> = (0..30_000).map(|number| format!("x-{number}")).collect();
    for name in &names {
        scene.launch_spec(TaskSpec { name: None, ..spec("", &["first"]) }, IfExists::Fail);
        assert!(scene.engine.find(name).is_some());
    }
    scene.runs("first");
    for name in &names {
        scene.runs(name);
    }
    let ticket = scene.shutdown(None);
    for name in &names {
        assert_eq!(scene.state("first"), StateName::Running);
        scene.ends(name);
    }
    assert_eq!(scene.state("first"), StateName::Stopping);
    scene.ends("first");
    assert_eq!(scene.reply(ticket), Some(&Ok(Answer::Done)));
}

#[test]
fn exited_tasks_are_bounded_and_none_is_forgotten() {
    let mut scene = Scene::new();
    scene.launch("first", &[]);
    for number in 0..limits::EXITED_TASKS_MAX {
        scene.launch(&format!("t{number}"), &["first"]);
        scene.stop(&format!("t{number}"));
    }
    let refused = scene.launch("new", &[]);
    assert!(matches!(scene.error(refused), RequestError::Limit { limit: "exited_tasks", .. }));
    assert_eq!(scene.engine.len(), limits::EXITED_TASKS_MAX + 1);
    let replaced = scene.launch_spec(spec("t7", &["first"]), IfExists::Replace);
    assert_eq!(state_of(scene.reply(replaced)), Some(StateName::Pending));
    scene.ask(Request::Remove { name: "t8".to_owned(), force: false });
    let taken = scene.launch("new", &["first"]);
    assert_eq!(state_of(scene.reply(taken)), Some(StateName::Pending));
}

#[test]
fn what_is_the_same_in_specs_is_kept_once() {
    let mut scene = Scene::new();
    for name in ["a", "other", "b"] {
        let alike = TaskSpec { args: vec![name.to_owned()], ..spec(name, &[]) };
        let spec = TaskSpec { stop_all: name == "other", ..alike };
        scene.launch_spec(spec, IfExists::Fail);
    }
    let identity = |name| scene.engine.identity(scene.id(name)).expect("a task");
    assert!(std::ptr::eq(identity("a").restart(), identity("b").restart()));
    assert!(!std::ptr::eq(identity("a").restart(), identity("other").restart()));
    for name in ["a", "other", "b"] {
        assert_eq!(identity(name).spec().args, [name]);
        assert_eq!(identity(name).spec().name, None);
    }
}
