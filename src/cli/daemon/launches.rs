//! Tasks that wait for their launch, as text in one piece: whole specs would leave holes in the
//! memory, and what stays of each launch would lie between them for ever.

use super::declared::Fingerprint;
use super::told::{ToldTask, spec_of};
use crate::vocabulary::{InvalidField, TaskSpec};

/// Tasks in the order of their launches, each known by its number.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Launches {
    /// Of each its name, the line that tells its spec, and what it comes after.
    text: String,
    all: Vec<Waiting>,
}

#[derive(Debug, PartialEq)]
struct Waiting {
    print: Fingerprint,
    /// Where its text begins, and where the parts of it end.
    begin: usize,
    name_end: usize,
    spec_end: usize,
    end: usize,
}

/// Between names, which cannot have it in them.
const NEXT: char = '\n';

impl Launches {
    /// Adds the last one; `spec` is the line that tells its spec.
    pub(super) fn push(&mut self, task: &ToldTask, spec: &str) {
        let begin = self.text.len();
        self.text.push_str(&task.name);
        let name_end = self.text.len();
        self.text.push_str(spec);
        let spec_end = self.text.len();
        for earlier in &task.after {
            self.text.push_str(earlier);
            self.text.push(NEXT);
        }
        let end = self.text.len();
        self.all.push(Waiting { print: task.print, begin, name_end, spec_end, end });
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|one| self.part(one.begin, one.name_end))
    }

    pub(super) fn name(&self, number: usize) -> &str {
        self.all.get(number).map_or("", |one| self.part(one.begin, one.name_end))
    }

    /// That of the spec as the file has it.
    pub(super) fn print(&self, number: usize) -> Option<Fingerprint> {
        self.all.get(number).map(|one| one.print)
    }

    /// The spec, as it is to be launched.
    ///
    /// # Errors
    /// The line does not tell one.
    pub(super) fn spec(&self, number: usize) -> Result<TaskSpec, InvalidField> {
        let (line, after) = self.all.get(number).map_or(("", ""), |one| {
            (self.part(one.name_end, one.spec_end), self.part(one.spec_end, one.end))
        });
        let after = after.split_terminator(NEXT).map(str::to_owned).collect();
        Ok(TaskSpec { declared: true, ..spec_of(line, after)? })
    }

    fn part(&self, begin: usize, end: usize) -> &str {
        self.text.get(begin..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::daemon::told::told_spec;

    #[test]
    fn each_comes_back_as_it_was() {
        let specs = [
            TaskSpec { name: Some("a".into()), ..TaskSpec::new("/bin/a\n\"") },
            TaskSpec {
                name: Some("web".into()),
                after: vec!["a".into(), "b-1".into()],
                args: vec!["é\n".into()],
                ..TaskSpec::new("ü")
            },
            TaskSpec { after: vec!["a".into()], ..TaskSpec::new("nameless") },
        ];
        let mut launches = Launches::default();
        for spec in &specs {
            launches.push(&ToldTask::of(spec), &told_spec(spec));
        }
        assert_eq!(launches.len(), specs.len());
        assert_eq!(Vec::from_iter(launches.names()), ["a", "web", ""]);
        for (number, spec) in specs.into_iter().enumerate() {
            assert_eq!(launches.name(number), spec.name.as_deref().unwrap_or_default());
            assert_eq!(launches.print(number), Some(Fingerprint::of(&spec)));
            assert_eq!(launches.spec(number), Ok(TaskSpec { declared: true, ..spec }));
        }
        assert!(launches.spec(3).is_err() && launches.print(3).is_none());
        launches.push(&ToldTask::of(&TaskSpec::new("x")), "{\"command\":1}");
        assert_eq!(launches.spec(3).map_err(|wrong| wrong.field), Err("command".to_owned()));
    }
}
