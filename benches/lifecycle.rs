//! Launch and wait per second of a trivial program: the library against a bare loop that makes the
//! same kernel objects (pidfd, cgroup); with many open descriptors; with many living tasks.
#![allow(unsafe_code, reason = "the bare floor calls the kernel itself")]

mod harness;

use harness::apart::{self, Figures, figure, tell};
use harness::arguments::Arguments;
use harness::bare::{self, Groups};
use harness::crowd::{self, Crowd};
use harness::process::{cpu_seconds_with_children, raise_descriptor_limit};
use harness::programs::{self, Program};
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, median, turn_until};
use ostler::{EventKind, Supervisor, TaskSpec};
use std::fs::File;
use std::time::Instant;

const COLUMNS: [&str; 12] = [
    "case",
    "ratio",
    "ratio, same given",
    "ostler/s",
    "bare/s",
    "ostler us",
    "bare us",
    "same given us",
    "ostler CPU us",
    "bare CPU us",
    "same given CPU us",
    "N",
];
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
        "rounds" => in_rounds(0, number(0)?, number(1)?, number(2)?),
        "descriptors" => {
            let limit = raise_descriptor_limit()?;
            let many = limit.saturating_sub(DESCRIPTORS_FREE) as usize;
            let open = if rest.first().is_some_and(|word| word == "many") { many } else { 0 };
            in_rounds(open, number(1)?, number(2)?, 1)
        }
        "crowd" => crowd(number(0)?),
        other => Err(format!("unknown role {other:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let (rounds, each) = arguments.size((3, 300), (9, 1500));
    let living = arguments.size(1_000, 10_000);
    let mut report = Report::new("lifecycle", &COLUMNS);
    for note in [programs::exits().note, programs::pauses().note].into_iter().flatten() {
        report.note(note);
    }
    for (case, at_once) in [("one by one", 1), ("16 at once", 16)] {
        let sizes = [rounds, each, at_once].map(|number| number.to_string());
        let figures = apart::measure("rounds", &sizes)?;
        let ratio = figure(&figures, "ratio");
        report.row(line(case, ratio, &figures, rounds * each));
        report.target(format!("{case}: share of the bare loop"), ratio, Bound::AtLeast(0.7));
        let same = figure(&figures, "same_ratio");
        let name = format!("{case}: share of the bare loop whose children are given the same");
        report.target(name, same, Bound::AtLeast(0.85));
    }
    descriptors(arguments, &mut report)?;
    living_tasks(living, &mut report)?;
    report.finish(arguments)
}

/// The figures of the library and of the floor as a line of the table.
fn line(case: &str, ratio: f64, figures: &Figures, count: usize) -> Vec<Cell> {
    let (ours, floor) = (figure(figures, "ostler_us"), figure(figures, "bare_us"));
    vec![
        case.into(),
        Cell::Number(ratio, 2),
        Cell::Number(figure(figures, "same_ratio"), 2),
        Cell::Number(1e6 / ours, 0),
        Cell::Number(1e6 / floor, 0),
        Cell::Number(ours, 1),
        Cell::Number(floor, 1),
        Cell::Number(figure(figures, "same_us"), 1),
        Cell::Number(figure(figures, "ostler_cpu_us"), 1),
        Cell::Number(figure(figures, "bare_cpu_us"), 1),
        Cell::Number(figure(figures, "same_cpu_us"), 1),
        Cell::Number(count as f64, 0),
    ]
}

fn descriptors(arguments: &Arguments, report: &mut Report) -> Outcome<()> {
    let (rounds, each) = arguments.size((3, 100), (7, 400));
    let mut times = Vec::new();
    for (case, name) in [("few descriptors", "few"), ("many descriptors", "many")] {
        let words = [name.to_owned(), rounds.to_string(), each.to_string()];
        let figures = apart::measure("descriptors", &words)?;
        let (ratio, open) = (figure(&figures, "ratio"), figure(&figures, "open"));
        report.row(line(&format!("{case} ({open})"), ratio, &figures, rounds * each));
        times.push(figure(&figures, "ostler_us"));
    }
    let ratio = times.iter().copied().reduce(|few, many| many / few).unwrap_or(f64::NAN);
    report.target("time with many descriptors over few", ratio, Bound::AtMost(1.3));
    Ok(())
}

fn living_tasks(count: usize, report: &mut Report) -> Outcome<()> {
    let figures = apart::measure("crowd", &[count.to_string()])?;
    let edge = crowd::EDGE;
    let mut shares = Vec::new();
    for case in ["first", "last"] {
        let of = |whose: &str| figure(&figures, &format!("{whose}_{case}_us"));
        let (ours, floor) = (of("ostler"), of("bare"));
        let both = [("ostler_us", ours), ("bare_us", floor)];
        let both: Figures = both.map(|(name, value)| (name.to_owned(), value)).into();
        let case = format!("launch only, {case} {edge} of {count} living");
        report.row(line(&case, floor / ours, &both, edge));
        shares.push(floor / ours);
    }
    let kept = shares.iter().copied().reduce(|first, last| last / first).unwrap_or(f64::NAN);
    let name = format!("share of the bare launch, last {edge} of {count} over first");
    report.target(name, kept, Bound::AtLeast(0.9));
    let rate = |whose: &str| {
        figure(&figures, &format!("{whose}_first_us"))
            / figure(&figures, &format!("{whose}_last_us"))
    };
    report.note(format!(
        "rate of the last {edge} over the first: {:.2}, bare {:.2}",
        rate("ostler"),
        rate("bare")
    ));
    Ok(())
}

/// Library and floor in turns; of `each` tasks, always `at_once` are launched before the first of
/// them is waited for. Meanwhile `open` more descriptors are open.
fn in_rounds(open: usize, rounds: usize, each: usize, at_once: usize) -> Outcome<()> {
    let times = each / at_once;
    let program = programs::exits();
    // Made first: its /dev/null is a low descriptor, as the supervisor's.
    let given = bare::Command::new(&program)?.given_all()?;
    let command = bare::Command::new(&program)?;
    let mut supervisor = harness::supervisor()?;
    let groups = Groups::make();
    if groups.is_none() {
        eprintln!("lifecycle: no permission to make cgroups, measured without");
    }
    let null = File::open("/dev/null")?;
    let mut held = Vec::new();
    for _ in 0..open {
        held.push(null.try_clone()?);
    }
    let mut ours_once = || library(&mut supervisor, &program, times, at_once);
    let floor_once = || bare::launch_and_wait(&command, groups.as_ref(), times, at_once);
    let same_once = || bare::launch_and_wait(&given, groups.as_ref(), times, at_once);
    ours_once()?;
    floor_once()?;
    same_once()?;
    let (mut ours, mut floor, mut same) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        floor.push(Cost::of(times * at_once, floor_once)?);
        same.push(Cost::of(times * at_once, same_once)?);
        ours.push(Cost::of(times * at_once, &mut ours_once)?);
    }
    for (name, costs) in [("ostler", &ours), ("bare", &floor), ("same", &same)] {
        tell(&format!("{name}_us"), median(costs.iter().map(|cost| cost.wall).collect()));
        tell(&format!("{name}_cpu_us"), median(costs.iter().map(|cost| cost.cpu).collect()));
    }
    for (name, costs) in [("ratio", &floor), ("same_ratio", &same)] {
        let shares = costs.iter().zip(&ours).map(|(costs, ours)| costs.wall / ours.wall);
        tell(name, median(shares.collect()));
    }
    tell("open", open_descriptors()? as f64);
    Ok(())
}

/// How many descriptors are open.
fn open_descriptors() -> Outcome<usize> {
    // The directory that is being read is one of them.
    Ok(std::fs::read_dir("/proc/self/fd")?.count() - 1)
}

fn crowd(count: usize) -> Outcome<()> {
    let mut crowd = Crowd::gather(harness::supervisor()?, count)?;
    for (whose, launches) in [("ostler", &crowd.launches), ("bare", &crowd.bare_launches)] {
        let (first, last) = crowd::edges(launches);
        tell(&format!("{whose}_first_us"), first);
        tell(&format!("{whose}_last_us"), last);
    }
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

/// Microseconds for each of many.
struct Cost {
    wall: f64,
    /// Of this process and of its children.
    cpu: f64,
}

impl Cost {
    fn of(count: usize, work: impl FnOnce() -> Outcome<()>) -> Outcome<Cost> {
        let (begun, cpu) = (Instant::now(), cpu_seconds_with_children()?);
        work()?;
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds_with_children()? - cpu);
        let each = |seconds: f64| seconds * 1e6 / count as f64;
        Ok(Cost { wall: each(wall), cpu: each(cpu) })
    }
}
