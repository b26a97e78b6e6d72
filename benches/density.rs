//! What sleeping tasks cost the supervisor: memory for each, wake-ups, threads; and how long it
//! takes to launch and to stop them.
#![allow(unsafe_code, reason = "the allocator's counters and the bare floor")]

mod harness;

use harness::apart::{self, Figures, figure, tell};
use harness::arguments::Arguments;
use harness::crowd::{self, Crowd, Output};
use harness::process;
use harness::report::{Bound, Cell, Report};
use harness::{Outcome, programs};
use ostler::{CgroupMode, Options, Supervisor};
use std::time::{Duration, Instant};

const COLUMNS: [&str; 14] = [
    "tasks",
    "output",
    "PSS KiB/task",
    "PSS added KiB/task",
    "heap B/task",
    "heap left B/task",
    "PSS MiB",
    "first 100 us",
    "last 100 us",
    "rate last/first",
    "bare last/first",
    "wake-ups/s",
    "threads",
    "stop all s",
];

fn main() -> Outcome<()> {
    let arguments = Arguments::read()?;
    process::raise_descriptor_limit()?;
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
        "crowd" => {
            let (output, _) = Output::ALL.get(number(2)?).ok_or("no such output")?;
            crowd(number(0)?, Duration::from_millis(number(1)? as u64), *output)
        }
        "rate" => rate(number(0)?, number(1)? == 1),
        other => Err(format!("unknown role {other:?}").into()),
    }
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    // Each stream that is relayed takes one or two descriptors of the 20,000.
    let counts: Vec<(usize, usize)> = arguments.size(
        vec![(0, 100), (0, 1_000), (2, 1_000)],
        vec![(0, 100), (0, 1_000), (0, 10_000), (1, 10_000), (2, 6_500)],
    );
    let idle = arguments.size(1_000, 5_000);
    let rounds = arguments.size(1, 3);
    let mut report = Report::new("density", &COLUMNS);
    if let Some(note) = programs::pauses().note {
        report.note(note);
    }
    for (output, count) in counts {
        let mut ours = Vec::new();
        for _ in 0..rounds {
            let words = [count, idle, output].map(|number| number.to_string());
            ours.push(apart::measure("crowd", &words)?);
        }
        let name = Output::ALL.get(output).map_or("", |(_, name)| name);
        add(&mut report, count, name, &ours);
    }
    cost_of_groups(&mut report, arguments.size(500, 5_000), arguments.size(1, 5))?;
    report.note(format!(
        "N = {rounds} processes for each line, medians; PSS KiB/task counts the whole supervisor, \
         PSS added what it has grown by; idle for {} s",
        idle / 1000
    ));
    report.finish(arguments)
}

fn add(report: &mut Report, count: usize, output: &str, rounds: &[Figures]) {
    let ours = |name| harness::median(rounds.iter().map(|figures| figure(figures, name)).collect());
    let tasks = count as f64;
    let per_task = ours("pss") / tasks / 1024.0;
    let rate = ours("first_us") / ours("last_us");
    let bare_rate = ours("bare_first_us") / ours("bare_last_us");
    report.row(vec![
        Cell::Number(tasks, 0),
        output.into(),
        Cell::Number(per_task, 2),
        Cell::Number((ours("pss") - ours("pss_before")) / tasks / 1024.0, 2),
        Cell::Number((ours("heap") - ours("heap_before")) / tasks, 0),
        Cell::Number((ours("heap_left") - ours("heap_before")) / tasks, 0),
        Cell::Number(ours("pss") / 1048576.0, 2),
        Cell::Number(ours("first_us"), 1),
        Cell::Number(ours("last_us"), 1),
        Cell::Number(rate, 2),
        Cell::Number(bare_rate, 2),
        Cell::Number(ours("wakeups"), 1),
        Cell::Number(ours("threads"), 0),
        Cell::Number(ours("stop_s"), 2),
    ]);
    let at = format!("at {count} tasks, output {output}");
    report.target(format!("wake-ups/s {at}"), ours("wakeups"), Bound::AtMost(0.0));
    report.target(format!("threads {at}"), ours("threads"), Bound::AtMost(1.0));
    report.target(format!("stop all, s, {at}"), ours("stop_s"), Bound::AtMost(10.0));
    if count >= 1_000 {
        let name = format!("rate of the last 100 against the bare one's {at}");
        report.target(name, rate / bare_rate, Bound::AtLeast(0.9));
    }
    if count >= 10_000 {
        let most = if output == "discarded" { 1.0 } else { 1.5 };
        report.target(format!("supervisor PSS, KiB/task, {at}"), per_task, Bound::AtMost(most));
    }
}

/// What a group for each task takes from the rate of launches, ours and bare ones, in processes in
/// turns.
fn cost_of_groups(report: &mut Report, count: usize, rounds: usize) -> Outcome<()> {
    let mut all = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (grouped, all) in all.iter_mut().enumerate() {
            let words = [count, grouped].map(|number| number.to_string());
            all.push(apart::measure("rate", &words)?);
        }
    }
    let median = |grouped: usize, name| {
        let rounds: &[Figures] = all.get(grouped).map_or(&[], |rounds| rounds);
        harness::median(rounds.iter().map(|figures| figure(figures, name)).collect())
    };
    let share = |name| median(0, name) / median(1, name);
    report.note(format!(
        "a launch among {count} takes {:.0} us with a group and {:.0} us without one, a bare one \
         next to them {:.0} and {:.0} us (N = {rounds} processes each, medians)",
        median(1, "launch_us"),
        median(0, "launch_us"),
        median(1, "bare_us"),
        median(0, "bare_us"),
    ));
    let name = "launch rate with a group, of that without, against that of a bare launch";
    report.target(name, share("launch_us") / share("bare_us"), Bound::AtLeast(0.95));
    Ok(())
}

fn rate(count: usize, grouped: bool) -> Outcome<()> {
    let cgroup = if grouped { CgroupMode::Auto } else { CgroupMode::Never };
    let supervisor = Supervisor::new(Options { cgroup, own_process: true, ..Options::default() })?;
    let mut crowd = Crowd::gather_with(supervisor, count, Output::Discarded, grouped)?;
    let median = |times: &[Duration]| {
        harness::median(times.iter().map(|time| time.as_secs_f64() * 1e6).collect())
    };
    tell("launch_us", median(&crowd.launches));
    tell("bare_us", median(&crowd.bare_launches));
    crowd.stop()?;
    Ok(())
}

fn crowd(count: usize, idle: Duration, output: Output) -> Outcome<()> {
    let supervisor = harness::supervisor()?;
    tell("pss_before", process::pss_bytes()?);
    tell("heap_before", process::heap_bytes());
    let mut crowd = Crowd::gather_with(supervisor, count, output, true)?;
    let (first, last) = crowd::edges(&crowd.launches);
    tell("first_us", first);
    tell("last_us", last);
    let (first, last) = crowd::edges(&crowd.bare_launches);
    tell("bare_first_us", first);
    tell("bare_last_us", last);
    // The lists of launch times belong to the benchmark.
    (crowd.launches, crowd.bare_launches) = (Vec::new(), Vec::new());
    settle(&mut crowd)?;
    tell("wakeups", wakeups(&mut crowd, idle)?);
    tell("pss", process::pss_bytes()?);
    tell("heap", process::heap_bytes());
    tell("threads", process::threads()?);
    tell("stop_s", crowd.stop()?.as_secs_f64());
    settle(&mut crowd)?;
    tell("heap_left", process::heap_bytes());
    Ok(())
}

/// Whatever is to be done once after the last launch is done before idleness is measured.
fn settle(crowd: &mut Crowd) -> Outcome<()> {
    let begun = Instant::now();
    let least = Duration::from_millis(1_500);
    while let Some(left) = least.checked_sub(begun.elapsed()) {
        crowd.supervisor.turn(Some(left), &mut Vec::new())?;
    }
    Ok(())
}

/// Turns per second that returned before their time was over, or, where that is more, times that
/// the process went to sleep but for the one sleep that it should be.
fn wakeups(crowd: &mut Crowd, idle: Duration) -> Outcome<f64> {
    let before = process::voluntary_switches()?;
    let begun = Instant::now();
    let mut turns = 0;
    while let Some(left) = idle.checked_sub(begun.elapsed()) {
        crowd.supervisor.turn(Some(left), &mut Vec::new())?;
        turns += 1;
    }
    let switches = process::voluntary_switches()? - before;
    let woken = (f64::from(turns) - 1.0).max(switches - 1.0).max(0.0);
    Ok(woken / idle.as_secs_f64())
}
