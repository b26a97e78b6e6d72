//! One line of a journal: what it can say, in JSON.
//!
//! docs/state.md describes it. Fields are only ever added; a reader passes over those that it does
//! not know, and over lines of kinds that it does not know.

use super::state::StateLine;
use crate::control::wire::{Fields, ResourcesShape, TaskShape, decode_resources, task_from_json};
use crate::engine::{Attempts, Saved, State, Then};
use crate::reactor::Process;
use crate::vocabulary::{
    Identity, LaunchNumber, Mono, Pid, ProcessMark, Resources, Setting, TaskSpec, Wall,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What a line says.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Journal(Header),
    Task(Box<TaskLine>),
    State(Box<StateLine>),
    Process(ProcessLine),
    Removed(LaunchNumber),
    Tree(String),
    Sequence(u64),
    Stopping(bool),
}

/// The same, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Written<'a> {
    Journal(&'a Header),
    Task(&'a WrittenTask<'a>),
    State(&'a StateLine),
    Process(ProcessLine),
    Removed(LaunchNumber),
    Tree(&'a str),
    Sequence(u64),
    Stopping(bool),
}

/// The first line.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Header {
    /// Raised where an older reader would go wrong.
    pub(super) format: u32,
    /// Of the program that wrote it, for people.
    pub(super) version: String,
    pub(super) instance: String,
    pub(super) boot_id: String,
    pub(super) pid_namespace: u64,
    pub(super) next_launch: u64,
    pub(super) next_run: u64,
    pub(super) sequence: u64,
}

/// A launch, and where it stands.
#[derive(Deserialize, Debug)]
pub(super) struct TaskLine {
    name: String,
    created_us: u64,
    spec: Value,
    #[serde(default)]
    beyond: Beyond,
    #[serde(default)]
    launched: Option<Launched>,
    #[serde(default)]
    after: Vec<LaunchNumber>,
    state: StateLine,
}

/// What of its spec has been changed since its launch, as it was then.
#[derive(Deserialize, Debug)]
struct Launched {
    #[serde(default)]
    resources: Option<Value>,
}

/// See [`Launched`].
#[derive(Serialize)]
struct WrittenLaunched<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<ResourcesShape<'a>>,
}

/// See [`TaskLine`].
#[derive(Serialize)]
pub(super) struct WrittenTask<'a> {
    name: &'a str,
    created_us: u64,
    spec: TaskShape<'a>,
    #[serde(skip_serializing_if = "Beyond::is_empty")]
    beyond: Beyond,
    #[serde(skip_serializing_if = "Option::is_none")]
    launched: Option<WrittenLaunched<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    after: &'a [LaunchNumber],
    state: &'a StateLine,
}

/// What the protocol cannot say of a task.
#[derive(Serialize, Deserialize, PartialEq, Debug, Default)]
#[serde(default)]
struct Beyond {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inherit: Vec<String>,
    #[serde(skip_serializing_if = "is_false")]
    stdin: bool,
    #[serde(skip_serializing_if = "is_false")]
    foreground: bool,
    #[serde(skip_serializing_if = "is_false")]
    die_with_supervisor: bool,
    #[serde(skip_serializing_if = "is_false")]
    declared: bool,
}

/// The process of a run.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(super) struct ProcessLine {
    pub(super) launch: LaunchNumber,
    run: u64,
    pid: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<StartLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<InitLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
}

/// The init of a pid namespace.
#[derive(Serialize, Deserialize, Copy, Clone, PartialEq, Debug)]
struct InitLine {
    pid: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<StartLine>,
}

#[derive(Serialize, Deserialize, Copy, Clone, PartialEq, Debug)]
struct StartLine {
    ticks: u64,
    time_namespace: u64,
    pid_namespace: u64,
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

impl ProcessLine {
    pub(super) fn of(process: &Process) -> ProcessLine {
        let (inode, start) = parts(process.mark);
        let groups = process.groups.iter().filter_map(|path| path.to_str().map(str::to_owned));
        ProcessLine {
            launch: process.launch,
            run: process.run,
            pid: process.pid.number(),
            inode,
            start,
            init: process.init.map(|(pid, mark)| {
                let (inode, start) = parts(Some(mark));
                InitLine { pid: pid.number(), inode, start }
            }),
            owner: process.owner,
            groups: groups.collect(),
        }
    }

    pub(super) fn process(self) -> Option<Process> {
        Some(Process {
            launch: self.launch,
            run: self.run,
            pid: Pid::new(self.pid)?,
            mark: mark(self.inode, self.start),
            init: self
                .init
                .and_then(|init| Some((Pid::new(init.pid)?, mark(init.inode, init.start)?))),
            owner: self.owner,
            groups: self.groups.into_iter().map(Into::into).collect(),
        })
    }
}

fn parts(mark: Option<ProcessMark>) -> (Option<u64>, Option<StartLine>) {
    match mark {
        Some(ProcessMark::Inode(inode)) => (Some(inode), None),
        Some(ProcessMark::Start { ticks, time_namespace, pid_namespace }) => {
            (None, Some(StartLine { ticks, time_namespace, pid_namespace }))
        }
        None => (None, None),
    }
}

fn mark(inode: Option<u64>, start: Option<StartLine>) -> Option<ProcessMark> {
    let start = start.map(|start| ProcessMark::Start {
        ticks: start.ticks,
        time_namespace: start.time_namespace,
        pid_namespace: start.pid_namespace,
    });
    inode.map(ProcessMark::Inode).or(start)
}

impl Beyond {
    fn is_empty(&self) -> bool {
        *self == Beyond::default()
    }

    fn of(spec: &TaskSpec) -> Beyond {
        let inherits = [
            ("oom_score_adj", spec.oom_score_adj == Setting::Inherit),
            ("nice", spec.nice == Setting::Inherit),
            ("umask", spec.umask == Setting::Inherit),
        ];
        let inherit = inherits.into_iter().filter(|(_, set)| *set);
        Beyond {
            after: spec.after.clone(),
            inherit: inherit.map(|(name, _)| name.to_owned()).collect(),
            stdin: spec.inherit_stdin,
            foreground: spec.foreground,
            die_with_supervisor: spec.die_with_supervisor,
            declared: spec.declared,
        }
    }

    fn add_to(self, spec: &mut TaskSpec) {
        for name in self.inherit {
            match name.as_str() {
                "oom_score_adj" => spec.oom_score_adj = Setting::Inherit,
                "nice" => spec.nice = Setting::Inherit,
                "umask" => spec.umask = Setting::Inherit,
                _ => {}
            }
        }
        spec.after = self.after;
        spec.inherit_stdin = self.stdin;
        spec.foreground = self.foreground;
        spec.die_with_supervisor = self.die_with_supervisor;
        spec.declared = self.declared;
    }
}

impl Launched {
    /// The limits of its launch; none where they cannot be read.
    fn resources(self) -> Option<Resources> {
        let fields = Fields::of("resources", self.resources?);
        fields.and_then(decode_resources).ok()
    }
}

impl<'a> WrittenTask<'a> {
    /// `spec` is that of its identity.
    pub(super) fn of(
        saved: &'a Saved,
        spec: &'a TaskSpec,
        state: &'a StateLine,
    ) -> WrittenTask<'a> {
        let identity = &saved.identity;
        WrittenTask {
            name: &identity.name,
            created_us: identity.created.as_micros(),
            spec: TaskShape::of(spec),
            beyond: Beyond::of(spec),
            launched: identity
                .launched_with()
                .map(|first| WrittenLaunched { resources: first.map(ResourcesShape::of) }),
            after: &saved.after,
            state,
        }
    }
}

impl TaskLine {
    /// The task, or what is wrong with it.
    pub(super) fn saved(self) -> Result<Saved, String> {
        let mut spec =
            task_from_json(self.spec).map_err(|error| format!("task {:?}: {error}", self.name))?;
        self.beyond.add_to(&mut spec);
        spec.name = None;
        if !crate::vocabulary::valid_task_name(&self.name) {
            return Err(format!("task {:?}: not a name", self.name));
        }
        let created = Wall::from_micros(self.created_us);
        let identity = Identity::new(self.name.into_boxed_str(), self.state.launch, created, spec);
        let identity = match self.launched {
            Some(first) => identity.with_first_limits(first.resources()),
            None => identity,
        };
        let mut saved = Saved {
            identity: Arc::new(identity),
            after: self.after,
            state: State::Exited,
            deadline: None,
            then: Then::Policy,
            start_timeout: Duration::ZERO,
            run: 0,
            began: Mono::default(),
            started: None,
            restarts: 0,
            attempts: Attempts::default(),
            exit: None,
            error: None,
            containment: None,
            gave_up: false,
            output_pending: false,
            adopted: false,
        };
        if self.state.apply(&mut saved) {
            Ok(saved)
        } else {
            Err(format!("task {:?}: nothing can stand so", saved.identity.name))
        }
    }
}
