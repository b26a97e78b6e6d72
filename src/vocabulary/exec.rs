//! A command that is run in the context of a task.

use super::error::InvalidField;
use super::id::Pid;
use super::spec::TaskSpec;
use super::status::ExitStatus;
use std::fmt;
use std::time::Duration;

/// A command that was run in a task: a place in a table and the generation of that place, so that
/// the id of one that has ended never means another one.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ExecId {
    index: u32,
    generation: u32,
}

impl ExecId {
    /// The bits of a generation that count: with the place they fit the token of a descriptor.
    pub(crate) const GENERATION_MASK: u32 = (1 << 28) - 1;

    /// Made by the table of the engine only.
    pub(crate) fn new(index: u32, generation: u32) -> ExecId {
        ExecId { index, generation: generation & Self::GENERATION_MASK }
    }

    /// The place in the table.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    /// How often the place was used before.
    pub(crate) fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Display for ExecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A command to be run in the context of a task: its user, directory, environment, cgroup,
/// namespaces, privileges. What of its processes is left when its main one has ended is killed, and
/// the end of the task ends all of it.
///
/// ```
/// use ostler::ExecSpec;
/// let exec = ExecSpec { args: vec!["-s".into()], ..ExecSpec::new("uname") };
/// assert!(exec.validate().is_ok());
/// assert_eq!(ExecSpec::new("").validate().unwrap_err().field, "command");
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExecSpec {
    /// Found as that of the task would be, with its PATH and `task_dir`.
    pub command: String,
    /// Arguments after the resolved path.
    pub args: Vec<String>,
    /// `KEY=VALUE`, added to the task's own; later ones win.
    pub env: Vec<String>,
    /// Instead of the task's: `name`, `uid`, `name:group` or `uid:gid`.
    pub user: Option<String>,
    /// Instead of the task's, absolute.
    pub work_dir: Option<String>,
    /// All of it is killed after this time, its start included. Default: no limit.
    pub timeout: Option<Duration>,
    /// Where its streams go.
    pub streams: ExecStreams,
}

/// Where the streams of a command go.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum ExecStreams {
    /// Standard input is /dev/null; the last 64 KiB of each output come with the answer.
    #[default]
    Collected,
    /// Three pipes, whose other ends whoever asked takes.
    Pipes,
    /// A pseudo-terminal of this size, the controlling one of a session of its own, whose other
    /// side whoever asked takes.
    Terminal(WindowSize),
}

/// The size of a terminal in characters.
///
/// ```
/// assert_eq!(ostler::WindowSize::default(), ostler::WindowSize { rows: 24, columns: 80 });
/// ```
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

impl Default for WindowSize {
    /// That of a VT100.
    fn default() -> WindowSize {
        WindowSize { rows: 24, columns: 80 }
    }
}

/// The end of a command that was run in a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Executed {
    /// Which.
    pub exec: ExecId,
    /// Its main process.
    pub pid: Pid,
    /// How that ended.
    pub status: ExitStatus,
    /// It was killed because its time was over.
    pub timed_out: bool,
    /// The last 64 KiB of its standard output, where it was collected.
    pub stdout: Vec<u8>,
    /// The last 64 KiB of its standard error, where it was collected.
    pub stderr: Vec<u8>,
    /// There was more of one of them.
    pub truncated: bool,
}

impl ExecSpec {
    /// A command without arguments, everything else at its default.
    pub fn new(command: impl Into<String>) -> ExecSpec {
        ExecSpec { command: command.into(), ..ExecSpec::default() }
    }

    /// Refuses what can be run in no task, naming the field as the protocol does.
    ///
    /// # Errors
    /// The first field that is wrong, with what would be right.
    pub fn validate(&self) -> Result<(), InvalidField> {
        self.on(&TaskSpec::default()).validate()
    }

    /// The task with this command instead of its own.
    pub(crate) fn on(&self, task: &TaskSpec) -> TaskSpec {
        let mut spec = task.clone();
        spec.command.clone_from(&self.command);
        spec.args.clone_from(&self.args);
        spec.env.extend_from_slice(&self.env);
        if self.user.is_some() {
            spec.user.clone_from(&self.user);
        }
        if self.work_dir.is_some() {
            spec.work_dir.clone_from(&self.work_dir);
        }
        spec.inherit_stdin = false;
        spec.foreground = false;
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_exec_names_replaces_or_adds_to_what_the_task_has() {
        let task = TaskSpec {
            env: vec!["A=1".into(), "B=2".into()],
            user: Some("web".into()),
            work_dir: Some("/srv".into()),
            args: vec!["x".into()],
            umask: super::super::Setting::To(0o77),
            ..TaskSpec::new("server")
        };
        let plain = ExecSpec::new("ls").on(&task);
        assert_eq!((plain.command.as_str(), plain.args.len()), ("ls", 0));
        assert_eq!((&plain.env, &plain.user), (&task.env, &task.user));
        assert_eq!((&plain.work_dir, plain.umask), (&task.work_dir, task.umask));
        let exec = ExecSpec {
            env: vec!["B=3".into()],
            user: Some("0:0".into()),
            work_dir: Some("/".into()),
            ..ExecSpec::new("ls")
        };
        let other = exec.on(&task);
        assert_eq!(other.env, ["A=1", "B=2", "B=3"]);
        assert_eq!(other.user.as_deref(), Some("0:0"));
        assert_eq!(other.work_dir.as_deref(), Some("/"));
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        let field = |exec: ExecSpec| exec.validate().expect_err("refused").field;
        let ls = || ExecSpec::new("ls");
        assert_eq!(field(ExecSpec { args: vec!["\0".into()], ..ls() }), "args[0]");
        assert_eq!(field(ExecSpec { env: vec!["A=1".into(), "B".into()], ..ls() }), "env[1]");
        assert_eq!(field(ExecSpec { user: Some(String::new()), ..ls() }), "user");
        assert_eq!(field(ExecSpec { work_dir: Some("tmp".into()), ..ls() }), "work_dir");
    }
}
