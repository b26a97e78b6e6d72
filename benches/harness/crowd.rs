//! Many sleeping tasks at once, of the supervisor's or bare.

use super::bare::{Child, Command, Groups};
use super::programs::{self, Program};
use super::{Outcome, turn_until};
use ostler::{EventKind, Supervisor, TaskId, TaskSpec};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How many launches the ends of a crowd are measured on.
pub(crate) const EDGE: usize = 100;

/// Sleeping tasks of a supervisor.
pub(crate) struct Crowd {
    pub(crate) supervisor: Supervisor,
    pub(crate) tasks: Vec<TaskId>,
    /// Time of each launch, in order.
    pub(crate) launches: Vec<Duration>,
    program: Program,
}

impl Crowd {
    /// Launches `count` tasks and waits until all run.
    pub(crate) fn gather(mut supervisor: Supervisor, count: usize) -> Outcome<Crowd> {
        warm_up(&mut supervisor)?;
        let mut crowd = Crowd {
            supervisor,
            tasks: Vec::with_capacity(count),
            launches: Vec::with_capacity(count),
            program: programs::pauses(),
        };
        for number in 0..count {
            let begun = Instant::now();
            let task = crowd.add(number)?;
            crowd.launches.push(begun.elapsed());
            crowd.tasks.push(task);
        }
        Ok(crowd)
    }

    /// Launches one more; `number` makes its name.
    pub(crate) fn add(&mut self, number: usize) -> Outcome<TaskId> {
        let spec = TaskSpec {
            name: Some(format!("task-{number}")),
            args: self.program.args.clone(),
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

/// The same number of sleeping children without a supervisor: the times of their launches.
pub(crate) fn bare_launches(count: usize) -> Outcome<Vec<Duration>> {
    let command = Command::new(&programs::pauses())?;
    super::bare::launch_and_wait(&Command::new(&programs::exits())?, None, 20, 1)?;
    let groups = Groups::make();
    let mut children: Vec<Child> = Vec::with_capacity(count);
    let mut launches = Vec::with_capacity(count);
    for number in 0..count {
        let begun = Instant::now();
        let child = match &groups {
            Some(groups) => {
                let group = groups.make_group(&number.to_string())?;
                command.launch(Some(group.as_fd()))?
            }
            None => command.launch(None)?,
        };
        launches.push(begun.elapsed());
        children.push(child);
    }
    for (number, child) in children.into_iter().enumerate() {
        child.kill()?;
        child.wait()?;
        if let Some(groups) = &groups {
            groups.remove_group(&number.to_string())?;
        }
    }
    Ok(launches)
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
