//! A command in the context of a task, from the request to its answer, against a bare launch of the
//! same program.
#![allow(unsafe_code, reason = "the bare floor calls the kernel itself")]

mod harness;

use harness::apart::{self, figure, tell};
use harness::arguments::Arguments;
use harness::bare::{Command, Groups};
use harness::crowd::Crowd;
use harness::process::raise_descriptor_limit;
use harness::programs::{self, Program};
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, median, percentile};
use ostler::{Answer, ExecSpec, TaskId};
use std::time::{Duration, Instant};

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    raise_descriptor_limit()?;
    match &arguments.role {
        Some((role, rest)) if role == "sample" => match rest.as_slice() {
            [program, living, samples] => sample(program, living.parse()?, samples.parse()?),
            _ => Err("sample needs a program and two numbers".into()),
        },
        Some((role, _)) => Err(format!("unknown role {role:?}").into()),
        None => measure(&arguments),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let samples = arguments.size(200, 2_000);
    let columns = [
        "program",
        "living tasks",
        "ratio",
        "ostler us",
        "bare us",
        "ostler p99 us",
        "bare p99 us",
    ];
    let mut report = Report::new("exec", &columns);
    for (program, living) in [("/bin/true", 1), ("/bin/true", 1_000), ("tiny", 1)] {
        let parts = [program.to_owned(), living.to_string(), samples.to_string()];
        let figures = apart::measure("sample", &parts)?;
        let (ours, floor) = (figure(&figures, "ostler"), figure(&figures, "bare"));
        report.row(vec![
            Cell::Text(program.to_owned()),
            Cell::Number(f64::from(living), 0),
            Cell::Number(ours / floor, 2),
            Cell::Number(ours, 1),
            Cell::Number(floor, 1),
            Cell::Number(figure(&figures, "ostler_p99"), 1),
            Cell::Number(figure(&figures, "bare_p99"), 1),
        ]);
        if program == "/bin/true" {
            let name = format!("{program} in a task, {living} living, times a bare launch");
            report.target(name, ours / floor, Bound::AtMost(2.0));
        }
    }
    report.note(format!(
        "{samples} of each in turns; ostler: from the request to the answer, with both outputs \
         collected, in a group of its own inside that of the task; bare: mkdir of a group, clone3 \
         with CLONE_VM and CLONE_VFORK, waitid, rmdir"
    ));
    report.finish(arguments)
}

/// Runs it in a task and bare in turns.
fn sample(program: &str, living: usize, samples: usize) -> Outcome<()> {
    let program = match program {
        "tiny" => programs::exits(),
        path => Program { path: path.to_owned(), args: Vec::new(), note: None },
    };
    let mut crowd = Crowd::gather(harness::supervisor()?, living)?;
    let task = *crowd.tasks.first().ok_or("no task")?;
    let (bare_command, groups) = (Command::new(&program)?, Groups::make());
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..samples + samples / 10 {
        let begun = Instant::now();
        harness::bare::launch_and_wait(&bare_command, groups.as_ref(), 1, 1)?;
        let floor = begun.elapsed();
        let own = in_task(&mut crowd, task, &program)?;
        // The first ones fill caches.
        if round >= samples / 10 {
            bare.push(floor.as_secs_f64() * 1e6);
            ours.push(own.as_secs_f64() * 1e6);
        }
    }
    tell("ostler_p99", percentile(ours.clone(), 0.99));
    tell("bare_p99", percentile(bare.clone(), 0.99));
    tell("ostler", median(ours));
    tell("bare", median(bare));
    crowd.stop()?;
    Ok(())
}

/// How long a command takes in a task.
fn in_task(crowd: &mut Crowd, task: TaskId, program: &Program) -> Outcome<Duration> {
    let supervisor = &mut crowd.supervisor;
    let args = program.args.clone();
    let begun = Instant::now();
    let ticket = supervisor.exec(task, ExecSpec { args, ..ExecSpec::new(program.path.clone()) })?;
    loop {
        match supervisor.next_reply() {
            Some((answered, Ok(Answer::Executed(executed)))) if answered == ticket => {
                if !executed.status.is_success() {
                    return Err(format!("it ended with {:?}", executed.status).into());
                }
                return Ok(begun.elapsed());
            }
            Some((_, reply)) => return Err(format!("{reply:?}").into()),
            None => supervisor.turn(Some(Duration::from_secs(10)), &mut Vec::new())?,
        }
    }
}
