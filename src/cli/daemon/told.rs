//! A task file as another process of this program tells it: to parse ten thousand tasks takes
//! longer than a turn of the daemon's loop may.

use super::declared::Fingerprint;
use crate::cli::task_file;
use crate::control::{task_from_json, task_to_json};
use crate::vocabulary::{InvalidField, TaskSpec, cause};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// One line of what is told, as JSON.
#[derive(Serialize, Deserialize, PartialEq, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A task; its spec is a line of its own behind it, which need not be read.
    Task(ToldTask),
    /// What is hardly meant.
    Warning(String),
    /// What cannot be: no task follows.
    Problem(ToldProblem),
    /// All was told.
    End,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub(super) struct ToldTask {
    pub(super) name: String,
    /// Of the spec as the file has it.
    pub(super) print: Fingerprint,
    pub(super) after: Vec<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Debug)]
pub(super) struct ToldProblem {
    pub(super) text: String,
    pub(super) field: String,
    pub(super) reason: String,
    pub(super) line: Option<u64>,
}

impl ToldTask {
    pub(super) fn of(spec: &TaskSpec) -> ToldTask {
        ToldTask {
            name: spec.name.clone().unwrap_or_default(),
            print: Fingerprint::of(spec),
            after: spec.after.clone(),
        }
    }
}

/// The line of a spec: without `after`, which the line before it has.
pub(super) fn told_spec(spec: &TaskSpec) -> String {
    task_to_json(spec).to_string()
}

/// The spec that a line tells.
pub(super) fn spec_of(line: &str, after: Vec<String>) -> Result<TaskSpec, InvalidField> {
    let json: Value = serde_json::from_str(line)
        .map_err(|error| InvalidField { field: String::new(), reason: error.to_string() })?;
    Ok(TaskSpec { after, ..task_from_json(json)? })
}

/// Tells a file on standard output.
///
/// # Errors
/// Nobody listens.
pub(crate) fn tell_tasks(path: &Path) -> Result<(), String> {
    let mut out = BufWriter::new(io::stdout().lock());
    let told = tell(path, &mut out).and_then(|()| out.flush());
    told.map_err(|error| format!("tell the tasks: {}", cause(&error)))
}

fn tell(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut line = |line: &dyn Display| writeln!(out, "{line}");
    let json = |line: Line| serde_json::to_value(line).map_err(io::Error::other);
    match task_file::load(path) {
        Err(problems) => {
            for problem in problems {
                line(&json(Line::Problem(ToldProblem {
                    text: problem.to_string(),
                    line: problem.place.as_ref().map(|place| place.line as u64),
                    field: problem.field,
                    reason: problem.reason,
                }))?)?;
            }
        }
        Ok(file) => {
            for warning in file.warnings {
                line(&json(Line::Warning(warning.to_string()))?)?;
            }
            for spec in file.tasks {
                line(&json(Line::Task(ToldTask::of(&spec)))?)?;
                line(&told_spec(&spec))?;
            }
        }
    }
    line(&json(Line::End)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (tempfile::TempDir, Vec<Vec<u8>>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        tell(&path, &mut out).unwrap();
        let lines = out.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n');
        let lines = lines.map(<[u8]>::to_vec).collect();
        (directory, lines)
    }

    fn line(text: &[u8]) -> Line {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn every_task_is_told_as_the_file_has_it() {
        let text = "\
[defaults]
env = [\"A=1\\n2\"]
[task.db]
command = \"/bin/db\"
restart = { mode = \"on_failure\", attempts = 3 }
stdout = { kind = \"file\", path = \"db.out\", max_size = \"1MiB\" }
[task.web]
command = \"/bin/web\"
args = [\"{index}\"]
count = 2
after = [\"db\"]
nice = 3
umask = \"027\"
";
        let (directory, lines) = told(text);
        let file = task_file::load(&directory.path().join("t.toml")).unwrap();
        assert_eq!(file.tasks.len(), 3);
        let mut rest = lines.iter();
        for spec in &file.tasks {
            let Line::Task(task) = line(rest.next().unwrap()) else { panic!("no task") };
            assert_eq!(task.print, Fingerprint::of(spec));
            assert_eq!(Some(&task.name), spec.name.as_ref());
            let told = str::from_utf8(rest.next().unwrap()).unwrap();
            assert_eq!(spec_of(told, task.after).as_ref(), Ok(spec));
        }
        assert_eq!(line(rest.next().unwrap()), Line::End);
        assert_eq!(rest.next(), None);
    }

    #[test]
    fn what_cannot_be_and_what_is_hardly_meant_is_told() {
        let (_directory, lines) = told("[task.a]\ncommand = 1\n");
        let Line::Problem(problem) = line(&lines[0]) else { panic!("no problem") };
        assert_eq!((problem.field.as_str(), problem.line), ("task.a.command", Some(2)));
        assert!(problem.text.contains("t.toml:2:"), "{}", problem.text);
        assert_eq!(lines.last().map(|last| line(last)), Some(Line::End));
        let (_directory, lines) = told("[task.a]\ncommand = \"sleep\"\n");
        assert!(matches!(line(&lines[0]), Line::Warning(text) if text.contains("PATH")));
    }
}
