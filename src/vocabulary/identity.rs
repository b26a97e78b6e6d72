//! What stays the same through the whole life of a launch, in little memory: tasks that are alike
//! share what is the same in their specs.

use super::id::LaunchNumber;
use super::resources::Resources;
use super::signal::Signal;
use super::sink::{Sink, StreamKind};
use super::spec::{Leftover, RestartPolicy, TaskSpec};
use super::time::Wall;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What stays the same through the whole life of a launch; shared by its status and events.
///
/// ```
/// use ostler::{Identity, TaskSpec, Wall};
/// let spec = TaskSpec { args: vec!["60".into()], ..TaskSpec::new("/bin/sleep") };
/// let identity = Identity::new("sleeper".into(), 1, Wall::default(), spec);
/// assert_eq!(identity.command(), "/bin/sleep");
/// assert_eq!(identity.spec().args, ["60"]);
/// ```
#[derive(PartialEq, Debug)]
pub struct Identity {
    /// The task's name, unique among the tasks that are remembered.
    pub name: Box<str>,
    /// The number of this launch.
    pub number: LaunchNumber,
    /// When it was asked for.
    pub created: Wall,
    /// With what is in `own` in place of the same there.
    common: Arc<TaskSpec>,
    own: Box<[Own]>,
    /// The limits that it was launched with, where they have been changed since.
    launched_with: Option<Box<Option<Resources>>>,
}

/// A field of a spec that differs between tasks that are otherwise alike, such as the instances
/// of one task.
#[derive(Clone, PartialEq, Debug)]
enum Own {
    Args(Vec<String>),
    Env(Vec<String>),
    TaskDir(Option<String>),
    WorkDir(Option<String>),
    Stdout(Option<Sink>),
    Stderr(Option<Sink>),
}

impl Identity {
    /// The identity of a launch that shares its spec with no other.
    pub fn new(name: Box<str>, number: LaunchNumber, created: Wall, spec: TaskSpec) -> Identity {
        let (common, own) = (Arc::new(spec), Box::default());
        Identity { name, number, created, common, own, launched_with: None }
    }

    /// The same with `common` in place of all that is in it as well; without what `spec` holds in
    /// reserve. `None` where they differ in more than what instances of one task differ in.
    pub(crate) fn like(&self, common: &Arc<TaskSpec>) -> Option<Identity> {
        let spec = self.spec();
        let own = differences(&spec, common)?;
        let (common, launched_with) = (Arc::clone(common), self.launched_with.clone());
        Some(Identity { common, own, launched_with, name: self.name.clone(), ..*self })
    }

    /// The same with other limits.
    pub(crate) fn with_resources(&self, resources: Box<Resources>) -> Identity {
        let spec = TaskSpec { resources: Some(resources), ..(*self.common).clone() };
        let (common, own) = (Arc::new(spec), self.own.clone());
        let first = || Box::new(self.common.resources.as_deref().cloned());
        let launched_with = Some(self.launched_with.clone().unwrap_or_else(first));
        Identity { common, own, launched_with, name: self.name.clone(), ..*self }
    }

    /// The limits that it was launched with, where they have been changed since.
    #[cfg(feature = "control")]
    pub(crate) fn launched_with(&self) -> Option<Option<&Resources>> {
        self.launched_with.as_deref().map(Option::as_ref)
    }

    /// The same, launched with other limits than it has now.
    #[cfg(feature = "control")]
    pub(crate) fn with_first_limits(self, resources: Option<Resources>) -> Identity {
        Identity { launched_with: Some(Box::new(resources)), ..self }
    }

    /// What to run and how as it was launched.
    pub(crate) fn launched_spec(&self) -> TaskSpec {
        let spec = self.spec().into_owned();
        match &self.launched_with {
            Some(first) => TaskSpec { resources: (**first).clone().map(Box::new), ..spec },
            None => spec,
        }
    }

    /// Whether this is what was launched, or what has become of it by other limits; by whomever.
    pub(crate) fn is_as(&self, spec: &TaskSpec) -> bool {
        let is = |own: TaskSpec| TaskSpec { declared: spec.declared, ..own } == *spec;
        is(self.launched_spec()) || self.launched_with.is_some() && is(self.spec().into_owned())
    }

    /// The same as one that came from the daemon's task file.
    #[cfg(feature = "cli")]
    pub(crate) fn as_declared(&self) -> Identity {
        let common = Arc::new(TaskSpec { declared: true, ..(*self.common).clone() });
        let (own, launched_with) = (self.own.clone(), self.launched_with.clone());
        Identity { common, own, launched_with, name: self.name.clone(), ..*self }
    }

    /// The same with a stream that goes elsewhere.
    #[cfg(feature = "cli")]
    pub(crate) fn with_sink(&self, stream: StreamKind, sink: Sink) -> Identity {
        let mut spec = self.spec().into_owned();
        match stream {
            StreamKind::Stdout => spec.stdout = Some(sink),
            StreamKind::Stderr => spec.stderr = Some(sink),
        }
        Identity::new(self.name.clone(), self.number, self.created, spec)
    }

    /// What this launch may share with others that are alike.
    pub(crate) fn common(&self) -> &Arc<TaskSpec> {
        &self.common
    }

    /// What to run and how; its `name` is not used. Put together here where the task shares its
    /// spec with others: where one of the fields below is enough, that costs nothing.
    pub fn spec(&self) -> Cow<'_, TaskSpec> {
        if self.own.is_empty() {
            return Cow::Borrowed(&self.common);
        }
        let mut spec = (*self.common).clone();
        for own in self.own.iter().cloned() {
            match own {
                Own::Args(args) => spec.args = args,
                Own::Env(env) => spec.env = env,
                Own::TaskDir(task_dir) => spec.task_dir = task_dir,
                Own::WorkDir(work_dir) => spec.work_dir = work_dir,
                Own::Stdout(stdout) => spec.stdout = stdout,
                Own::Stderr(stderr) => spec.stderr = stderr,
            }
        }
        Cow::Owned(spec)
    }

    /// What is run.
    pub fn command(&self) -> &str {
        &self.common.command
    }

    /// Whether it is started again.
    pub fn restart(&self) -> &RestartPolicy {
        &self.common.restart
    }

    /// What becomes of its other processes when the main one has ended.
    pub fn leftover(&self) -> Leftover {
        self.common.leftover
    }

    /// Whether it is forgotten once it has exited for good.
    pub fn auto_remove(&self) -> bool {
        self.common.auto_remove
    }

    /// Whether the kill signal goes to every process of it.
    pub fn stop_all(&self) -> bool {
        self.common.stop_all
    }

    /// The effective kill signal.
    pub fn kill_signal(&self) -> Signal {
        self.common.kill_signal()
    }

    /// The effective grace between the kill signal and the kill.
    pub fn kill_timeout(&self) -> Duration {
        self.common.kill_timeout()
    }

    /// What its user has written on it.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.common.labels
    }

    /// Its limits.
    pub fn resources(&self) -> Option<&Resources> {
        self.common.resources.as_deref()
    }

    /// The group of its user's in which its own is made.
    pub fn cgroup(&self) -> Option<&str> {
        self.common.cgroup.as_deref()
    }

    /// The task's home.
    pub fn task_dir(&self) -> Option<&str> {
        let own = self.own.iter().find_map(|own| match own {
            Own::TaskDir(task_dir) => Some(task_dir),
            _ => None,
        });
        own.unwrap_or(&self.common.task_dir).as_deref()
    }

    /// Where a stream of it goes.
    pub fn sink(&self, stream: StreamKind) -> &Sink {
        let own = self.own.iter().find_map(|own| match (stream, own) {
            (StreamKind::Stdout, Own::Stdout(sink)) | (StreamKind::Stderr, Own::Stderr(sink)) => {
                Some(sink)
            }
            _ => None,
        });
        let sink = own.unwrap_or(match stream {
            StreamKind::Stdout => &self.common.stdout,
            StreamKind::Stderr => &self.common.stderr,
        });
        sink.as_ref().unwrap_or(&Sink::Discard)
    }
}

/// What of `spec` is other than in `common`, if that is nothing but what may be its own.
fn differences(spec: &TaskSpec, common: &TaskSpec) -> Option<Box<[Own]>> {
    if !is_alike(spec, common) {
        return None;
    }
    let mut own = Vec::new();
    if spec.args != common.args {
        own.push(Own::Args(spec.args.clone()));
    }
    if spec.env != common.env {
        own.push(Own::Env(spec.env.clone()));
    }
    if spec.task_dir != common.task_dir {
        own.push(Own::TaskDir(spec.task_dir.clone()));
    }
    if spec.work_dir != common.work_dir {
        own.push(Own::WorkDir(spec.work_dir.clone()));
    }
    if spec.stdout != common.stdout {
        own.push(Own::Stdout(spec.stdout.clone()));
    }
    if spec.stderr != common.stderr {
        own.push(Own::Stderr(spec.stderr.clone()));
    }
    Some(own.into_boxed_slice())
}

/// Whether all is the same but what may be the task's own. Every field is named, so that a new one
/// does not compile until it stands here.
fn is_alike(spec: &TaskSpec, other: &TaskSpec) -> bool {
    let TaskSpec {
        name,
        command,
        args: _,
        env: _,
        inherit_env,
        user,
        task_dir: _,
        work_dir: _,
        stdout: _,
        stderr: _,
        kill_signal,
        kill_timeout,
        stop_all,
        leftover,
        restart,
        resources,
        cgroup,
        isolation,
        rlimits,
        oom_score_adj,
        nice,
        umask,
        auto_remove,
        labels,
        after,
        inherit_stdin,
        foreground,
        die_with_supervisor,
        declared,
    } = spec;
    *name == other.name
        && *command == other.command
        && *inherit_env == other.inherit_env
        && *user == other.user
        && *kill_signal == other.kill_signal
        && *kill_timeout == other.kill_timeout
        && *stop_all == other.stop_all
        && *leftover == other.leftover
        && *restart == other.restart
        && *resources == other.resources
        && *cgroup == other.cgroup
        && *isolation == other.isolation
        && *rlimits == other.rlimits
        && *oom_score_adj == other.oom_score_adj
        && *nice == other.nice
        && *umask == other.umask
        && *auto_remove == other.auto_remove
        && *labels == other.labels
        && *after == other.after
        && *inherit_stdin == other.inherit_stdin
        && *foreground == other.foreground
        && *die_with_supervisor == other.die_with_supervisor
        && *declared == other.declared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::FileSink;

    fn identity(spec: TaskSpec) -> Identity {
        Identity::new("x".into(), 1, Wall::default(), spec)
    }

    fn file(path: &str) -> Option<Sink> {
        Some(Sink::File(FileSink::new(path)))
    }

    #[test]
    fn what_is_alike_is_shared_and_nothing_is_lost() {
        let first = TaskSpec {
            args: vec!["0".into()],
            stdout: file("/log/0"),
            task_dir: Some("/srv/0".into()),
            ..TaskSpec::new("web")
        };
        let changes: [fn(&mut TaskSpec); 7] = [
            |_| {},
            |spec| spec.args = vec!["1".into(), "2".into()],
            |spec| spec.env = vec!["A=1".into()],
            |spec| spec.task_dir = None,
            |spec| spec.work_dir = Some("/".into()),
            |spec| spec.stdout = None,
            |spec| spec.stderr = file("/log/1.err"),
        ];
        let common = Arc::new(first.clone());
        for change in changes {
            let mut spec = first.clone();
            change(&mut spec);
            let shared = identity(spec.clone()).like(&common).expect("alike");
            assert!(Arc::ptr_eq(shared.common(), &common));
            assert_eq!(*shared.spec(), spec);
            assert_eq!(shared.task_dir(), spec.task_dir.as_deref());
            assert_eq!(shared.sink(StreamKind::Stdout), spec.stdout());
            assert_eq!(shared.sink(StreamKind::Stderr), spec.stderr());
            let limited = shared.with_resources(Box::default());
            assert_eq!(
                *limited.spec(),
                TaskSpec { resources: Some(Box::default()), ..spec.clone() }
            );
            #[cfg(feature = "cli")]
            assert_eq!(limited.with_resources(Box::default()).launched_spec(), spec);
        }
    }

    #[test]
    fn what_differs_in_anything_else_is_not_shared() {
        let common = Arc::new(TaskSpec::new("web"));
        for spec in [
            TaskSpec::new("db"),
            TaskSpec { auto_remove: true, ..TaskSpec::new("web") },
            TaskSpec { user: Some("www-data".into()), ..TaskSpec::new("web") },
            TaskSpec { after: vec!["db".into()], ..TaskSpec::new("web") },
        ] {
            assert_eq!(identity(spec).like(&common), None);
        }
    }
}
