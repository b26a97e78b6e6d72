//! Many sleeping tasks at once, of the supervisor's or bare.

use super::bare::{Child, Command, Groups};
use super::programs::{self, Program};
use super::{Outcome, turn_until};
use ostler::{EventKind, FileSink, Sink, Supervisor, TaskId, TaskSpec};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many launches the ends of a crowd are measured on.
pub(crate) const EDGE: usize = 100;

/// Where the output of the tasks goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    Discarded,
    /// Both streams into one rotated file.
    OneFile,
    /// A rotated file for each stream.
    TwoFiles,
}

impl Output {
    pub(crate) const ALL: [(Output, &str); 3] = [
        (Output::Discarded, "discarded"),
        (Output::OneFile, "one file"),
        (Output::TwoFiles, "two files"),
    ];

    fn sinks(self, directory: &Path, number: usize) -> (Option<Sink>, Option<Sink>) {
        let file = |end: &str| {
            let path = directory.join(format!("task-{number}.{end}"));
            let file = FileSink::new(path.to_string_lossy());
            Some(Sink::File(FileSink { max_size: Some(10 << 20), ..file }))
        };
        match self {
            Output::Discarded => (None, None),
            Output::OneFile => (file("out"), file("out")),
            Output::TwoFiles => (file("out"), file("err")),
        }
    }
}

/// Sleeping tasks of a supervisor.
pub(crate) struct Crowd {
    pub(crate) supervisor: Supervisor,
    pub(crate) tasks: Vec<TaskId>,
    /// Time of each launch, in order.
    pub(crate) launches: Vec<Duration>,
    /// Time of each bare launch next to the first and the last of them.
    pub(crate) bare_launches: Vec<Duration>,
    program: Program,
    output: Output,
    files: tempfile::TempDir,
}

impl Crowd {
    /// Launches `count` tasks and waits until all run.
    pub(crate) fn gather(supervisor: Supervisor, count: usize) -> Outcome<Crowd> {
        Crowd::gather_with(supervisor, count, Output::Discarded, true)
    }

    /// The same with output; `grouped`: bare children get a group, as tasks do by default.
    pub(crate) fn gather_with(
        mut supervisor: Supervisor,
        count: usize,
        output: Output,
        grouped: bool,
    ) -> Outcome<Crowd> {
        warm_up(&mut supervisor)?;
        let mut crowd = Crowd {
            supervisor,
            tasks: Vec::with_capacity(count),
            launches: Vec::with_capacity(count),
            bare_launches: Vec::with_capacity(2 * EDGE),
            program: programs::pauses(),
            output,
            files: tempfile::tempdir_in("/dev/shm")?,
        };
        let mut floor = Floor::new(grouped)?;
        for number in 0..count {
            if number < EDGE || number + EDGE >= count {
                crowd.bare_launches.push(floor.add()?);
            } else {
                floor.clear()?;
            }
            let begun = Instant::now();
            let task = crowd.add(number)?;
            crowd.launches.push(begun.elapsed());
            crowd.tasks.push(task);
        }
        floor.clear()?;
        Ok(crowd)
    }

    /// Launches one more; `number` makes its name.
    pub(crate) fn add(&mut self, number: usize) -> Outcome<TaskId> {
        let (stdout, stderr) = self.output.sinks(self.files.path(), number);
        let spec = TaskSpec {
            name: Some(format!("task-{number}")),
            args: self.program.args.clone(),
            stdout,
            stderr,
            auto_remove: true,
            // A benchmark that fails leaves no process behind.
            die_with_supervisor: true,
            ..TaskSpec::new(self.program.path.clone())
        };
        let task = self.supervisor.launch(spec)?;
        // Takes what has been told of it, so that nothing piles up.
        self.supervisor.turn(Some(Duration::ZERO), &mut Vec::new())?;
        Ok(task)
    }

    /// Stops all of them and waits until all have exited.
    pub(crate) fn stop(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        for &task in &self.tasks {
            self.supervisor.stop(task, None, None)?;
        }
        let count = self.tasks.len();
        // What the calls above have told already counts as well: it comes out of the first turn.
        turn_until(&mut self.supervisor, EventKind::Finished, count)?;
        self.tasks.clear();
        Ok(begun.elapsed())
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }
}

/// The first launches make the tree of groups, fault in pages and fill caches.
fn warm_up(supervisor: &mut Supervisor) -> Outcome<()> {
    let program = programs::exits();
    for _ in 0..20 {
        let spec = TaskSpec { auto_remove: true, ..TaskSpec::new(program.path.clone()) };
        supervisor.launch(spec)?;
        turn_until(supervisor, EventKind::Finished, 1)?;
    }
    Ok(())
}

/// Sleeping children without a supervisor, each with a group, a session and a descriptor table of
/// its own as a task has: one is launched next to each of the first and of the last tasks, since
/// what the kernel asks for the same launch differs with all that lives by then.
struct Floor {
    command: Command,
    groups: Option<Groups>,
    children: Vec<(String, Child)>,
}

impl Floor {
    fn new(grouped: bool) -> Outcome<Floor> {
        let command = Command::new(&programs::pauses())?.apart();
        let groups = grouped.then(Groups::make).flatten();
        Ok(Floor { command, groups, children: Vec::new() })
    }

    fn add(&mut self) -> Outcome<Duration> {
        let name = self.children.len().to_string();
        let begun = Instant::now();
        let group = self.groups.as_ref().map(|groups| groups.make_group(&name)).transpose()?;
        let child = self.command.launch(group.as_ref().map(AsFd::as_fd))?;
        let time = begun.elapsed();
        self.children.push((name, child));
        Ok(time)
    }

    fn clear(&mut self) -> Outcome<()> {
        for (name, child) in self.children.drain(..) {
            child.kill()?;
            child.wait()?;
            if let Some(groups) = &self.groups {
                groups.remove_group(&name)?;
            }
        }
        Ok(())
    }
}

/// Median microseconds of the first and of the last launches.
pub(crate) fn edges(launches: &[Duration]) -> (f64, f64) {
    let micros = |part: &[Duration]| {
        super::median(part.iter().map(|time| time.as_secs_f64() * 1e6).collect())
    };
    let edge = EDGE.min(launches.len());
    let (first, _) = launches.split_at(edge);
    let (_, last) = launches.split_at(launches.len() - edge);
    (micros(first), micros(last))
}
