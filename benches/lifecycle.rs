//! Launch and wait per second of a trivial program: the library against a bare loop that makes the
//! same kernel objects (pidfd, cgroup); with many open descriptors; with many living tasks.
#![allow(unsafe_code, reason = "the bare floor calls the kernel itself")]

mod harness;

use harness::apart::{self, figure, tell};
use harness::arguments::Arguments;
use harness::bare::{self, Groups};
use harness::crowd::{self, Crowd};
use harness::process::raise_descriptor_limit;
use harness::programs::{self, Program};
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, median, turn_until};
use ostler::{EventKind, Supervisor, TaskSpec};
use std::fs::File;
use std::time::Instant;

/// Left free below the limit of descriptors when it is filled.
const DESCRIPTORS_FREE: u64 = 1000;

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    raise_descriptor_limit()?;
    match &arguments.role {
        Some((role, rest)) => play(role, rest),
        None => measure(&arguments),
    }
}

fn play(role: &str, rest: &[String]) -> Outcome<()> {
    let number = |index: usize| -> Outcome<usize> {
        Ok(rest.get(index).ok_or("an argument is missing")?.parse()?)
    };
    match role {
        "rounds" => in_rounds(number(0)?, number(1)?, number(2)?),
        "descriptors" => with_descriptors(number(0)?, number(1)?),
        "crowd" => crowd(number(0)?),
        "bare-crowd" => {
            let (first, last) = crowd::edges(&crowd::bare_launches(number(0)?)?);
            tell("first_us", first);
            tell("last_us", last);
            Ok(())
        }
        other => Err(format!("unknown role {other:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let (rounds, each) = arguments.size((3, 300), (9, 1500));
    let living = arguments.size(1_000, 10_000);
    let columns = ["case", "ratio", "ostler/s", "bare/s", "ostler us", "bare us", "N"];
    let mut report = Report::new("lifecycle", &columns);
    for note in [programs::exits().note, programs::pauses().note].into_iter().flatten() {
        report.note(note);
    }
    for (case, at_once) in [("one by one", 1), ("16 at once", 16)] {
        let sizes = [rounds, each, at_once].map(|number| number.to_string());
        let figures = apart::measure("rounds", &sizes)?;
        let (ours, floor) = (figure(&figures, "ostler_us"), figure(&figures, "bare_us"));
        let ratio = figure(&figures, "ratio");
        report.row(line(case, ratio, ours, floor, rounds * each));
        report.target(format!("{case}: share of the bare loop"), ratio, Bound::AtLeast(0.7));
    }
    descriptors(arguments, &mut report)?;
    living_tasks(living, &mut report)?;
    report.finish(arguments)
}

/// Microseconds of the library and of the floor as a line of the table.
fn line(case: &str, ratio: f64, ours: f64, floor: f64, count: usize) -> Vec<Cell> {
    vec![
        case.into(),
        Cell::Number(ratio, 2),
        Cell::Number(1e6 / ours, 0),
        Cell::Number(1e6 / floor, 0),
        Cell::Number(ours, 1),
        Cell::Number(floor, 1),
        Cell::Number(count as f64, 0),
    ]
}

fn descriptors(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let (rounds, each) = arguments.size((3, 100), (7, 400));
    let figures = apart::measure("descriptors", &[rounds.to_string(), each.to_string()])?;
    for (case, name) in [("few descriptors", "few"), ("many descriptors", "many")] {
        let ours = figure(&figures, &format!("ostler_{name}_us"));
        let floor = figure(&figures, &format!("bare_{name}_us"));
        let open = figure(&figures, &format!("open_{name}"));
        report.row(line(&format!("{case} ({open})"), floor / ours, ours, floor, rounds * each));
    }
    let ratio = figure(&figures, "ostler_many_us") / figure(&figures, "ostler_few_us");
    report.target("time with many descriptors over few", ratio, Bound::AtMost(1.3));
    Ok(())
}

fn living_tasks(count: usize, report: &mut Report) -> Outcome<()> {
    let bare = apart::measure("bare-crowd", &[count.to_string()])?;
    let ours = apart::measure("crowd", &[count.to_string()])?;
    let ends = [("first", "first_us"), ("last", "last_us")];
    for (case, name) in ends {
        let (ours, floor) = (figure(&ours, name), figure(&bare, name));
        let case = format!("launch only, {case} {} of {count} living", crowd::EDGE);
        report.row(line(&case, floor / ours, ours, floor, crowd::EDGE));
    }
    let rate = |figures| figure(figures, "first_us") / figure(figures, "last_us");
    let name = format!("rate of the last {} of {count} over the first", crowd::EDGE);
    report.target(name, rate(&ours), Bound::AtLeast(0.9));
    report.note(format!("the same rate of bare children: {:.3}", rate(&bare)));
    Ok(())
}

/// Library and floor in turns; of `each` tasks, always `at_once` are launched before the first of
/// them is waited for.
fn in_rounds(rounds: usize, each: usize, at_once: usize) -> Outcome<()> {
    let each = each / at_once;
    let program = programs::exits();
    let command = bare::Command::new(&program)?;
    let mut supervisor = harness::supervisor()?;
    let groups = Groups::make();
    if groups.is_none() {
        eprintln!("lifecycle: no permission to make cgroups, measured without");
    }
    let mut ours_once = || library(&mut supervisor, &program, each, at_once);
    let floor_once = || bare::launch_and_wait(&command, groups.as_ref(), each, at_once);
    ours_once()?;
    floor_once()?;
    let (mut ours, mut floor, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let bare = timed(each * at_once, floor_once)?;
        let library = timed(each * at_once, &mut ours_once)?;
        ratios.push(bare / library);
        floor.push(bare);
        ours.push(library);
    }
    tell("ostler_us", median(ours));
    tell("bare_us", median(floor));
    tell("ratio", median(ratios));
    Ok(())
}

/// Few descriptors first, then nearly as many as there may be.
fn with_descriptors(rounds: usize, each: usize) -> Outcome<()> {
    let limit = raise_descriptor_limit()?;
    let program = programs::exits();
    let command = bare::Command::new(&program)?;
    let groups = Groups::make();
    let mut supervisor = harness::supervisor()?;
    library(&mut supervisor, &program, 50, 1)?;
    let mut held = Vec::new();
    for name in ["few", "many"] {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            floor.push(timed(each, || bare::launch_and_wait(&command, groups.as_ref(), each, 1))?);
            ours.push(timed(each, || library(&mut supervisor, &program, each, 1))?);
        }
        tell(&format!("ostler_{name}_us"), median(ours));
        tell(&format!("bare_{name}_us"), median(floor));
        // The directory that is being read is one of them.
        let open = std::fs::read_dir("/proc/self/fd")?.count() - 1;
        tell(&format!("open_{name}"), open as f64);
        let null = File::open("/dev/null")?;
        while open + held.len() < limit.saturating_sub(DESCRIPTORS_FREE) as usize {
            held.push(null.try_clone()?);
        }
    }
    Ok(())
}

fn crowd(count: usize) -> Outcome<()> {
    let mut crowd = Crowd::gather(harness::supervisor()?, count)?;
    let (first, last) = crowd::edges(&crowd.launches);
    tell("first_us", first);
    tell("last_us", last);
    crowd.stop()?;
    Ok(())
}

/// Launches `at_once` tasks and waits for their ends, `times` times.
fn library(
    supervisor: &mut Supervisor,
    program: &Program,
    times: usize,
    at_once: usize,
) -> Outcome<()> {
    for _ in 0..times {
        for _ in 0..at_once {
            let spec = TaskSpec {
                args: program.args.clone(),
                auto_remove: true,
                ..TaskSpec::new(program.path.clone())
            };
            supervisor.launch(spec)?;
        }
        turn_until(supervisor, EventKind::Finished, at_once)?;
    }
    Ok(())
}

/// Microseconds for each of `count`.
fn timed(count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64() * 1e6 / count as f64)
}
