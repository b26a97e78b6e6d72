//! From the flags of run and launch to the task that they describe.

use super::arguments::{LeftoverChoice, RestartChoice, TaskFlags};
use super::failure::UsageError;
use super::sink::parse_sink;
use crate::vocabulary::{Leftover, RestartMode, RestartPolicy, Setting, Sink, TaskSpec, cause};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Whose task it will be: the defaults differ.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Context {
    /// Of `ostler run`: what no flag sets stays as the caller has it.
    Run,
    /// Of a daemon: what no flag sets has the default of the protocol.
    Launch,
}

pub(crate) type Parsed<T> = Result<T, UsageError>;

pub(crate) fn refuse<T>(flag: &str, why: impl std::fmt::Display) -> Parsed<T> {
    Err(UsageError(format!("--{flag}: {why}")))
}

impl TaskFlags {
    /// The task that these flags and this command (with its arguments) describe. Relative paths
    /// become absolute by the current directory.
    pub(crate) fn into_spec(self, command: Vec<String>, context: Context) -> Parsed<TaskSpec> {
        let current = std::env::current_dir().map_err(|error| {
            UsageError(format!("find the current directory: {}", cause(&error)))
        })?;
        match current.to_str() {
            Some(current) => self.into_spec_at(current, command, context),
            None => Err(UsageError("the current directory's path is not UTF-8".to_owned())),
        }
    }

    fn into_spec_at(
        self,
        current: &str,
        command: Vec<String>,
        context: Context,
    ) -> Parsed<TaskSpec> {
        let running = context == Context::Run;
        let (stdout, stderr) = self.sinks(current, running)?;
        let mut words = command.into_iter();
        let command = words.next().unwrap_or_default();
        let isolation = self.isolation.to_isolation(current)?;
        // A directory inside another root is not one of the caller's.
        let rooted = isolation.root.is_some();
        let inside = |dir: &String| if rooted { dir.clone() } else { join(current, dir) };
        let work_dir = match &self.work_dir {
            Some(dir) => Some(inside(dir)),
            None => (running && !rooted).then(|| current.to_owned()),
        };
        let resources = self.resources.to_resources()?;
        let spec = TaskSpec {
            args: words.collect(),
            env: environment(&self.env_file, &self.env)?,
            inherit_env: self.inherit_env || running,
            task_dir: self.task_dir.as_ref().map(inside),
            work_dir,
            stdout,
            stderr,
            kill_signal: self.kill_signal,
            kill_timeout: self.kill_timeout,
            stop_all: self.stop_all,
            leftover: match self.leftover {
                None | Some(LeftoverChoice::Kill) => Leftover::Kill,
                Some(LeftoverChoice::Wait) => Leftover::Wait,
                Some(LeftoverChoice::Leave) => Leftover::Leave,
            },
            restart: self.restart_policy()?,
            resources: (!resources.is_empty()).then(|| Box::new(resources)),
            isolation: (!isolation.is_empty()).then(|| Box::new(isolation)),
            rlimits: pairs("rlimit", "NAME=SOFT[:HARD]", &self.rlimits)?,
            oom_score_adj: setting(self.oom_score_adj, running),
            nice: setting(self.nice, running),
            umask: setting(self.umask, running),
            auto_remove: self.auto_remove,
            labels: pairs("label", "KEY=VALUE", &self.labels)?,
            inherit_stdin: running,
            die_with_supervisor: running,
            name: self.name,
            user: self.user,
            cgroup: self.cgroup,
            ..TaskSpec::new(command)
        };
        spec.validate()?;
        Ok(spec)
    }

    fn sinks(&self, current: &str, running: bool) -> Parsed<(Option<Sink>, Option<Sink>)> {
        let read = |flag: &str, text: &Option<String>| match text {
            None => Ok(running.then_some(Sink::Inherit)),
            Some(text) => parse_sink(text, |path| join(current, path))
                .map(Some)
                .or_else(|why| refuse(flag, why)),
        };
        let stdout = read("stdout", &self.stdout)?;
        let stderr = match self.stderr.as_deref() {
            Some("stdout") if stdout == Some(Sink::Inherit) => {
                return refuse("stderr", "stdout is inherited, redirect it in the shell: 2>&1");
            }
            Some("stdout") => stdout.clone(),
            _ => read("stderr", &self.stderr)?,
        };
        Ok((stdout, stderr))
    }

    fn restart_policy(&self) -> Parsed<RestartPolicy> {
        let details = [
            ("restart-attempts", self.restart_attempts.is_some()),
            ("restart-interval", self.restart_interval.is_some()),
            ("restart-delay", self.restart_delay.is_some()),
            ("restart-max-delay", self.restart_max_delay.is_some()),
        ];
        let mode = match self.restart {
            None | Some(RestartChoice::Never) => RestartMode::Never,
            Some(RestartChoice::OnFailure) => RestartMode::OnFailure,
            Some(RestartChoice::Always) => RestartMode::Always,
        };
        if let (RestartMode::Never, Some((flag, _))) =
            (mode, details.iter().find(|(_, given)| *given))
        {
            return refuse(flag, "needs --restart on-failure or --restart always");
        }
        Ok(RestartPolicy {
            mode,
            // The parser lets -1 through as the only negative number.
            attempts: self.restart_attempts.map(|attempts| u32::try_from(attempts).ok()),
            interval: self.restart_interval,
            delay: self.restart_delay,
            max_delay: self.restart_max_delay,
        })
    }
}

fn setting<T>(value: Option<T>, running: bool) -> Setting<T> {
    match value {
        Some(value) => Setting::To(value),
        None if running => Setting::Inherit,
        None => Setting::Default,
    }
}

/// `path`, made absolute by `current`. An empty one, as of a variable that is not set, is not that
/// directory: it stays as it is, to be refused.
pub(crate) fn join(current: &str, path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    // Path::join keeps UTF-8 as it is.
    Path::new(current).join(path).to_string_lossy().into_owned()
}

/// `KEY=VALUE` texts as a map.
pub(crate) fn pairs(flag: &str, form: &str, texts: &[String]) -> Parsed<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for text in texts {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                map.insert(key.to_owned(), value.to_owned());
            }
            _ => return refuse(flag, format_args!("{text:?} is not {form}")),
        }
    }
    Ok(map)
}

/// The environment of files and flags: `KEY=VALUE`, or KEY alone for the caller's value, which is
/// left out where the caller has none.
pub(crate) fn environment(files: &[PathBuf], entries: &[String]) -> Parsed<Vec<String>> {
    let mut env = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|why| {
            UsageError(format!("--env-file: read {}: {}", file.display(), cause(&why)))
        })?;
        for (index, line) in text.lines().enumerate() {
            if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                let place = || format!("env-file: {} line {}", file.display(), index + 1);
                add_entry(&mut env, line.trim_start(), place)?;
            }
        }
    }
    for entry in entries {
        add_entry(&mut env, entry, || "env".to_owned())?;
    }
    Ok(env)
}

fn add_entry(env: &mut Vec<String>, entry: &str, place: impl Fn() -> String) -> Parsed<()> {
    match entry.split_once('=') {
        Some(("", _)) => refuse(&place(), format_args!("{entry:?} is not KEY=VALUE")),
        Some(_) => {
            env.push(entry.to_owned());
            Ok(())
        }
        None if entry.is_empty() || entry.contains(['\0', ' ']) => {
            refuse(&place(), format_args!("{entry:?} is neither KEY=VALUE nor KEY"))
        }
        None => match std::env::var(entry) {
            Ok(value) => {
                env.push(format!("{entry}={value}"));
                Ok(())
            }
            Err(std::env::VarError::NotPresent) => Ok(()),
            Err(error) => refuse(&place(), format_args!("{entry}: {error}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::{Arguments, Verb};
    use crate::vocabulary::{FileSink, Isolation, Mount, Propagation};
    use clap::Parser;

    fn spec(verb: &str, flags: &[&str]) -> Parsed<TaskSpec> {
        let words = ["ostler", verb].into_iter().chain(flags.iter().copied()).chain(["x", "-y"]);
        let arguments = Arguments::try_parse_from(words).expect("parsed");
        match arguments.verb {
            Verb::Run(run) => run.task.into_spec_at("/cwd", run.command, Context::Run),
            Verb::Launch(launch) => {
                launch.task.into_spec_at("/cwd", launch.command, Context::Launch)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_flags_launch_has_the_defaults_and_run_what_the_caller_has() {
        let launched = spec("launch", &[]).expect("a task");
        assert_eq!(launched, TaskSpec { args: vec!["-y".to_owned()], ..TaskSpec::new("x") });
        let run = spec("run", &[]).expect("a task");
        let expected = TaskSpec {
            args: vec!["-y".to_owned()],
            inherit_env: true,
            work_dir: Some("/cwd".to_owned()),
            stdout: Some(Sink::Inherit),
            stderr: Some(Sink::Inherit),
            oom_score_adj: Setting::Inherit,
            nice: Setting::Inherit,
            umask: Setting::Inherit,
            inherit_stdin: true,
            die_with_supervisor: true,
            ..TaskSpec::new("x")
        };
        assert_eq!(run, expected);
    }

    #[test]
    fn paths_of_the_caller_become_absolute_those_inside_a_root_do_not() {
        let flags = ["--work-dir", "w", "--task-dir", "../t", "--stdout", "file:log"];
        let task = spec("launch", &flags).expect("a task");
        assert_eq!(task.work_dir.as_deref(), Some("/cwd/w"));
        assert_eq!(task.task_dir.as_deref(), Some("/cwd/../t"));
        assert_eq!(task.stdout, Some(Sink::File(FileSink::new("/cwd/log"))));
        let flags = ["--root", "r", "--work-dir", "/w", "--mount", "a:/b:ro,slave"];
        let task = spec("run", &flags).expect("a task");
        assert_eq!(task.work_dir.as_deref(), Some("/w"));
        let mount = Mount {
            source: "/cwd/a".to_owned(),
            target: "/b".to_owned(),
            read_only: true,
            propagation: Propagation::Slave,
        };
        let isolation = Isolation {
            root: Some("/cwd/r".to_owned()),
            mounts: vec![mount],
            ..Isolation::default()
        };
        assert_eq!(task.isolation.as_deref(), Some(&isolation));
        assert_eq!(spec("run", &["--root", "r"]).expect("a task").work_dir, None);
        let flags = ["--root", "r", "--task-dir", "/t", "--landlock", "/usr:rx"];
        let task = spec("run", &flags).expect("a task");
        assert_eq!(task.task_dir.as_deref(), Some("/t"));
        for (flag, field) in [("--task-dir", "task_dir: "), ("--work-dir", "work_dir: ")] {
            let why = spec("run", &["--root", "r", flag, "x"]).expect_err("refused").to_string();
            assert!(why.starts_with(field), "{why}");
        }
        let why = spec("run", &["--root", "r", "--landlock", "x"]).expect_err("refused");
        assert!(why.to_string().starts_with("isolation.landlock[0].path: "), "{why}");
    }

    #[test]
    fn flags_that_cannot_be_are_named() {
        for (flags, says) in [
            (&["--name", "a b"][..], "name: "),
            (&["--env", "=x"], "--env: "),
            (&["--env-file", "/nonexistent"], "--env-file: read /nonexistent: "),
            (&["--label", "x"], "--label: "),
            (&["--rlimit", "nofile"], "--rlimit: "),
            (&["--rlimit", "files=1"], "rlimits.files: "),
            (&["--stderr", "file:"], "--stderr: "),
            (&["--restart-attempts", "1"], "--restart-attempts: needs --restart"),
            (&["--cpu-max", "fast"], "--cpu-max: "),
            (&["--cap", "none,KILL"], "--cap: "),
            (&["--mount", "/a"], "--mount: "),
            (&["--mount", "/a:/b:rx"], "--mount: "),
            (&["--device", "/a:/b:rwm:x"], "--device: "),
            (&["--nice", "-21"], "nice: "),
            (&["--root", ""], "isolation.root: "),
            (&["--mount", ":/b"], "isolation.mounts[0].source: "),
            (&["--device", ""], "isolation.devices[0].source: "),
            (&["--net", ""], "isolation.net: "),
            (&["--seccomp", ""], "isolation.seccomp: "),
            (&["--landlock", ""], "isolation.landlock[0].path: "),
            (&["--landlock", ":r"], "isolation.landlock[0].path: "),
            (&["--work-dir", ""], "work_dir: "),
            (&["--task-dir", ""], "task_dir: "),
        ] {
            let why = spec("launch", flags).expect_err("refused").to_string();
            assert!(why.starts_with(says), "{flags:?}: {why}");
        }
        let why = spec("run", &["--stderr", "stdout"]).expect_err("refused").to_string();
        assert!(why.contains("2>&1"), "{why}");
    }

    #[test]
    fn an_environment_is_that_of_the_file_then_that_of_the_flags() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "# comment\n\nA=1\n  B=x = y \nNOT_SET_ANYWHERE_7\n")
            .expect("w");
        let path = file.path().to_str().expect("UTF-8");
        let task = spec("launch", &["--env", "A=2", "--env-file", path, "--env", "PATH"]);
        let env = task.expect("a task").env;
        let from_caller = format!("PATH={}", std::env::var("PATH").expect("PATH"));
        assert_eq!(env, ["A=1", "B=x = y ", "A=2", &from_caller]);
        std::fs::write(file.path(), "A=1\nno pair\n").expect("written");
        let why = spec("launch", &["--env-file", path]).expect_err("refused").to_string();
        assert!(why.contains("line 2"), "{why}");
    }
}
