//! A supervisor in a process of its own kind, and what tests wait for.

#![allow(unsafe_code)]

use ostler::{
    Answer, CgroupMode, Event, ExitNotification, IfExists, LaunchWay, Options, Reply, Request,
    RequestError, StateName, Status, Supervisor, TaskId, TaskSpec,
};
use std::time::{Duration, Instant};

/// Longer than anything takes on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const GLANCE: Duration = Duration::from_millis(5);

pub(crate) struct Fixture {
    pub(crate) supervisor: Supervisor,
    pub(crate) events: Vec<Event>,
}

/// A shell with a script.
pub(crate) fn sh(script: &str) -> TaskSpec {
    TaskSpec { args: vec!["-c".into(), script.into()], ..TaskSpec::new("/bin/sh") }
}

pub(crate) fn named(name: &str, spec: TaskSpec) -> TaskSpec {
    TaskSpec { name: Some(name.into()), ..spec }
}

/// Every way a guest can be set up.
pub(crate) fn guests() -> Vec<Options> {
    let mut all = Vec::new();
    for cgroup in [CgroupMode::Auto, CgroupMode::Never] {
        for launch_way in [LaunchWay::Auto, LaunchWay::Copied] {
            all.push(Options { cgroup, launch_way, ..Options::default() });
        }
    }
    all
}

/// Every way a process of its own can be set up. Each needs a process of its own: see `alone`.
pub(crate) fn owners() -> Vec<Options> {
    let mut all = Vec::new();
    for options in guests() {
        for exit_notification in [ExitNotification::Pidfd, ExitNotification::Sigchld] {
            all.push(Options { own_process: true, exit_notification, ..options.clone() });
        }
    }
    all
}

/// Runs a test in a child process of its own for each way to set up an owner: SIGCHLD is blocked
/// for one thread, but sent to a whole process.
pub(crate) fn alone(test: impl Fn(Fixture)) {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    // What the harness captures of a child is never shown. Not in the child: another thread may
    // hold the lock of the hook at the fork.
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = format!("{panic}\n");
            let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
        }));
    });
    for options in owners() {
        let told = format!("{options:?}");
        // SAFETY: the child goes on with this thread alone and ends by _exit. The locks that other
        // threads may hold are those of the allocator, which glibc takes care of at a fork, and of
        // the test harness's output, which the child does not use.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    test(Fixture::new(options));
                }));
                if let Err(panic) = &outcome {
                    // What the harness captures of a child is never shown.
                    let text = panic.downcast_ref::<String>().map_or("panicked", String::as_str);
                    let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
                }
                // SAFETY: ends the child without running what belongs to the parent.
                unsafe { nix::libc::_exit(i32::from(outcome.is_err())) }
            }
            ForkResult::Parent { child } => {
                let status = waitpid(child, None).unwrap();
                assert_eq!(status, WaitStatus::Exited(child, 0), "with {told}");
            }
        }
    }
}

/// No task outlives its test.
impl Drop for Fixture {
    fn drop(&mut self) {
        let tasks: Vec<TaskId> = self.supervisor.tasks().collect();
        for &task in &tasks {
            // One that has exited cannot be stopped.
            let _ = self.supervisor.stop(task, None, Some(Duration::ZERO));
        }
        let start = Instant::now();
        let runs = |supervisor: &Supervisor, task| {
            supervisor.status(task).is_some_and(|status| status.state != StateName::Exited)
        };
        let lives = |supervisor: &Supervisor| tasks.iter().any(|&task| runs(supervisor, task));
        while lives(&self.supervisor) && start.elapsed() < PATIENCE {
            let Ok(_) = self.supervisor.turn(Some(GLANCE), &mut self.events) else { return };
        }
    }
}

impl Fixture {
    pub(crate) fn new(options: Options) -> Fixture {
        Fixture { supervisor: Supervisor::new(options).unwrap(), events: Vec::new() }
    }

    /// Launches a task and waits until it has run.
    #[track_caller]
    pub(crate) fn launch(&mut self, spec: TaskSpec) -> TaskId {
        let task = self.supervisor.launch(spec).unwrap();
        self.until(|fixture| {
            let status = fixture.supervisor.status(task);
            let status = status.unwrap_or_else(|| panic!("{:?}", fixture.events));
            (status.state != StateName::Pending).then_some(task)
        })
    }

    /// Turns the loop until `done` says what was waited for.
    #[track_caller]
    pub(crate) fn until<T>(&mut self, mut done: impl FnMut(&mut Fixture) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = done(self) {
                return found;
            }
            let left = PATIENCE.checked_sub(start.elapsed());
            assert!(left.is_some(), "nothing came; events: {:#?}", self.told());
            // Some of what is waited for happens outside of the loop.
            self.supervisor.turn(Some(GLANCE), &mut self.events).unwrap();
        }
    }

    /// Asks, and turns the loop until the answer comes.
    #[track_caller]
    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        let ticket = self.supervisor.submit(request);
        self.until(|fixture| {
            while let Some((answered, reply)) = fixture.supervisor.next_reply() {
                if answered == ticket {
                    return Some(reply);
                }
            }
            None
        })
    }

    #[track_caller]
    pub(crate) fn status(&mut self, request: Request) -> Status {
        match self.ask(request).unwrap() {
            Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn wait(&mut self, name: &str) -> Status {
        self.status(Request::Wait { name: name.into(), id: None, timeout: None })
    }

    #[track_caller]
    pub(crate) fn stop(&mut self, name: &str, grace: Duration) -> Status {
        self.status(Request::Stop { name: name.into(), signal: None, grace: Some(grace) })
    }

    pub(crate) fn told(&self) -> Vec<String> {
        let line = |event: &Event| {
            format!("{} {} {:?}", event.status.identity.name, event.kind.as_str(), event.detail)
        };
        self.events.iter().map(line).collect()
    }
}

pub(crate) fn launch_request(spec: TaskSpec) -> Request {
    Request::Launch { spec: Box::new(spec), if_exists: IfExists::Fail, timeout: PATIENCE }
}

#[track_caller]
pub(crate) fn start_error(error: RequestError) -> std::sync::Arc<ostler::StartError> {
    match error {
        RequestError::LaunchFailed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Whether a process is there and no zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Turns the loop until a file holds a line, and hands that out.
#[track_caller]
pub(crate) fn line_of(fixture: &mut Fixture, path: &std::path::Path) -> String {
    fixture.until(|_| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_once('\n').map(|(line, _)| line.to_owned())
    })
}
